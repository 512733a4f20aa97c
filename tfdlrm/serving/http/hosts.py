"""Host names that requests may use, against pages that rebind their own name.

A page of another site can have its name point to 127.0.0.1 and then ask this server as
if it were its own. The browser still sends the page's name as `Host`.
"""

import ipaddress
from collections.abc import Iterable

import grpc

from tfdlrm.serving.errors import ServingError

MOST_KNOWN = 100
"""Most values of `Host` that are remembered, to check each only once."""


class AllowedHosts:
    """The hosts that HTTP requests may name.

    Addresses, `localhost` and names without a dot, such as a container's, are allowed:
    no site has such a name.

    Args:
        host: Address to listen at. Without `names`, names are checked on a loopback
            address only.
        names: Further names; `*` allows any.
    """

    def __init__(self, host: str, names: Iterable[str]) -> None:
        self._names = {_without_port(name) for name in (host, *names)}
        is_checked = _is_loopback(host) or len(self._names) > 1
        self._is_any = "*" in self._names or not is_checked
        self._known: set[bytes] = set()

    def check(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Refuse a request for another site's name.

        Raises:
            ServingError: PERMISSION_DENIED.
        """
        if self._is_any:
            return
        for name, value in headers:
            if name != b"host" or value in self._known:
                continue
            if not self._allows(value.decode("latin-1")):
                raise ServingError(
                    grpc.StatusCode.PERMISSION_DENIED,
                    f"Host is {value.decode('latin-1')[:200]!r}, expected an address, "
                    "localhost or one of --allowed_hosts",
                )
            if len(self._known) < MOST_KNOWN:
                self._known.add(value)

    def _allows(self, host: str) -> bool:
        name = _without_port(host)
        return (
            "." not in name.removesuffix(".localhost")
            or name in self._names
            or _is_address(name)
        )


def _without_port(host: str) -> str:
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    if host.count(":") > 1:  # an IPv6 address as --host has it
        return host
    return host.partition(":")[0].rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (
        _is_address(host) and ipaddress.ip_address(host).is_loopback
    )
