"""What one client may ask for, and who may ask: the same for every transport."""

import asyncio
import contextlib
import dataclasses
import hmac
import re
import uuid
from collections.abc import AsyncIterator

from serving.server.errors import Code, ServingError

_BEARER = "bearer "
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits of a request.

    Attributes:
      body_bytes: of a request, as it is sent and as it unpacks.
      seconds: from the request's whole body to its answer; DEADLINE_EXCEEDED (504) beyond.
      body_seconds: in which a body must have come, and a request's head; 408 beyond.
      connections: of HTTP, and requests of gRPC, that are open at once; 503 or RESOURCE_EXHAUSTED beyond.
      rows: of a request; INVALID_ARGUMENT (400) beyond. 32 single images are computed at once: 4096 are 128 batches.
      headers: of a request of HTTP; 400 beyond.
      head_bytes: that these and the path take; 400 beyond.
    """

    body_bytes: int = 64 << 20
    seconds: float = 30.0
    body_seconds: float = 20.0
    connections: int = 1000
    rows: int = 4096
    headers: int = 100
    head_bytes: int = 64 << 10


class Token:
    """The bearer token that requests must carry, or none."""

    def __init__(self, token: str | None = None) -> None:
        """Keeps it.

        Args:
          token: None: everybody may ask.
        """
        self._token = token.encode() if token else None

    def admits(self, authorization: str | None) -> bool:
        """Whether a request may pass; takes as long for any wrong token of one length.

        Args:
          authorization: the request's header of this name.
        """
        if self._token is None:
            return True
        given = authorization or ""
        if given[: len(_BEARER)].lower() != _BEARER:
            return False
        return hmac.compare_digest(given[len(_BEARER) :].strip().encode(), self._token)


def request_id(given: str | None) -> str:
    """The id by which the log names a request: the client's, if it is one, or a new one."""
    return given if given and _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


@contextlib.asynccontextmanager
async def in_time(seconds: float) -> AsyncIterator[None]:
    """The time that an answer has.

    Raises:
      ServingError: DEADLINE_EXCEEDED, where the body takes longer.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise ServingError(Code.DEADLINE_EXCEEDED, f"not answered within {seconds:g} s") from error
