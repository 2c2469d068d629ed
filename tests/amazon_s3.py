"""Amazon's S3 on this machine: a proxy that answers for its hosts, by moto's server.

Programs that know no other endpoint, such as Kubeflow's launcher with s3://, find it by HTTPS_PROXY and AWS_CA_BUNDLE.
"""

import contextlib
import http.server
import select
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

from tests.serving.server.certificates import self_signed

HOST = "127.0.0.1"
REGION = "us-east-1"
_HOSTS = ("*.s3.amazonaws.com", f"*.s3.{REGION}.amazonaws.com")


class AmazonS3(contextlib.ExitStack):
    """The server and the proxy, while they run.

    Attributes:
      port: of the server itself, which has no TLS.
      store: a client of it.
      environment: variables by which a program finds it under Amazon's names.
    """

    def __init__(self, folder: Path, access_key: str, secret_key: str) -> None:
        """Starts both.

        Args:
          folder: is made, and gets the authority's certificate.
          access_key: what programs say; any will do.
          secret_key: the same.
        """
        super().__init__()
        server = ThreadedMotoServer(ip_address=HOST, port=0, verbose=False)
        server.start()
        self.callback(server.stop)
        self.port = server.get_host_and_port()[1]
        keys = {"aws_access_key_id": access_key, "aws_secret_access_key": secret_key}
        self.store = boto3.client("s3", endpoint_url=f"http://{HOST}:{self.port}", region_name=REGION, **keys)
        self.callback(self.store.close)
        folder.mkdir(parents=True)
        certificate, key = self_signed(folder, *_HOSTS)
        self.environment = {
            "HTTPS_PROXY": f"http://{HOST}:{self._proxy(certificate, key)}",
            "AWS_CA_BUNDLE": certificate,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": access_key,
            "AWS_SECRET_ACCESS_KEY": secret_key,
        }

    def _proxy(self, certificate: str, key: str) -> int:
        """Starts the proxy; returns its port."""
        secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        secure.load_cert_chain(certificate, key)
        port = self.port

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_CONNECT(self) -> None:  # noqa: N802 - the base class's name
                self.send_response(200)
                self.end_headers()
                with (
                    secure.wrap_socket(self.connection, server_side=True) as client,
                    socket.create_connection((HOST, port)) as server,
                ):
                    while _passed_on(client, server):
                        pass

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        proxy = self.enter_context(http.server.ThreadingHTTPServer((HOST, 0), Handler))
        proxy.daemon_threads = True
        threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.callback(proxy.shutdown)
        return proxy.server_port


def _passed_on(client: ssl.SSLSocket, server: socket.socket) -> bool:
    """Hands what either said to the other; False once one of them has hung up."""
    for one in select.select([client, server], [], [])[0]:
        content = one.recv(1 << 16)
        while one is client and client.pending():
            content += client.recv(1 << 16)
        if not content:
            return False
        (server if one is client else client).sendall(content)
    return True
