"""Settings of the gRPC side: where it listens, and gRPC's own arguments."""

import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from tfdlrm.base.errors import InputError, require

LONGEST_SOCKET_PATH = 107
"""Most bytes of the path of a Unix socket in Linux."""


@dataclass(frozen=True)
class GrpcSettings:
    """Where gRPC listens, and how.

    Args:
        address: Address such as `127.0.0.1:8500`, whose port may be 0 to let the system
            choose; `None` for a Unix socket only.
        socket_path: Path of a Unix socket; `None` for none.
        credentials: Credentials for TLS, or `None`.
        channel_arguments: gRPC's arguments by name; they take precedence.
        most_at_a_time: Most requests that are answered at a time while others wait;
            `None` for no such limit.
        has_health: Whether there is the health service.
        has_profiler: Whether there is TensorFlow's profiler service.
    """

    address: str | None
    socket_path: Path | None = None
    credentials: grpc.ServerCredentials | None = None
    channel_arguments: Mapping[str, int | str] = field(default_factory=dict)
    most_at_a_time: int | None = None
    has_health: bool = True
    has_profiler: bool = False


def channel_arguments(text: str) -> dict[str, int | str]:
    """Return the arguments of `--grpc_channel_arguments`.

    Raises:
        InputError: If one is no `name=value`.

    Example:

    >>> channel_arguments("grpc.max_connection_age_ms=2000,grpc.lb_policy_name=rr")
    {'grpc.max_connection_age_ms': 2000, 'grpc.lb_policy_name': 'rr'}
    """
    arguments: dict[str, int | str] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = entry.partition("=")
        expected = "name=value, such as grpc.max_connection_age_ms=2000"
        require(
            bool(name and equals and value),
            "grpc_channel_arguments",
            repr(entry),
            expected,
        )
        arguments[name] = _number(value)
    return arguments


def _number(value: str) -> int | str:
    try:
        number = int(value)
    except ValueError:
        return value
    return number if -(2**31) <= number < 2**31 else value


def check_socket_path(path: Path) -> str:
    """Return the address of a Unix socket at a path.

    gRPC removes a socket that is there, also one on which another server answers.

    Raises:
        InputError: If the path cannot be used, or another server answers there.
    """
    size = len(str(path).encode())
    name = "grpc_socket_path"
    expected = f"a path of at most {LONGEST_SOCKET_PATH} bytes"
    require(size <= LONGEST_SOCKET_PATH, name, repr(str(path)), expected)
    if not path.parent.is_dir():
        raise InputError(f"--{name} is {path}, and there is no directory {path.parent}")
    try:
        is_socket = stat.S_ISSOCK(path.stat().st_mode)
    except FileNotFoundError:
        return f"unix:{path}"
    if not is_socket:
        raise InputError(f"--{name} is {path}, where a file is that is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise InputError(f"--{name} is {path}, where another server answers")
    return f"unix:{path}"
