"""The workers of a training on several machines, as `TF_CONFIG` names them."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from tfdlrm.base.errors import InputError

VARIABLE = "TF_CONFIG"


@dataclass(frozen=True)
class Cluster:
    """The workers, and which of them this process is.

    Args:
        workers: Their addresses, `host:port`; the first is the chief.
        index: This one's place.
    """

    workers: tuple[str, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        """Whether this is the worker that writes the run's files."""
        return self.index == 0

    @property
    def on_this_machine(self) -> tuple[int, ...]:
        """The workers, this one among them, whose addresses have its host."""
        host = _host(self.workers[self.index])
        return tuple(i for i, each in enumerate(self.workers) if _host(each) == host)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Cluster":
        """Read TensorFlow's own variable, `TF_CONFIG`.

        Raises:
            InputError: If it is not set, or is not what TensorFlow expects.

        Example:

        >>> Cluster.from_environment({"TF_CONFIG": '''{
        ...     "cluster": {"worker": ["a:2222", "b:2222"]},
        ...     "task": {"type": "worker", "index": 1}
        ... }'''})
        Cluster(workers=('a:2222', 'b:2222'), index=1)
        """
        text = environment.get(VARIABLE)
        if not text:
            raise InputError(
                f"strategy is multi_worker, but {VARIABLE} is not set: expected JSON "
                f"such as {_EXAMPLE} in each worker's environment"
            )
        try:
            value = json.loads(text)
            cluster, task = value["cluster"], value["task"]
            kinds = {kind: list(cluster[kind]) for kind in cluster}
            kind, index = task["type"], int(task["index"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(
                f"{VARIABLE} is {text!r}, expected JSON such as {_EXAMPLE}"
            ) from None
        if unknown := set(kinds) - {"chief", "worker"}:
            raise InputError(
                f"{VARIABLE} has the tasks {', '.join(sorted(unknown))}, expected "
                "worker, and chief where there is one, only"
            )
        chiefs = kinds.get("chief", [])
        workers = [*chiefs, *kinds.get("worker", [])]
        if kind not in kinds or not 0 <= index < len(kinds[kind]):
            raise InputError(
                f"{VARIABLE} says that this is {kind} {index}, but its cluster has no "
                "such task"
            )
        place = index + (len(chiefs) if kind == "worker" else 0)
        return cls(tuple(workers), place)


def _host(address: object) -> str:
    host = str(address).rpartition(":")[0].strip("[]").lower()
    is_loopback = host in ("localhost", "::1") or host.startswith("127.")
    return "localhost" if is_loopback else host


_EXAMPLE = (
    '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, '
    '"task": {"type": "worker", "index": 0}}'
)
