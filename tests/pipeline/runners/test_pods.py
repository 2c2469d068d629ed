"""What steps get of the machines, read by the parsers of KFP's own SDKs."""

import copy
import json

import pytest
import yaml
from google.protobuf import json_format

from arcface_common.errors import ConfigError
from pipeline.config import make_config
from pipeline.kubeflow_settings import STEPS, KubeflowSettings
from pipeline.runners.notice import add_notice
from pipeline.runners.pods import add_resources, cpu_quantity, platform_spec
from tests import kfp_tools
from tests.kubeflow import RefusedError, accept
from tests.processes import cli

SETTINGS = (
    "kubeflow.cpu={all: 2, Trainer: 8.5}",
    "kubeflow.memory={all: 8Gi, Trainer: 500Mi}",
    "kubeflow.gpus.Trainer=2",
    "kubeflow.shm.Trainer=4Gi",
    "kubeflow.scratch.all=20Gi",
    "kubeflow.node_selector.Trainer={pool: gpu}",
    "kubeflow.tolerations.Trainer=[{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]",
    "kubeflow.secrets={s3: {access: AWS_ACCESS_KEY_ID, secret: AWS_SECRET_ACCESS_KEY}}",
    "kubeflow.volumes={faces: /data}",
    "kubeflow.retries={all: 2, Trainer: 5}",
    "kubeflow.notify=AWS_ACCESS_KEY_ID",
    "kubeflow.run_as_user=4711",
)
OF_KUBERNETES = ("shm", "scratch", "node_selector", "tolerations", "secrets", "volumes", "notify", "run_as_user")


def _config(*settings):
    return make_config("gs://b/d", "gs://b/r", "demo", settings, here=False)


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ("cpu.Trainr=8", "kubeflow.cpu: expected all or a step. Received: 'Trainr'; did you mean 'Trainer'?"),
        ("cpu.all=0", "kubeflow.cpu.all: expected 0.001 to 10000. Received: 0"),
        ("gpus.Trainer=0", "kubeflow.gpus.Trainer: expected 1 to 1000. Received: 0"),
        ("retries.all=-1", "kubeflow.retries.all: expected 0 to 100. Received: -1"),
        ("retries.all=99999", "kubeflow.retries.all: expected 0 to 100. Received: 99999"),
        ("memory.all=8", "Received: memory={'all': 8} .all: expected a valid string"),
        ("memory.all=0Gi", "Received: memory=.* .all: below 1Mi"),
        ("tolerations.all=[{key: a, operator: Foo}]", "operator to be one of Exists, Equal. Received: 'Foo'"),
        (
            "volumes={a: /data, b: /data/}",
            "volumes.b: expected an absolute path below /, none of /data. Received",
        ),
        ("volumes.a=/", "kubeflow.volumes.a: expected an absolute path below /. Received: '/'"),
        ("memory.all=8GB", "Received: memory=.* .all: not as 500Mi or 16Gi"),
        ("tolerations.all=[{taint: x}]", "tolerations.all: expected key, operator, .* Received: 'taint'"),
        ("secrets={S3: {a: B}}", "kubeflow.secrets: expected names as Kubernetes has them. Received: 'S3'"),
        ("secrets={s3: {a: B-C}}", "kubeflow.secrets.s3: expected names of variables. Received: 'B-C'"),
        ("notify=CHAT", "kubeflow.notify: expected a variable of kubeflow.secrets. Received: another text"),
        ("volumes.faces=data", "kubeflow.volumes.faces: expected an absolute path below /. Received: 'data'"),
    ],
)
def test_what_kubernetes_would_refuse_is_refused_before(setting, error):
    with pytest.raises(ConfigError, match=error):
        _config(f"kubeflow.{setting}")


def test_a_setting_that_would_be_ignored_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"kubeflow.cpu must be left at \{\} without a cluster"):
        make_config(str(tmp_path), str(tmp_path / "root"), "demo", SETTINGS)
    with pytest.raises(ConfigError) as refused:
        _config(*SETTINGS).kubeflow.refuse_on_vertex()
    assert set(refused.value.instead) == {f"kubeflow.{name}" for name in OF_KUBERNETES}
    gpus = ("kubeflow.gpus.Trainer=1", "kubeflow.gpu_type=NVIDIA_TESLA_A100")
    _config("kubeflow.cpu.all=2", *gpus, "kubeflow.retries.all=2").kubeflow.refuse_on_vertex()


def test_processors_are_text_without_what_says_nothing():
    written = {2: "2", 1.5: "1.5", 0.001: "0.001", 10_000: "10000", 9999.999: "9999.999", 0.1 + 0.2: "0.3"}
    assert [cpu_quantity(one) for one in written] == list(written.values())


def test_the_notice_gets_what_all_says_and_no_more_than_it_needs():
    spec = {
        "pipelineInfo": {"name": "arcface"},
        "root": {
            "dag": {"tasks": {"Trainer": {}}},
            "inputDefinitions": {"parameters": {"data": {"parameterType": "STRING"}}},
        },
        "components": {"Trainer": {"executorLabel": "Trainer_executor"}},
        "deploymentSpec": {"executors": {"Trainer_executor": {"container": {}}}},
    }
    add_notice(spec, "i", "CHAT")
    settings = KubeflowSettings(
        cpu={"all": 0.5, "Trainer": 8},
        memory={"all": "1Gi"},
        gpus={"all": 1},
        retries={"all": 2, "Trainer": 5},
        shm={"all": "1Gi"},
        scratch={"all": "2Gi"},
        node_selector={"all": {"pool": "gpu"}},
        volumes={"faces": "/data"},
        secrets={"s3": {"access": "AWS_ACCESS_KEY_ID"}, "chat": {"url": "CHAT", "other": "OTHER"}},
        notify="CHAT",
        run_as_user=4711,
    )
    add_resources(spec, settings)
    tasks = {**spec["root"]["dag"]["tasks"], **spec["components"]["Pipeline"]["dag"]["tasks"]}
    retries = {name: one["retryPolicy"]["maxRetryCount"] for name, one in tasks.items() if "retryPolicy" in one}
    assert retries == {"Trainer": 5, "Notice": 2}
    executors = spec["deploymentSpec"]["executors"]
    resources = {name: one["container"]["resources"] for name, one in executors.items()}
    assert resources["Trainer_executor"]["resourceCpuLimit"] == "8"
    assert resources["Trainer_executor"]["accelerator"]["resourceCount"] == "1"
    assert resources["Notice_executor"] == {
        **{f"cpu{end}": 0.5 for end in ("Limit", "Request")},
        **{f"resourceCpu{end}": "0.5" for end in ("Limit", "Request")},
        **{f"memory{end}": pytest.approx(1.073741824) for end in ("Limit", "Request")},
        **{f"resourceMemory{end}": "1Gi" for end in ("Limit", "Request")},
    }
    pods = platform_spec(spec, settings)["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(pods["Trainer_executor"]) - set(pods["Notice_executor"]) == {"pvcMount", "enabledSharedMemory"}
    (secret,) = pods["Notice_executor"]["secretAsEnv"]
    assert (secret["secretName"], secret["keyToEnv"]) == ("chat", [{"secretKey": "url", "envVar": "CHAT"}])
    assert len(pods["Trainer_executor"]["secretAsEnv"]) == 2


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    """Both documents of the compiled file."""
    output = tmp_path_factory.mktemp("pods") / "pipeline.yaml"
    words = ["--output", str(output), "--data", "gs://b/d", "--root", "gs://b/r", "--preset", "demo", "--image", "i"]
    done = cli("compile", *words, *(word for setting in SETTINGS for word in ("--set", setting)))
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(output.read_text()))


@pytest.mark.slow
def test_the_pipeline_spec_has_processors_memory_gpus_and_retries(documents):
    spec = accept(copy.deepcopy(documents[0]))
    tasks = spec.components["Pipeline"].dag.tasks
    assert set(STEPS) == set(tasks)
    assert tasks["Trainer"].retry_policy.max_retry_count == 5
    assert tasks["Transform"].retry_policy.max_retry_count == 2
    from kfp.pipeline_spec import pipeline_spec_pb2

    deployment = json_format.ParseDict(documents[0]["deploymentSpec"], pipeline_spec_pb2.PipelineDeploymentConfig())
    trainer = deployment.executors["Trainer_executor"].container.resources
    assert (trainer.cpu_limit, trainer.resource_cpu_request, trainer.resource_memory_limit) == (8.5, "8.5", "500Mi")
    assert trainer.memory_limit == pytest.approx(0.524288)
    assert (trainer.accelerator.resource_type, trainer.accelerator.count) == ("nvidia.com/gpu", 2)
    other = deployment.executors["Transform_executor"].container.resources
    assert (other.resource_cpu_limit, other.resource_memory_limit) == ("2", "8Gi")
    assert not other.HasField("accelerator")


@pytest.mark.slow
def test_what_docs_say_of_an_older_backend_is_so(documents):
    spec = copy.deepcopy(documents[0])
    with pytest.raises(RefusedError, match="task final status not supported yet"):
        kfp_tools.compiled(spec)
    spec["root"]["dag"] = spec["components"].pop("Pipeline")["dag"]
    del spec["components"]["Notice"]
    workflow = kfp_tools.compiled(spec)
    container = json.loads(workflow["metadata"]["annotations"]["pipelines.kubeflow.org/implementations-Trainer"])
    assert (container["resources"]["cpuLimit"], container["resources"]["accelerator"]["count"]) == (8.5, "2")
    assert "retryStrategy" not in json.dumps(workflow)


@pytest.mark.slow
def test_the_platform_spec_is_what_kfp_kubernetes_writes(documents):
    kubernetes = pytest.importorskip("kfp.kubernetes", reason="kfp-kubernetes isn't installed")
    from kfp import dsl
    from kfp.kubernetes import kubernetes_executor_config_pb2
    from kfp.pipeline_spec import pipeline_spec_pb2

    platform = json_format.ParseDict(documents[1], pipeline_spec_pb2.PlatformSpec())
    executors = platform.platforms["kubernetes"].deployment_spec.executors
    assert set(executors) == set(documents[0]["deploymentSpec"]["executors"])

    @dsl.container_component
    def step():
        return dsl.ContainerSpec(image="i")

    made = {}

    @dsl.pipeline
    def _pipeline():
        made["task"] = task = step()
        kubernetes.add_node_selector(task, "pool", "gpu")
        kubernetes.add_toleration(task, key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")
        keys = {"access": "AWS_ACCESS_KEY_ID", "secret": "AWS_SECRET_ACCESS_KEY"}
        kubernetes.use_secret_as_env(task, "s3", keys)
        kubernetes.mount_pvc(task, "faces", "/data")
        kubernetes.empty_dir_mount(task, "work", "/work", size_limit="20Gi")
        kubernetes.set_security_context(task, run_as_user=4711, run_as_non_root=True)

    theirs, ours = (kubernetes_executor_config_pb2.KubernetesExecutorConfig() for _ in range(2))
    json_format.ParseDict(made["task"].platform_config["kubernetes"], theirs)
    theirs.enabled_shared_memory.volume_name = "shm"  # no function of the SDK sets it
    theirs.enabled_shared_memory.size = "4Gi"
    json_format.ParseDict(json_format.MessageToDict(executors["Trainer_executor"]), ours)
    assert json.loads(json_format.MessageToJson(ours)) == json.loads(json_format.MessageToJson(theirs))
