"""Traces of ids like a recorded one: `python -m pipelines.trace`.

The profile of a trace holds the statistics that caches depend on: the ids in the order
of their first access, and the frequency of each *stack distance*, which is the number
of different ids since the last access to the same id, that id included; a first access
has distance 0. A replay draws distances and takes the ids from an LRU stack, for any
number of accesses with the same locality.

This is the `synthetic` mode of the reference implementation (facebookresearch/dlrm,
dlrm_data_pytorch.py), whose files are read and written. These things are fixed here:

- Its stack and its count of first accesses start again with every lookup, so that every
  lookup of one id returns the trace's first id. Here they last as long as the replay.
- It never draws a distance above the number of ids accessed so far, and draws smaller
  ones more often instead. Here such a distance waits, and none is lost.
- After the last id it still draws first accesses, and uses the least recently used id
  for them, which is an access at the largest distance. Here there are no first accesses
  after the last id. So profiles need no padding, which fails there (a deque and a list
  do not add up).
- Its cumulative probabilities are sums of rounded shares; where they end below 1, a
  draw may find no distance. Here they are sums of counts, and the last one is 1.
- It divides ids as floating-point numbers, which rounds those above 2**53.
- It replaces every letter j of a path by the number of the feature.
- It removes duplicates within a lookup and sorts it, which changes the distances.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np

from pipelines.twin.lru_stack import LRUStack, stack_distances
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.errors import InputError, require
from tfdlrm.base.output_file import check_output, messages_apart, output_file
from tfdlrm.base.piped_input import as_file

_DRAWS = 2**12
_ROUNDING = 1e-6
_IDS_AT_ONCE = 2**16


@dataclass(frozen=True)
class TraceProfile:
    """The statistics of a trace from which it can be replayed.

    Args:
        unique_accesses: The distinct ids, in the order of their first access.
        distances: The stack distances that occur, ascending; 0 is a first access.
        cumulative: Share of accesses at each distance or a smaller one; ends with 1.

    Example:

    >>> profile_trace([7, 8, 8, 7]).distances
    (0, 1, 2)
    """

    unique_accesses: tuple[int, ...]
    distances: tuple[int, ...]
    cumulative: tuple[float, ...]

    def __post_init__(self) -> None:
        ids, distances = self.unique_accesses, np.array(self.distances)
        shares = np.diff(self.cumulative, prepend=0.0)
        for holds, reason in (
            (len(ids) > 0, "no unique access"),
            (len(set(ids)) == len(ids), "repeated unique accesses"),
            (all(0 <= id_ < 2**64 for id_ in ids), "ids beyond 64 bits"),
            (len(distances) == len(shares), "other distances than probabilities"),
            (self.distances[:1] == (0,), "stack distances that begin after 0"),
            (all(np.diff(distances) > 0), "stack distances that do not ascend"),
            (all(distances <= len(ids)), "stack distances above the number of ids"),
            (all(shares > 0), "cumulative probabilities that do not ascend"),
            (abs(shares.sum() - 1) < _ROUNDING, "probabilities that do not end with 1"),
        ):
            if not holds:
                raise InputError(f"a profile has {reason}")


def profile_trace(ids: Sequence[int] | np.ndarray) -> TraceProfile:
    """Profile a trace in O(n log(n)**2) time.

    Args:
        ids: The ids in the order of access, 0 to 2**64 - 1; one or more.

    Raises:
        InputError: If the trace is empty.

    Reference:
        [Mattson et al., 1970](https://doi.org/10.1147/sj.92.0078).
    """
    trace = np.asarray(ids, np.uint64)
    if not trace.size:
        raise InputError("the trace is empty, expected one id or more")
    distances = stack_distances(trace)
    occurring, counts = np.unique(distances, return_counts=True)
    return TraceProfile(
        unique_accesses=tuple(trace[distances == 0].tolist()),
        distances=tuple(occurring.tolist()),
        cumulative=tuple((np.cumsum(counts) / trace.size).tolist()),
    )


def replay(profile: TraceProfile, seed: int) -> Iterator[int]:
    """Yield ids with the stack distances of `profile`, without end.

    A distance above the number of ids accessed so far waits until there are that many,
    so that distances come as often as in the profile from the start. A first access
    yields the next id of the profile. After the last id only the other distances are
    drawn; where there are no others, the ids start again from the first.

    Args:
        profile: The profile.
        seed: Seed of the draw; the same seed yields the same ids.
    """
    rng = np.random.default_rng(seed)
    distances = np.array(profile.distances)
    num_ids = len(profile.unique_accesses)
    stack = LRUStack()
    waiting: list[int] = []
    while True:
        drawn = np.searchsorted(profile.cumulative, rng.random(_DRAWS), "right")
        for distance in distances[np.minimum(drawn, len(distances) - 1)].tolist():
            if not distance and len(stack) == num_ids:
                if len(distances) == 1:
                    yield stack.access(num_ids)
                continue
            heapq.heappush(waiting, distance)
            while waiting and waiting[0] <= len(stack):
                possible = heapq.heappop(waiting)
                if possible:
                    yield stack.access(possible)
                else:
                    yield stack.push(profile.unique_accesses[len(stack)])


def read_profile(path: Path) -> TraceProfile:
    """Read a profile in the reference implementation's three lines.

    These are the unique accesses, the stack distances and the cumulative
    probabilities, each separated by commas.

    Raises:
        InputError: If the file cannot be read or is not a profile.
    """
    lines = _read_text(path).splitlines()
    try:
        accesses, distances, cumulative = (line.split(",") for line in lines)
        numbers = [float(share) for share in cumulative]
        # Sums of rounded shares, as the reference writes them, may end near 1.
        numbers[-1] = 1.0 if abs(numbers[-1] - 1) < _ROUNDING else numbers[-1]
        return TraceProfile(
            tuple(map(int, accesses)), tuple(map(int, distances)), tuple(numbers)
        )
    except ValueError as error:
        raise InputError(
            f"{path} is not the profile of a trace ({error}): expected three lines of "
            "numbers separated by commas: unique accesses, stack distances and "
            "cumulative probabilities"
        ) from None


def write_profile(path: Path, profile: TraceProfile) -> None:
    """Write a profile in the reference implementation's three lines."""
    parts = (profile.unique_accesses, profile.distances, profile.cumulative)
    _write_text(path, (", ".join(map(str, part)) + "\n" for part in parts))


def read_trace(path: Path) -> np.ndarray:
    """Read the ids of a trace, separated by commas, spaces or line ends.

    Raises:
        InputError: If the file cannot be read, or something in it is no id.
    """
    fields = _read_text(path).replace(",", " ").split()
    for number, field in enumerate(fields, start=1):
        # Python refuses to read thousands of digits, even if they are zeros.
        digits = field.lstrip("0") or "0"
        if not field.isdecimal() or len(digits) > 20 or int(digits) >= 2**64:
            raise InputError(
                f"{path} has {field[:40]!r} as id {number}, expected integers from 0 "
                "to 2**64 - 1, separated by commas"
            )
    return np.array([int(field.lstrip("0") or "0") for field in fields], np.uint64)


def write_replay(path: Path, profile: TraceProfile, accesses: int, seed: int) -> None:
    """Write a replay of `accesses` ids, separated by commas, on one line."""
    ids = islice(replay(profile, seed), accesses)

    def pieces() -> Iterator[str]:
        between = ""
        while piece := ", ".join(map(str, islice(ids, _IDS_AT_ONCE))):
            yield between + piece
            between = ", "
        yield "\n"

    _write_text(path, pieces())


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{path} cannot be read: {reason}; expected a text file of numbers"
        ) from None


def _write_text(path: Path, pieces: Iterator[str]) -> None:
    with output_file("output_file", path) as file:
        file.writelines(piece.encode() for piece in pieces)


@dataclass(frozen=True)
class TraceCommand:
    """Profile a trace of ids, or replay a profile as a trace of any length.

    Args:
        do: `profile` reads a trace and writes its profile, `replay` the other way.
        input: The file to read.
        output_file: The file to write.
        accesses: Number of ids in the replay.
        seed: Seed of the replay.
    """

    do: Literal["profile", "replay"]
    input: Path
    output_file: Path
    accesses: int = 1_000_000
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.accesses >= 1, "accesses", self.accesses, ">= 1")
        require(self.seed >= 0, "seed", self.seed, ">= 0")
        for name in ("accesses", "seed"):
            value, default = getattr(self, name), getattr(TraceCommand, name)
            is_used = self.do == "replay" or value == default
            require(is_used, name, value, "none with do profile: it is of a replay")
        check_output("output_file", self.output_file, input=self.input)


def main() -> None:
    """Profile or replay as the command line says."""
    command = parse(TraceCommand, "pipelines.trace", renamed={"output": "output_file"})
    with messages_apart(command.output_file), as_file("input", command.input) as path:
        if command.do == "profile":
            profile = profile_trace(read_trace(path))
            write_profile(command.output_file, profile)
        else:
            profile = read_profile(path)
            write_replay(command.output_file, profile, command.accesses, command.seed)
        print(
            f"{command.output_file}: {len(profile.unique_accesses):,} ids, stack "
            f"distances up to {profile.distances[-1]:,}, "
            f"{profile.cumulative[0]:.2%} first accesses"
        )


if __name__ == "__main__":
    run_command(main)
