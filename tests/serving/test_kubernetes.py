"""The manifests, read as Kubernetes' own client reads them: a field that it doesn't know is an error."""

import functools

import pytest
import yaml
from kubernetes import client

from arcface_common.artifacts import MODEL_NAME
from tests.serving.test_tf_serving_configs import FOLDER

KINDS = {
    "Namespace": "V1Namespace",
    "Deployment": "V1Deployment",
    "Service": "V1Service",
    "HorizontalPodAutoscaler": "V2HorizontalPodAutoscaler",
    "PodDisruptionBudget": "V1PodDisruptionBudget",
    "NetworkPolicy": "V1NetworkPolicy",
}
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
NAME = {"app.kubernetes.io/name": "tf-serving"}


def _strict(content, kind):
    """An object of the client's class that says the same as the file; the client by itself drops unknown fields."""
    api = client.ApiClient()
    found = api._ApiClient__deserialize(content, kind)
    assert api.sanitize_for_serialization(found) == content
    return found


@functools.cache
def _all():
    """Kind -> what the kustomization names."""
    found = {}
    for path in KUSTOMIZATION["resources"]:
        for content in yaml.safe_load_all((FOLDER / path).read_text()):
            found.setdefault(content["kind"], []).append(_strict(content, KINDS[content["kind"]]))
    return found


def _pod():
    (deployment,) = _all()["Deployment"]
    return deployment.spec.template.spec


def test_every_kind_is_there_and_an_unknown_field_would_be_seen():
    assert set(_all()) == set(KINDS)
    with pytest.raises(AssertionError):
        _strict({"spec": {"selectors": NAME}}, "V1Service")


def test_all_speak_of_the_same_pods():
    (deployment,) = _all()["Deployment"]
    (autoscaler,) = _all()["HorizontalPodAutoscaler"]
    selectors = [
        deployment.spec.selector.match_labels,
        deployment.spec.template.metadata.labels,
        *(service.spec.selector for service in _all()["Service"]),
        *(budget.spec.selector.match_labels for budget in _all()["PodDisruptionBudget"]),
        *(policy.spec.pod_selector.match_labels for policy in _all()["NetworkPolicy"]),
    ]
    assert selectors == [NAME] * len(selectors)
    target = autoscaler.spec.scale_target_ref
    assert (target.api_version, target.kind, target.name) == ("apps/v1", "Deployment", deployment.metadata.name)
    assert deployment.spec.replicas is None
    assert autoscaler.spec.min_replicas > _all()["PodDisruptionBudget"][0].spec.min_available


def test_ports_are_those_of_the_container():
    (container,) = _pod().containers
    ports = {port.name: port.container_port for port in container.ports}
    assert ports == {"grpc": 8500, "rest": 8501}
    assert {"--port=8500", "--rest_api_port=8501"} <= set(container.args)
    named = [port.target_port for service in _all()["Service"] for port in service.spec.ports]
    named += [port.port for rule in _all()["NetworkPolicy"][0].spec.ingress for port in rule.ports]
    named += [container.startup_probe.http_get.port, container.readiness_probe.http_get.port]
    assert set(named) | {container.liveness_probe.tcp_socket.port} == set(ports)
    for probe in (container.startup_probe, container.readiness_probe):
        assert probe.http_get.path == f"/v1/models/{MODEL_NAME}"


def test_files_that_the_server_is_told_are_mounted():
    (container,) = _pod().containers
    (generated,) = KUSTOMIZATION["configMapGenerator"]
    given = {f"/config/{name}" for name in generated["files"]}
    assert {arg.partition("=")[2] for arg in container.args if "=/config/" in arg} == given
    assert all((FOLDER / name).is_file() for name in generated["files"])
    volumes = {volume.name: volume for volume in _pod().volumes}
    assert volumes["config"].config_map.name == generated["name"]
    mounts = {mount.mount_path: mount for mount in container.volume_mounts}
    assert set(volumes) == {mount.name for mount in mounts.values()}
    assert mounts["/models"].read_only
    assert f'base_path: "/models/{MODEL_NAME}"' in (FOLDER / "models.config").read_text()


def test_compose_and_kubernetes_run_the_same_server():
    service = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]["serving"]
    (container,) = _pod().containers
    assert container.image == service["image"]
    # The image's own entrypoint sets the ports, which the pod's command does not go through.
    ports = {"--port=8500", "--rest_api_port=8501"}
    assert set(container.args) - ports == set(service["command"])


def test_the_pod_keeps_the_standard_restricted():
    """Each line of the Pod Security Standard "restricted" that concerns Linux."""
    (namespace,) = _all()["Namespace"]
    assert namespace.metadata.labels["pod-security.kubernetes.io/enforce"] == "restricted"
    pod = _pod()
    assert not (pod.host_network or pod.host_pid or pod.host_ipc)
    assert pod.security_context.run_as_non_root
    assert pod.security_context.run_as_user
    assert pod.security_context.seccomp_profile.type == "RuntimeDefault"
    kinds = {kind for volume in pod.volumes for kind, value in volume.to_dict().items() if value and kind != "name"}
    assert kinds <= {"config_map", "empty_dir", "persistent_volume_claim"}
    for container in pod.containers:
        context = container.security_context
        assert not context.privileged
        assert context.allow_privilege_escalation is False
        assert (context.capabilities.drop, context.capabilities.add) == (["ALL"], None)
        assert not any(port.host_port for port in container.ports)


def test_kserves_predictor_is_a_pod_with_a_container():
    content = yaml.safe_load((FOLDER / "kubernetes" / "inference_service.yaml").read_text())
    assert (content["apiVersion"], content["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    predictor = content["spec"]["predictor"]
    model = predictor.pop("model")
    own = {name: model.pop(name) for name in ("modelFormat", "runtimeVersion", "protocolVersion", "storageUri")}
    assert own["modelFormat"] == {"name": "tensorflow"}
    (container,) = _pod().containers
    assert container.image.endswith(f":{own['runtimeVersion']}")
    claim = next(volume.persistent_volume_claim for volume in _pod().volumes if volume.persistent_volume_claim)
    assert own["storageUri"] == f"pvc://{claim.claim_name}/{MODEL_NAME}"
    scaling = {predictor.pop(name) for name in ("minReplicas", "maxReplicas", "scaleMetric", "scaleTarget")}
    assert "cpu" in scaling
    _strict({"name": "model", **model}, "V1Container")
    _strict({**predictor, "containers": []}, "V1PodSpec")
