"""What a request can end in, by TensorFlow's and gRPC's common codes, and what HTTP calls them."""

import enum

from arcface_common.errors import cut

STARTING = "The server is starting"  # why it is UNAVAILABLE before a version takes traffic


class Code(enum.IntEnum):
    """The canonical codes; the numbers are gRPC's, TensorFlow's and google.rpc's alike."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


# Characters of an error: gRPC writes three for one of ASCII at most, and twelve for another; a status may have 8 KB.
_LONGEST = {True: 2000, False: 600}

# As TF Serving's http_server.cc maps them; what is not named is 500.
_HTTP = {
    Code.OK: 200,
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.ABORTED: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.CANCELLED: 499,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}


class ServingError(Exception):
    """A request or a version that can't be served.

    Attributes:
      code: the canonical code.
      http: the status of HTTP that goes with it.
    """

    def __init__(self, code: Code, message: str, http: int | None = None) -> None:
        """Keeps both.

        Args:
          code: the canonical code.
          message: what was expected and received; of a long one the begin is kept.
          http: a status of HTTP that says more than the code's, such as 413.
        """
        super().__init__(cut(message, _LONGEST[message.isascii()]))
        self.code = code
        self.http = http or _HTTP.get(code, 500)


def invalid(message: str) -> ServingError:
    """An error that is the request's fault."""
    return ServingError(Code.INVALID_ARGUMENT, message)
