"""KFP's own client, with bounds: no request waits for ever, and no answer is larger than any that is meant."""

import contextlib
import dataclasses
import io
import json
import time
import warnings
from collections.abc import Iterator
from typing import Any

import urllib3

from arcface_common.errors import DataError
from serving.token_file import read_token

TIMEOUT_S = 60  # of a request, all in all
_LARGEST = 1 << 26  # bytes of an answer; the run of a pipeline of ours has some 100,000
_PIECE = 1 << 16


@dataclasses.dataclass(frozen=True)
class Server:
    """Where the API is, and as whom it is asked.

    Attributes:
      host: URL, e.g. "http://localhost:8888".
      namespace: of a cluster with several users; "" for one without.
      token_file: holds the bearer token, and is read for each request; "" for none.
      ca_cert: PEM file of the authority to trust; "" for the usual ones.
    """

    host: str
    namespace: str = ""
    token_file: str = ""
    ca_cert: str = ""


def connected(server: Server, host: str) -> Any:
    """The client of a server that has said that it is healthy.

    Args:
      server: where it is, and as whom it is asked.
      host: its URL without a slash at the end.
    """
    import kfp

    class Client(kfp.Client):
        """The client that asks for the health once: its own asks five times in 25 s, and hides what is wrong."""

        def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:
            _bound(self)
            return self.healthzs.healthz_service_get_healthz()

    with silent():
        client = Client(
            host=host,
            namespace=server.namespace or "kubeflow",  # which the client takes for none
            credentials=_token_credentials(server.token_file) if server.token_file else None,
            ssl_ca_cert=server.ca_cert or None,
        )
    _bound(client)
    return client


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Keeps the client's links and warnings off the screen."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def may_pass(error: BaseException | None) -> bool:
    """Whether what went wrong is the network's or the server's passing trouble."""
    return isinstance(error, urllib3.exceptions.HTTPError) or has_trouble(error)


def has_trouble(error: BaseException | None) -> bool:
    """Whether a server is there, and says that it can't answer now."""
    status = getattr(error, "status", None) or 0
    return status >= 500 or status == 429


def may_have_arrived(error: BaseException | None) -> bool:
    """Whether what a request asked for may have been done, though no answer says so."""
    error = getattr(error, "reason", None) if isinstance(error, urllib3.exceptions.MaxRetryError) else error
    if isinstance(error, urllib3.exceptions.HTTPError):
        return not isinstance(error, (urllib3.exceptions.ConnectTimeoutError, urllib3.exceptions.SSLError))
    return getattr(error, "status", None) in (500, 502, 504)  # the last two are a gateway's, of what is behind it


class _Bounded:
    """A pool of connections, as the client's REST uses it: each request once, within a time, and up to a size."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def request(
        self, method: str, url: str, preload_content: bool = True, timeout: Any = None, **given: Any
    ) -> urllib3.BaseHTTPResponse:
        """Asks. Who calls asks again, where that is meant: urllib3 would three times, each time as long.

        Raises:
          DataError: the answer is too large.
          HTTPError: no answer, or one that is cut short.
        """
        until = time.monotonic() + TIMEOUT_S
        answer = self._pool.request(
            method,
            url,
            preload_content=False,
            timeout=urllib3.Timeout(total=TIMEOUT_S),
            retries=urllib3.Retry(connect=0, read=0, other=0, redirect=3),
            **given,
        )
        good = 200 <= answer.status <= 299
        if good and not preload_content:
            return answer
        body = _read(answer, url, until)
        if good and body.lstrip()[:1] in (b"{", b"["):
            try:
                json.loads(body)
            except ValueError as error:
                raise urllib3.exceptions.ProtocolError(f"JSON that is cut short or damaged ({error})") from error
        return urllib3.HTTPResponse(
            body=io.BytesIO(body), headers=answer.headers, status=answer.status, reason=answer.reason
        )


def _read(answer: urllib3.BaseHTTPResponse, url: str, until: float) -> bytes:
    """An answer's body; one that drips is not waited for."""
    body = bytearray()
    while piece := answer.read1(_PIECE):
        body += piece
        if len(body) > _LARGEST:
            answer.close()
            raise DataError(f"{url}: expected an answer of at most {_LARGEST >> 20} MiB. Received: more")
        if time.monotonic() > until:
            answer.close()
            raise urllib3.exceptions.TimeoutError(f"no whole answer within {TIMEOUT_S} s")
    return bytes(body)


def _bound(client: Any) -> None:
    rest = client.runs.api_client.rest_client
    if not isinstance(rest.pool_manager, _Bounded):
        rest.pool_manager = _Bounded(rest.pool_manager)


def _token_credentials(path: str) -> Any:
    """The client's credentials out of a file, which may be renewed while a run is followed."""
    from kfp.client.token_credentials_base import TokenCredentialsBase

    class TokenFile(TokenCredentialsBase):
        def refresh_api_key_hook(self, config: Any) -> None:
            config.api_key["authorization"] = read_token(path)

    return TokenFile()
