"""The workers of a training on several machines, as `TF_CONFIG` names them."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from tfdlrm.base.errors import InputError

VARIABLE = "TF_CONFIG"


@dataclass(frozen=True)
class Cluster:
    """The workers of a training, and the index of this process.

    Args:
        workers: Addresses `host:port`; the first is the chief.
        index: Index of this worker.
    """

    workers: tuple[str, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        """Whether this is the worker that writes the run's files."""
        return self.index == 0

    @property
    def on_this_machine(self) -> tuple[int, ...]:
        """Indices of the workers on this worker's host, its own included."""
        host = _host(self.workers[self.index])
        return tuple(
            index
            for index, address in enumerate(self.workers)
            if _host(address) == host
        )

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
            tasks = {name: list(cluster[name]) for name in cluster}
            task_type, index = task["type"], int(task["index"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(
                f"{VARIABLE} is {text!r}, expected JSON such as {_EXAMPLE}"
            ) from None
        if unknown := set(tasks) - {"chief", "worker"}:
            raise InputError(
                f"{VARIABLE} has the tasks {', '.join(sorted(unknown))}, expected "
                "worker, and chief where there is one, only"
            )
        chiefs = tasks.get("chief", [])
        workers = [*chiefs, *tasks.get("worker", [])]
        if task_type not in tasks or not 0 <= index < len(tasks[task_type]):
            raise InputError(
                f"{VARIABLE} says that this is {task_type} {index}, but its cluster "
                "has no such task"
            )
        if task_type == "worker":
            index += len(chiefs)
        return cls(tuple(workers), index)


def _host(address: object) -> str:
    host = str(address).rpartition(":")[0].strip("[]").lower()
    is_loopback = host in ("localhost", "::1") or host.startswith("127.")
    return "localhost" if is_loopback else host


_EXAMPLE = (
    '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, '
    '"task": {"type": "worker", "index": 0}}'
)
