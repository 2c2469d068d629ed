"""The manifests by which pods of their own train, held to the CRDs' own schemas."""

import copy

import pytest

from arcface_common.errors import ConfigError
from pipeline.config import PipelineConfig
from pipeline.kubeflow_settings import KubeflowSettings
from pipeline.runners.cluster_jobs import ClusterJob
from tests import crds
from trainer_module.settings import TrainSettings

CONFIG = PipelineConfig("gs://b/data", "/mnt/runs/arcface", train=TrainSettings(workers=4, restarts=5))
VOLUME = KubeflowSettings(volumes={"runs": "/mnt/runs"})
POD = KubeflowSettings(
    volumes={"runs": "/mnt/runs"},
    gpus={"Trainer": 8},
    memory={"all": "8Gi", "Trainer": "64Gi"},
    shm={"Trainer": "8Gi"},
    scratch={"all": "20Gi"},
    node_selector={"Trainer": {"pool": "gpu"}},
    tolerations={"Trainer": [{"key": "gpu", "operator": "Exists", "effect": "NoExecute", "toleration_seconds": 60}]},
    secrets={"s3": {"access": "AWS_ACCESS_KEY_ID"}},
    run_as_user=12345,
)
TRAIN_JOB = ClusterJob("trainjob", "registry/arcface:1", POD)
TF_JOB = ClusterJob("tfjob", "registry/arcface:1", VOLUME)


def test_the_schemas_take_what_is_written():
    role, runtime = TRAIN_JOB.applied_before(CONFIG)
    assert crds.refusals("trainingruntimes", runtime) == []
    assert crds.refusals("trainjobs", TRAIN_JOB.manifest(CONFIG)) == []
    assert crds.refusals("tfjobs", TF_JOB.manifest(CONFIG)) == []
    assert crds.refusals("trainjobs", ClusterJob("trainjob", "i", VOLUME).manifest(CONFIG)) == []
    assert role["kind"] == "Role"
    assert [each["kind"] for each in TF_JOB.applied_before(CONFIG)] == ["Role"]


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("spec", "trainer", "numNodes"), "4", "'4' is not of type 'integer'"),
        (("spec", "trainer", "nodes"), 4, "'nodes' was unexpected"),
        (("spec", "runtimeRef"), {"kind": "TrainingRuntime"}, "'name' is a required property"),
        (("kind",), "TFJob", "expected TrainJob"),
    ],
)
def test_the_schemas_refuse_what_an_api_server_would(place, value, said):
    manifest = copy.deepcopy(TRAIN_JOB.manifest(CONFIG))
    part = manifest
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    (refused,) = crds.refusals("trainjobs", manifest)
    assert said in refused


def test_pods_are_as_many_as_workers_and_begin_again_together():
    _, runtime = TRAIN_JOB.applied_before(CONFIG)
    job = TRAIN_JOB.manifest(CONFIG)
    assert job["spec"]["runtimeRef"]["name"] == runtime["metadata"]["name"]
    assert job["spec"]["trainer"]["numNodes"] == runtime["spec"]["mlPolicy"]["numNodes"] == 4
    assert job["spec"]["trainer"]["resourcesPerNode"] == {"limits": {"memory": "64Gi", "nvidia.com/gpu": "8"}}
    assert list(runtime["spec"]["mlPolicy"]) == ["numNodes"]  # plain: Kubeflow Trainer has no policy for TensorFlow
    spec = runtime["spec"]["template"]["spec"]
    assert spec["failurePolicy"]["maxRestarts"] == 5
    (replicated,) = spec["replicatedJobs"]
    assert replicated["template"]["spec"]["backoffLimit"] == 0  # no pod begins again alone
    pod = replicated["template"]["spec"]["template"]["spec"]
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == "runs"
    assert pod["containers"][0]["volumeMounts"][0]["mountPath"] == "/mnt/runs"
    workers = TF_JOB.manifest(CONFIG)["spec"]["tfReplicaSpecs"]["Worker"]
    assert (workers["replicas"], workers["restartPolicy"]) == (4, "ExitCode")


@pytest.mark.parametrize("root", ["/mnt/runs-2", "gs://b/runs", "/mnt", "/mnt/runs/../../etc", "//etc", "/mnt/runs/.."])
def test_a_root_that_the_pods_dont_share_is_refused(root):
    with pytest.raises(ConfigError, match=r"^root: expected a folder of a volume \(/mnt/runs\), .* Received: "):
        TRAIN_JOB.check(PipelineConfig("gs://b/data", root))


@pytest.mark.parametrize("root", ["/mnt//runs/x", "/mnt/runs", "/mnt/runs/./x/", "//mnt/runs/x"])
def test_a_root_on_the_volume_is_taken_however_it_is_written(root):
    TRAIN_JOB.check(PipelineConfig("gs://b/data", root))


@pytest.mark.parametrize(("processors", "written"), [(1.5, "1.5"), (8, "8")])
def test_processors_are_a_quantity_that_the_schema_takes(processors, written):
    settings = KubeflowSettings(volumes={"runs": "/mnt/runs"}, cpu={"Trainer": processors}, gpus={"Trainer": 1})
    limits = {"cpu": written, "nvidia.com/gpu": "1"}
    job = ClusterJob("trainjob", "i", settings).manifest(CONFIG)
    assert crds.refusals("trainjobs", job) == []
    assert job["spec"]["trainer"]["resourcesPerNode"] == {"limits": limits}
    job = ClusterJob("tfjob", "i", settings).manifest(CONFIG)
    assert crds.refusals("tfjobs", job) == []
    (container,) = job["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]["containers"]
    assert container["resources"] == {"limits": limits}


def test_without_a_volume_it_is_said_how_to_set_one():
    with pytest.raises(ConfigError, match=r"volume \(none is set, as kubeflow.volumes.CLAIM=/PATH\)"):
        ClusterJob("trainjob", "i", KubeflowSettings()).check(CONFIG)


def test_pods_get_what_the_settings_say_of_the_trainer():
    _, runtime = TRAIN_JOB.applied_before(CONFIG)
    pod = runtime["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/mnt/runs", "/dev/shm", "/work"]
    assert pod["volumes"][1:] == [
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}},
        {"name": "scratch", "emptyDir": {"sizeLimit": "20Gi"}},
    ]
    secret = {"secretKeyRef": {"name": "s3", "key": "access"}}
    assert container["env"][0] == {"name": "AWS_ACCESS_KEY_ID", "valueFrom": secret}
    assert pod["nodeSelector"] == {"pool": "gpu"}
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}]
    assert pod["securityContext"]["runAsUser"] == 12345
    left = TRAIN_JOB.left_to_steps()
    assert (left.of("gpus", "Trainer"), left.of("memory", "Trainer"), left.volumes) == (None, "8Gi", POD.volumes)


def test_workers_that_join_another_cluster_are_refused():
    config = PipelineConfig("d", "/mnt/runs", train=TrainSettings(workers=2, join_cluster=True))
    with pytest.raises(ConfigError, match=r"^train.join_cluster: expected false with trainer"):
        TRAIN_JOB.check(config)
