"""Errors for clients, over gRPC and over HTTP."""

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
"""TF Serving's mapping; all other statuses are 500."""

LONGEST_MESSAGE = 1000
"""Messages quote what clients sent, and gRPC sends messages as headers."""


class ServingError(Exception):
    """The error that answers a request.

    Args:
        code: gRPC status.
        message: What came and what was expected.
        http_status: HTTP status; `None` for the one that TF Serving maps `code` to.
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
    """Refuse a request that is at fault.

    Raises:
        ServingError: Always, with INVALID_ARGUMENT.
    """
    raise ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


def from_tensorflow(error: Exception) -> ServingError:
    """Return the error of a model's run, with the status that TensorFlow gave it."""
    text = getattr(error, "message", None) or str(error)
    number = getattr(error, "error_code", None)
    if root := _root(text):
        code, reason = _status(root[1], number), root[2]
    else:
        code, reason = _status("", number), _reason(text)
    return ServingError(code, _without_node(reason) or type(error).__name__)


def _status(name: str, number: int | None) -> grpc.StatusCode:
    for code in grpc.StatusCode:
        if code.name == name:
            return code
    matches = (code for code in grpc.StatusCode if code.value[0] == number)
    return next(matches, grpc.StatusCode.INTERNAL)


_ROOT = re.compile(r"^\s*\(\d+\)\s+([A-Z_]+): +(.+)", re.MULTILINE)
"""A line that lists one of several errors; models on several devices have them."""

_NO_REASON = re.compile(
    r"\s|Graph execution error:|Detected at node|Node: |Original stack trace|"
    r"<stack traces unavailable>|\d+ root error\(s\) found|"
    r"\d+ (successful operations|derived errors)"
)
"""Beginnings of lines that are not the reason; indented lines are traces."""


def _root(text: str) -> re.Match[str] | None:
    """Return the first of several errors that was not caused by another one."""
    roots = list(_ROOT.finditer(text))
    causes = [root for root in roots if root[1] not in ("ABORTED", "CANCELLED")]
    return next(iter(causes or roots), None)


def _reason(text: str) -> str:
    """Return the line of TensorFlow's message that says what is wrong."""
    lines = [line for line in text.splitlines() if line.strip()]
    reasons = [line for line in lines if not _NO_REASON.match(line)]
    return (reasons or lines or [""])[0]


def _without_node(line: str) -> str:
    """Return a line without the node and operation, names that clients do not know."""
    line = re.sub(r"^\s*(\{\{function_node [^}]*\}\}\s*)+", "", line)
    return re.sub(r"\s*\[(\[\{\{|Op:).*$", "", line).strip()
