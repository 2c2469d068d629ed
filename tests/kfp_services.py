"""What Kubeflow Pipelines' own driver and launcher talk to, each on loopback: the services of its namespace.

| service | what stands there |
|---|---|
| ML Metadata | the C++ store of its own package, upon SQLite, behind gRPC |
| the object store | moto's S3 server: by itself for minio://, and as Amazon's for s3:// |
| Kubernetes' API | an HTTPS server that has the launcher's config map and the store's secret |
| the cache's tasks | a gRPC server that keeps them in memory |
"""

import base64
import concurrent.futures
import contextlib
import http.server
import json
import re
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from ml_metadata.metadata_store.pywrap.metadata_store_extension import metadata_store
from ml_metadata.proto import metadata_store_pb2, metadata_store_service_pb2

from tests.amazon_s3 import HOST, AmazonS3
from tests.serving.server.certificates import self_signed

BUCKET = "mlpipeline"
NAMESPACE = "kubeflow"
_KEYS = {"accesskey": "minio", "secretkey": "minio123"}


class Services(contextlib.ExitStack):
    """The services, while they run.

    Attributes:
      environment: the variables by which Kubernetes tells a pod of the namespace where they are.
      account: folder of the service account: token, certificate and namespace.
      store: a client of the object store.
    """

    def __init__(self, folder: Path, root: str = f"minio://{BUCKET}/v2") -> None:
        """Starts them.

        Args:
          folder: gets what pods read, so they must see it.
          root: where artifacts go.
        """
        super().__init__()
        self.account = folder / "account"
        self.account.mkdir(parents=True)
        metadata = str(self._grpc("ml_metadata.MetadataStoreService", _metadata(folder / "metadata.sqlite")))
        s3 = self.enter_context(AmazonS3(folder / "s3", *_KEYS.values()))
        self.store = s3.store
        self.store.create_bucket(Bucket=BUCKET)
        self.environment = {
            **s3.environment,
            "KUBERNETES_SERVICE_HOST": HOST,
            "KUBERNETES_SERVICE_PORT": str(self._kubernetes(root)),
            # The driver has the service's variables, the launcher those of the config map `metadata-grpc-configmap`.
            "METADATA_GRPC_SERVICE_SERVICE_HOST": HOST,
            "METADATA_GRPC_SERVICE_SERVICE_PORT": metadata,
            "METADATA_GRPC_SERVICE_HOST": HOST,
            "METADATA_GRPC_SERVICE_PORT": metadata,
            "MINIO_SERVICE_SERVICE_HOST": HOST,
            "MINIO_SERVICE_SERVICE_PORT": str(s3.port),
            "ML_PIPELINE_SERVICE_HOST": HOST,
            "ML_PIPELINE_SERVICE_PORT_GRPC": str(self._grpc("api.TaskService", _tasks())),
        }

    def _grpc(self, service: str, methods: dict[str, Callable[[bytes, Any], bytes]]) -> int:
        """Serves methods of bytes; returns the port."""
        # One thread, as the store of metadata is one connection.
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
        handlers = {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        port = server.add_insecure_port(f"{HOST}:0")
        server.start()
        self.callback(lambda: server.stop(None).wait())
        return port

    def _kubernetes(self, root: str) -> int:
        token = "token-of-the-step"
        certificate = self_signed(self.account, HOST)
        Path(certificate[0]).rename(self.account / "ca.crt")
        (self.account / "token").write_text(token)
        (self.account / "namespace").write_text(NAMESPACE)
        secret = {name: base64.b64encode(value.encode()).decode() for name, value in _KEYS.items()}
        objects = {
            "configmaps/kfp-launcher": {"kind": "ConfigMap", "data": {"defaultPipelineRoot": root}},
            "secrets/mlpipeline-minio-artifact": {"kind": "Secret", "data": secret},
        }

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # noqa: N802 - the base class's name
                found = objects.get(self.path.removeprefix(f"/api/v1/namespaces/{NAMESPACE}/"))
                code = 401 if self.headers["Authorization"] != f"Bearer {token}" else 200 if found else 404
                answer = found if code == 200 else {"kind": "Status", "status": "Failure", "code": code}
                content = json.dumps({"apiVersion": "v1", **answer}).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        server = self.enter_context(http.server.ThreadingHTTPServer((HOST, 0), Handler))
        secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        secure.load_cert_chain(self.account / "ca.crt", certificate[1])
        server.socket = secure.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.callback(server.shutdown)
        return server.server_port


def _metadata(path: Path) -> dict[str, Callable[[bytes, Any], bytes]]:
    """Each method of ML Metadata's service, by the store of its package."""
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    options = metadata_store_pb2.MigrationOptions()
    store = metadata_store.CreateMetadataStore(config.SerializeToString(), options.SerializeToString())
    codes = {code.value[0]: code for code in grpc.StatusCode}

    def method(name: str) -> Callable[[bytes, Any], bytes]:
        def answer(request: bytes, context: Any) -> bytes:
            response, message, code = getattr(metadata_store, name)(store, request)
            if code:
                context.abort(codes[code], message if isinstance(message, str) else message.decode())
            return response

        return answer

    (service,) = metadata_store_service_pb2.DESCRIPTOR.services_by_name.values()
    methods = {one.name: method(one.name) for one in service.methods if hasattr(metadata_store, one.name)}
    return methods | {"GetExecutionsByContext": _filtered(methods["GetExecutionsByContext"])}


def _filtered(method: Callable[[bytes, Any], bytes]) -> Callable[[bytes, Any], bytes]:
    """GetExecutionsByContext with the one filter that Kubeflow's driver has: the package's store takes none."""

    def answer(serialized: bytes, context: Any) -> bytes:
        request = metadata_store_service_pb2.GetExecutionsByContextRequest.FromString(serialized)
        name, wanted = re.fullmatch(
            r"custom_properties\.(\w+)\.int_value = (\d+)", request.options.filter_query
        ).groups()
        request.options.ClearField("filter_query")
        most, request.options.max_result_size = request.options.max_result_size, 100
        response = metadata_store_service_pb2.GetExecutionsByContextResponse.FromString(
            method(request.SerializeToString(), context)
        )
        kept = [one for one in response.executions if one.custom_properties[name].int_value == int(wanted)]
        return metadata_store_service_pb2.GetExecutionsByContextResponse(executions=kept[:most]).SerializeToString()

    return answer


def _tasks() -> dict[str, Callable[[bytes, Any], bytes]]:
    """The cache: a request to make a task is, byte for byte, an answer that lists that task alone."""
    known: dict[bytes, bytes] = {}

    def fingerprint(request: bytes) -> bytes:
        (found,) = re.findall(rb"[0-9a-f]{64}", request)
        return found

    def create(request: bytes, _: Any) -> bytes:
        known[fingerprint(request)] = request
        return b""

    return {"CreateTaskV1": create, "ListTasksV1": lambda request, _: known.get(fingerprint(request), b"")}
