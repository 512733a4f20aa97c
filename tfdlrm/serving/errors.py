"""What is said to a client that cannot be served, over gRPC and over HTTP."""

import re
from typing import NoReturn

import grpc

HTTP_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
"""TF Serving's mapping; what is not here is 500."""

LONGEST_MESSAGE = 1000
"""A client's own words come back in messages; gRPC sends these as headers."""


class ServingError(Exception):
    """A request that gets an error for an answer.

    Args:
        code: gRPC status.
        message: What came and what was expected.
        http_status: The same over HTTP; `None` for TF Serving's.
    """

    def __init__(
        self, code: grpc.StatusCode, message: str, http_status: int | None = None
    ) -> None:
        if len(message) > LONGEST_MESSAGE:
            message = f"{message[:LONGEST_MESSAGE]}…"
        super().__init__(message)
        self.code = code
        self.message = message
        self.http_status = http_status or HTTP_STATUS.get(code, 500)


def refuse(message: str) -> NoReturn:
    """Say that the request is at fault.

    Raises:
        ServingError: Always, with INVALID_ARGUMENT.
    """
    raise ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


def from_tensorflow(error: Exception) -> ServingError:
    """The error of a model's run, with the status that TensorFlow gave it."""
    text = getattr(error, "message", None) or str(error)
    number = getattr(error, "error_code", None)
    if root := _root(text):
        code, reason = _named_or_numbered(root[1], number), root[2]
    else:
        code, reason = _named_or_numbered("", number), _reason(text)
    return ServingError(code, _without_place(reason) or type(error).__name__)


def _named_or_numbered(name: str, number: int | None) -> grpc.StatusCode:
    for code in grpc.StatusCode:
        if code.name == name:
            return code
    numbered = (code for code in grpc.StatusCode if code.value[0] == number)
    return next(numbered, grpc.StatusCode.INTERNAL)


_ROOT = re.compile(r"^\s*\(\d+\)\s+([A-Z_]+): +(.+)", re.MULTILINE)
"""One of several errors at a time, as a model on several devices has them."""

_NO_REASON = re.compile(
    r"\s|Graph execution error:|Detected at node|Node: |Original stack trace|"
    r"<stack traces unavailable>|\d+ root error\(s\) found|"
    r"\d+ (successful operations|derived errors)"
)
"""How the lines begin that stand around the reason: indented ones are traces."""


def _root(text: str) -> re.Match[str] | None:
    """The first of several errors that did not come of another one."""
    roots = list(_ROOT.finditer(text))
    own = [root for root in roots if root[1] not in ("ABORTED", "CANCELLED")]
    return next(iter(own or roots), None)


def _reason(text: str) -> str:
    """The one line of TensorFlow's message that says what is wrong."""
    lines = [line for line in text.splitlines() if line.strip()]
    reasons = [line for line in lines if not _NO_REASON.match(line)]
    return (reasons or lines or [""])[0]


def _without_place(line: str) -> str:
    """A line without the node and the operation, which clients do not know."""
    line = re.sub(r"^\s*(\{\{function_node [^}]*\}\}\s*)+", "", line)
    return re.sub(r"\s*\[(\[\{\{|Op:).*$", "", line).strip()
