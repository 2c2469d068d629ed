"""The manifests, read as Kubernetes' own client reads them: a field that it doesn't know is an error."""

import functools
import shutil
import subprocess

import pytest
import yaml
from kubernetes import client

from arcface_common.artifacts import MODEL_NAME
from tests.serving.test_tf_serving_configs import FOLDER as TF_SERVING

OURS = TF_SERVING.parent / "server"
KINDS = {
    "Namespace": "V1Namespace",
    "Deployment": "V1Deployment",
    "Service": "V1Service",
    "HorizontalPodAutoscaler": "V2HorizontalPodAutoscaler",
    "PodDisruptionBudget": "V1PodDisruptionBudget",
    "NetworkPolicy": "V1NetworkPolicy",
}
NAME = {"app.kubernetes.io/name": "arcface"}
both = pytest.mark.parametrize("folder", [OURS, TF_SERVING], ids=lambda folder: folder.name)


def _strict(content, kind):
    """An object of the client's class that says the same as the file; the client by itself drops unknown fields."""
    api = client.ApiClient()
    found = api._ApiClient__deserialize(content, kind)
    assert api.sanitize_for_serialization(found) == content
    return found


def _kustomization(folder):
    return yaml.safe_load((folder / "kustomization.yaml").read_text())


def _contents(folder):
    """What a kustomization names, and those that it names."""
    for name in _kustomization(folder)["resources"]:
        if (folder / name).is_dir():
            yield from _contents(folder / name)
        else:
            yield from yaml.safe_load_all((folder / name).read_text())


@functools.cache
def _all(folder):
    """Kind -> what is applied."""
    found = {}
    for content in _contents(folder):
        found.setdefault(content["kind"], []).append(_strict(content, KINDS[content["kind"]]))
    return found


def _pod(folder):
    (deployment,) = _all(folder)["Deployment"]
    return deployment.spec.template.spec


@both
def test_every_kind_is_there_and_an_unknown_field_would_be_seen(folder):
    assert set(_all(folder)) == set(KINDS)
    with pytest.raises(AssertionError):
        _strict({"spec": {"selectors": NAME}}, "V1Service")


@both
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl, which builds what it applies, is not installed")
def test_kubectl_builds_it(folder):
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = {content["kind"]: content for content in yaml.safe_load_all(done.stdout)}
    assert set(built) - {"ConfigMap"} == set(KINDS)
    (container,) = built["Deployment"]["spec"]["template"]["spec"]["containers"]
    (own,) = _pod(folder).containers
    images = _kustomization(folder).get("images", ())
    placed = {image["name"]: f"{image['newName']}:{image['newTag']}" for image in images}
    assert container["image"] == placed.get(own.image, own.image)


@both
def test_all_speak_of_the_same_pods(folder):
    (deployment,) = _all(folder)["Deployment"]
    (autoscaler,) = _all(folder)["HorizontalPodAutoscaler"]
    selectors = [
        deployment.spec.selector.match_labels,
        deployment.spec.template.metadata.labels,
        *(service.spec.selector for service in _all(folder)["Service"]),
        *(budget.spec.selector.match_labels for budget in _all(folder)["PodDisruptionBudget"]),
        *(policy.spec.pod_selector.match_labels for policy in _all(folder)["NetworkPolicy"]),
    ]
    assert selectors == [NAME] * len(selectors)
    target = autoscaler.spec.scale_target_ref
    assert (target.api_version, target.kind, target.name) == ("apps/v1", "Deployment", deployment.metadata.name)
    assert deployment.spec.replicas is None
    assert autoscaler.spec.min_replicas > _all(folder)["PodDisruptionBudget"][0].spec.min_available


@both
def test_ports_are_those_of_the_container(folder):
    (container,) = _pod(folder).containers
    ports = {port.name: port.container_port for port in container.ports}
    assert ports == {"grpc": 8500, "rest": 8501}
    named = [port.target_port for service in _all(folder)["Service"] for port in service.spec.ports]
    named += [port.port for rule in _all(folder)["NetworkPolicy"][0].spec.ingress for port in rule.ports]
    probes = (container.startup_probe, container.readiness_probe, container.liveness_probe)
    named += [(probe.http_get or probe.tcp_socket).port for probe in probes]
    assert set(named) == set(ports)


def test_tf_serving_is_told_its_ports_and_asked_for_the_model():
    (container,) = _pod(TF_SERVING).containers
    assert {"--port=8500", "--rest_api_port=8501"} <= set(container.args)
    for probe in (container.startup_probe, container.readiness_probe):
        assert probe.http_get.path == f"/v1/models/{MODEL_NAME}"


def test_serve_knows_its_arguments_and_its_probes(monkeypatch):
    """As the command itself reads them, but for the files, which are the pod's."""
    import click

    from pipeline.cli.serve import serve
    from serving.server.oip_rest import LIVE, READY

    for parameter in serve.params:
        if parameter.name in ("folder", "token_file"):
            monkeypatch.setattr(parameter, "type", click.STRING)
    (container,) = _pod(OURS).containers
    given = serve.make_context("serve", list(container.args)).params
    assert (given["port"], given["rest_port"], given["host"]) == (8500, 8501, "0.0.0.0")
    mounts = {mount.mount_path: mount for mount in container.volume_mounts}
    assert given["folder"] == f"/models/{MODEL_NAME}"
    assert given["token_file"].rpartition("/")[0] in mounts
    assert mounts["/models"].read_only
    probes = (container.startup_probe, container.readiness_probe, container.liveness_probe)
    assert [probe.http_get.path for probe in probes] == [READY, READY, LIVE]
    waited = int(container.lifecycle.pre_stop._exec.command[-1]) + given["drain_seconds"]
    assert waited < _pod(OURS).termination_grace_period_seconds
    dockerfile = (OURS.parent.parent / "Dockerfile").read_text()
    assert f"docker build -t {container.image} --target serve" in dockerfile
    assert set(mounts) == {"/models", "/secret", "/work"}
    assert {volume.name for volume in _pod(OURS).volumes} == {mount.name for mount in mounts.values()}


def test_files_that_the_server_is_told_are_mounted():
    (container,) = _pod(TF_SERVING).containers
    (generated,) = _kustomization(TF_SERVING)["configMapGenerator"]
    given = {f"/config/{name}" for name in generated["files"]}
    assert {arg.partition("=")[2] for arg in container.args if "=/config/" in arg} == given
    assert all((TF_SERVING / name).is_file() for name in generated["files"])
    volumes = {volume.name: volume for volume in _pod(TF_SERVING).volumes}
    assert volumes["config"].config_map.name == generated["name"]
    mounts = {mount.mount_path: mount for mount in container.volume_mounts}
    assert set(volumes) == {mount.name for mount in mounts.values()}
    assert mounts["/models"].read_only
    assert f'base_path: "/models/{MODEL_NAME}"' in (TF_SERVING / "models.config").read_text()


def test_compose_and_kubernetes_run_the_same_server():
    service = yaml.safe_load((TF_SERVING / "compose.yaml").read_text())["services"]["serving"]
    (container,) = _pod(TF_SERVING).containers
    assert container.image == service["image"]
    # The image's own entrypoint sets the ports, which the pod's command does not go through.
    ports = {"--port=8500", "--rest_api_port=8501"}
    assert set(container.args) - ports == set(service["command"])


@both
def test_the_pod_keeps_the_standard_restricted(folder):
    """Each line of the Pod Security Standard "restricted" that concerns Linux."""
    (namespace,) = _all(folder)["Namespace"]
    assert namespace.metadata.labels["pod-security.kubernetes.io/enforce"] == "restricted"
    pod = _pod(folder)
    assert not (pod.host_network or pod.host_pid or pod.host_ipc)
    assert pod.security_context.run_as_non_root
    assert pod.security_context.run_as_user
    assert pod.security_context.seccomp_profile.type == "RuntimeDefault"
    kinds = {kind for volume in pod.volumes for kind, value in volume.to_dict().items() if value and kind != "name"}
    assert kinds <= {"config_map", "empty_dir", "persistent_volume_claim", "secret"}
    for container in pod.containers:
        context = container.security_context
        assert not context.privileged
        assert context.allow_privilege_escalation is False
        assert (context.capabilities.drop, context.capabilities.add) == (["ALL"], None)
        assert not any(port.host_port for port in container.ports)


def test_kserves_predictor_is_a_pod_with_a_container():
    content = yaml.safe_load((TF_SERVING / "inference_service.yaml").read_text())
    assert (content["apiVersion"], content["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    predictor = content["spec"]["predictor"]
    model = predictor.pop("model")
    own = {name: model.pop(name) for name in ("modelFormat", "runtimeVersion", "protocolVersion", "storageUri")}
    assert own["modelFormat"] == {"name": "tensorflow"}
    (container,) = _pod(TF_SERVING).containers
    assert container.image.endswith(f":{own['runtimeVersion']}")
    claim = next(
        volume.persistent_volume_claim for volume in _pod(TF_SERVING).volumes if volume.persistent_volume_claim
    )
    assert own["storageUri"] == f"pvc://{claim.claim_name}/{MODEL_NAME}"
    scaling = {predictor.pop(name) for name in ("minReplicas", "maxReplicas", "scaleMetric", "scaleTarget")}
    assert "cpu" in scaling
    _strict({"name": "model", **model}, "V1Container")
    _strict({**predictor, "containers": []}, "V1PodSpec")
