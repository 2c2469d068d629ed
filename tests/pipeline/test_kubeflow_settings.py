"""What the section `kubeflow` refuses before Kubernetes would, or before a pod breaks by it."""

import pytest

from arcface_common.errors import ConfigError
from pipeline.kubeflow_settings import KubeflowSettings


def _refused(said, **settings):
    with pytest.raises(ConfigError, match=said):
        KubeflowSettings(**settings)


@pytest.mark.parametrize("name", ["memory", "shm", "scratch"])
@pytest.mark.parametrize(
    ("quantity", "said"),
    [
        ("١Gi", "not as 500Mi or 16Gi"),
        ("٤", "not as 500Mi or 16Gi"),
        ("500K", "not as 500Mi or 16Gi; Kubernetes writes K as k"),
        ("", "not as 500Mi or 16Gi"),
        ("1GB", "not as 500Mi or 16Gi"),
        ("-1Gi", "not as 500Mi or 16Gi"),
        ("1e9", "not as 500Mi or 16Gi"),
        ("8", "below 1Mi; without a unit these are bytes, as in 8Gi"),
        ("1k", "below 1Mi"),
        ("0Gi", "below 1Mi"),
        ("0.0000000000001Gi", "below 1Mi"),
        ("99999999999999999999999999Ti", "above 1024Ti"),
        ("9" * 5000, "above 1024Ti"),
    ],
)
def test_sizes_that_kubernetes_has_not_or_no_pod_runs_in(name, quantity, said):
    _refused(rf"kubeflow\.{name} must be entries by name .*all: {said}", **{name: {"all": quantity}})


@pytest.mark.parametrize("quantity", ["2000k", "1Mi", "1.5G", "16Gi", "1024Ti", "1T", "4096Ki", "5000000"])
def test_sizes_as_kubernetes_writes_them(quantity):
    assert KubeflowSettings(memory={"all": quantity}).of("memory", "Trainer") == quantity


def test_processors_are_counted_in_thousandths():
    _refused(
        r"kubeflow\.cpu\.all: expected thousandths of a processor. Received: 0.0012345678", cpu={"all": 0.0012345678}
    )
    assert KubeflowSettings(cpu={"all": 0.001, "Trainer": 9999.999}).of("cpu", "Trainer") == 9999.999


@pytest.mark.parametrize("name", ["", " ", "foo bar", "nvidia.com/", "/gpu", "nvidia.com/a/b", "gpu\u00e9", "-a"])
def test_a_gpu_whose_name_nothing_has(name):
    _refused(r"kubeflow\.gpu_type: expected", gpu_type=name)


def test_a_gpu_of_the_other_platform():
    kubernetes = KubeflowSettings(gpus={"Trainer": 1})
    vertex = KubeflowSettings(gpus={"Trainer": 1}, gpu_type="NVIDIA_TESLA_A100")
    kubernetes.refuse_on_kubernetes()
    vertex.refuse_on_vertex()
    with pytest.raises(ConfigError, match=r"kubeflow\.gpu_type: .*NVIDIA_TESLA_A100.* Received: 'nvidia.com/gpu'"):
        kubernetes.refuse_on_vertex()
    with pytest.raises(ConfigError, match=r"kubeflow\.gpu_type: .*nvidia.com/gpu.* Received: 'NVIDIA_TESLA_A100'"):
        vertex.refuse_on_kubernetes()
    KubeflowSettings(cpu={"all": 1}).refuse_on_vertex()  # without GPUs, their name means nothing


@pytest.mark.parametrize(
    ("toleration", "said"),
    [
        ({}, "expected key, or operator: Exists"),
        ({"operator": "Equal"}, "expected key, or operator: Exists"),
        ({"value": "x"}, "expected key, or operator: Exists"),
        ({"key": "", "operator": "Equal", "value": "x"}, "expected key, or operator: Exists"),
        ({"key": "x", "operator": "Exists", "value": "y"}, "expected no value with operator: Exists. Received: 'y'"),
        ({"key": "x", "value": True}, "expected text, in quotes, for value. Received: True"),
        ({"key": 3}, "expected text, in quotes, for key. Received: 3"),
        ({"key": [1, 2]}, r"expected text, in quotes, for key. Received: \[1, 2\]"),
        ({"key": "x", "effect": None}, "expected text, in quotes, for effect. Received: None"),
        ({"key": "x", "effect": "NoWay"}, "expected effect to be one of NoSchedule.* Received: 'NoWay'"),
        ({"key": "x", "effect": ["NoSchedule"]}, "expected text, in quotes, for effect"),
        ({"key": "a b"}, "expected a key as labels have them. Received: 'a b'"),
        ({"key": "x", "value": "a/b"}, "expected a value as labels have them. Received: 'a/b'"),
        ({"key": "x", "effect": "NoExecute", "toleration_seconds": "abc"}, "toleration_seconds to be a whole number"),
        ({"key": "x", "effect": "NoExecute", "toleration_seconds": True}, "toleration_seconds to be a whole number"),
        ({"key": "x", "effect": "NoExecute", "toleration_seconds": 1.5}, "toleration_seconds to be a whole number"),
        ({"key": "x", "effect": "NoExecute", "toleration_seconds": -1}, "toleration_seconds to be a whole number"),
        ({"key": "x", "effect": "NoSchedule", "toleration_seconds": 30}, "toleration_seconds with effect: NoExecute"),
        ({"key": "x", "toleration_seconds": 30}, "toleration_seconds with effect: NoExecute alone"),
    ],
)
def test_tolerations_that_kubernetes_refuses(toleration, said):
    _refused(rf"kubeflow\.tolerations\.Trainer: .*{said}", tolerations={"Trainer": [toleration]})


@pytest.mark.parametrize(
    "toleration",
    [
        {"operator": "Exists"},
        {"operator": "Exists", "effect": "NoSchedule"},
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "x", "value": "true"},
        {"key": "x", "value": "", "operator": "Equal"},
        {"key": "x", "effect": "NoExecute", "toleration_seconds": 0},
    ],
)
def test_tolerations_that_kubernetes_takes(toleration):
    assert KubeflowSettings(tolerations={"all": [toleration]}).tolerations == {"all": [toleration]}


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"": "x"}, "key.* Received: ''"),
        ({"a b": "c"}, "key.* Received: 'a b'"),
        ({"a/b/c": "d"}, "key.* Received: 'a/b/c'"),
        ({"A.com/x": "d"}, "key.* Received: 'A.com/x'"),
        ({"/x": "d"}, "key.* Received: '/x'"),
        ({"k" * 64: "d"}, "key.* Received: 'kkk"),
        ({f"{'a' * 254}/k": "d"}, "key.* Received: 'aaa"),
        ({"k": "c d"}, "value.* Received: 'c d'"),
        ({"k": "d/e"}, "value.* Received: 'd/e'"),
        ({"k": "\u00e9"}, "value.* Received: '\u00e9'"),
        ({"k": "-v"}, "value.* Received: '-v'"),
        ({"k": "v" * 64}, "value.* Received: 'vvv"),
    ],
)
def test_labels_that_no_node_has(labels, said):
    _refused(rf"kubeflow\.node_selector\.Trainer: expected a {said}", node_selector={"Trainer": labels})


def test_labels_that_nodes_have():
    labels = {"pool": "gpu", "node.kubernetes.io/instance-type": "p4d.24xlarge", "empty": "", "A_b.C-d": "E_f.G-h"}
    assert KubeflowSettings(node_selector={"all": labels}).of("node_selector", "Trainer") == labels


@pytest.mark.parametrize("kind", ["secrets", "volumes"])
@pytest.mark.parametrize("name", ["a..b", "c.-d", "c-.d", "-a", "a.", "a_b", "A", "", "a" * 254, "\u0661"])
def test_names_that_no_object_of_kubernetes_has(kind, name):
    value = {"key": "KEY"} if kind == "secrets" else "/data"
    _refused(rf"kubeflow\.{kind}: expected names as Kubernetes has them", **{kind: {name: value}})


def test_names_that_objects_of_kubernetes_have():
    volumes = {"a-b.c1": "/a", "0": "/b", "a" * 253: "/c"}
    assert KubeflowSettings(volumes=volumes).volumes == volumes


@pytest.mark.parametrize(
    ("volumes", "said"),
    [
        ({"c": "/."}, "c: expected an absolute path below /. Received: '/'"),
        ({"c": "/.."}, "c: expected an absolute path below /. Received: '/'"),
        ({"c": "/a/../.."}, "c: expected an absolute path below /. Received: '/'"),
        ({"c": "//"}, "c: expected an absolute path below /. Received: '/'"),
        ({"c": "data/.."}, "c: expected an absolute path below /. Received: 'data/..'"),
        ({"c": "/a:b"}, "c: expected a path without :. Received: '/a:b'"),
        ({"c": "/data", "d": "//data"}, "d: expected an absolute path below /, none of /data. Received: '/data'"),
        ({"c": "/data", "d": "/data/."}, "d: expected an absolute path below /, none of /data. Received: '/data'"),
        ({"c": "/usr"}, "c: expected a path beside /usr, .* Received: '/usr'"),
        ({"c": "/usr/local"}, "c: expected a path beside /usr, .* Received: '/usr/local'"),
        ({"c": "/opt"}, "c: expected a path beside /opt/arcface, .* Received: '/opt'"),
        ({"c": "/opt/arcface/bin"}, "c: expected a path beside /opt/arcface, .* Received: '/opt/arcface/bin'"),
        *(
            ({"c": f"/{name}"}, f"c: expected a path beside /{name}, ")
            for name in ("dev", "proc", "sys", "etc", "bin", "sbin", "lib", "lib64", "gcs", "s3", "minio")
        ),
    ],
)
def test_places_that_no_volume_can_have(volumes, said):
    _refused(rf"^kubeflow\.volumes\.{said}", volumes=volumes)


def test_places_that_other_settings_have():
    _refused(r"volumes\.c: .*none of /dev/shm\. Received", volumes={"c": "/dev/shm"}, shm={"all": "1Gi"})
    for path in ("/work/.", "//work", "/work"):
        _refused(r"volumes\.c: .*none of /work\. Received", volumes={"c": path}, scratch={"Trainer": "1Gi"})


def test_places_are_kept_as_one_reads_them():
    volumes = {"a": "//data/./x/", "b": "/data", "c": "/work", "d": "/dev/shm", "e": "/optional", "f": "/a/../libs"}
    assert list(KubeflowSettings(volumes=volumes).volumes.values()) == [
        *("/data/x", "/data", "/work", "/dev/shm", "/optional", "/libs")
    ]


@pytest.mark.parametrize("key", ["", "a b/c", "a/b", ".", "..", "..a", "\u00e9", "k" * 254])
def test_keys_that_no_secret_has(key):
    _refused(r"kubeflow\.secrets\.s: expected keys as secrets have them\. Received", secrets={"s": {key: "KEY"}})


@pytest.mark.parametrize(
    "variable",
    [
        *("PATH", "HOME", "TMPDIR", "USER", "PYTHONPATH", "PYTHONUNBUFFERED", "TF_CONFIG", "JOB_COMPLETION_INDEX"),
        *(
            "ARCFACE_TFX_TRAINJOB",
            "ARCFACE_TFX_WORKER_ADDRESS",
            "PET_NNODES",
            "KFP_POD_NAME",
            "KUBERNETES_SERVICE_HOST",
        ),
        *("KUBEFLOW_TRAINER_SERVER_URL", "TF_FORCE_GPU_ALLOW_GROWTH", "TF_ENABLE_ONEDNN_OPTS", "TF_USE_LEGACY_KERAS"),
    ],
)
def test_variables_that_the_image_or_the_job_sets(variable):
    said = rf"kubeflow\.secrets\.s: expected no variable that image or job sets\. Received: '{variable}'"
    _refused(said, secrets={"s": {"key": variable}})


def test_secrets_without_keys_and_variables_with_two():
    _refused(r"kubeflow\.secrets\.s: expected a key and its variable. Received: \{\}", secrets={"s": {}})
    _refused(r"secrets\.t: expected each variable once. Received: 'A'", secrets={"s": {"a": "A"}, "t": {"b": "A"}})
    _refused(r"secrets\.s: expected each variable once. Received: 'A'", secrets={"s": {"a": "A", "b": "A"}})


def test_secrets_as_kubernetes_has_them():
    secrets = {"s.3": {"a-B_c.1": "AWS_ACCESS_KEY_ID", ".netrc": "_x"}, "chat": {"url": "CHAT"}}
    assert KubeflowSettings(secrets=secrets, notify="CHAT").secrets == secrets
