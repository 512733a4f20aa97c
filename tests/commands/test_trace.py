from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from pipelines.trace import (
    TraceCommand,
    TraceProfile,
    profile_trace,
    read_profile,
    read_trace,
    replay,
    write_profile,
    write_replay,
)
from pipelines.twin.features import power_law_ranks
from pipelines.twin.lru_stack import LRUStack, stack_distances
from tests.support.processes import run_command_line
from tfdlrm.base.errors import InputError


def distances_by_hand(trace):
    stack, distances = [], []
    for identity in trace:
        distances.append(len(stack) - stack.index(identity) if identity in stack else 0)
        if identity in stack:
            stack.remove(identity)
        stack.append(identity)
    return distances


def shares(profile, num_distances):
    """Return the cumulative share of every stack distance below `num_distances`."""
    increments = np.zeros(num_distances)
    increments[list(profile.distances)] = np.diff(profile.cumulative, prepend=0)
    return np.cumsum(increments)


@pytest.mark.parametrize("num_ids", [1, 2, 7, 60])
@pytest.mark.parametrize("length", [1, 2, 3, 100, 777])
def test_stack_distances_are_those_of_a_stack(num_ids, length):
    trace = np.random.default_rng(num_ids).integers(0, num_ids, length)
    assert stack_distances(trace).tolist() == distances_by_hand(trace.tolist())


def test_a_stack_in_parts_is_one_list():
    rng = np.random.default_rng(0)
    stack, by_hand = LRUStack(), []
    for identity in range(3_000):
        by_hand.append(stack.push(identity))
    for distance in rng.integers(1, 3_001, 3_000).tolist():
        expected = by_hand.pop(-distance)
        by_hand.append(expected)
        assert stack.access(distance) == expected
    assert len(stack) == 3_000


def test_ids_of_64_bits_stay_apart():
    large = 2**64 - 1
    profile = profile_trace([large, large - 1, large])
    assert profile.unique_accesses == (large, large - 1)
    assert profile.distances == (0, 2)


@pytest.mark.parametrize("exponent", [1.05, 1.5])
def test_a_replay_has_the_stack_distances_of_the_profile(exponent):
    uniform = np.random.default_rng(0).random(60_000)
    profile = profile_trace(power_law_ranks(uniform, 3_000, exponent))
    ids = list(islice(replay(profile, seed=1), 60_000))
    again = profile_trace(ids)
    num_distances = len(profile.unique_accesses) + 1
    gaps = np.abs(shares(profile, num_distances) - shares(again, num_distances))
    # Kolmogorov-Smirnov at 0.1 %: 1.95 sqrt(1 / n).
    assert gaps.max() < 1.95 / np.sqrt(60_000)
    assert set(ids) <= set(profile.unique_accesses)
    assert (
        again.unique_accesses == profile.unique_accesses[: len(again.unique_accesses)]
    )


def test_the_stack_persists_across_lookups():
    profile = profile_trace([1, 2, 3, 1, 2, 3, 3, 2])
    lookups = list(islice(replay(profile, seed=0), 30))
    ids = replay(profile, seed=0)
    in_lookups = [identity for _ in range(10) for identity in islice(ids, 3)]
    assert in_lookups == lookups
    assert set(lookups) == {1, 2, 3}


def test_the_seed_decides_a_replay():
    profile = profile_trace(np.random.default_rng(0).integers(0, 9, 200))
    first, again, other = (list(islice(replay(profile, s), 99)) for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_trace_without_repetition_begins_anew():
    assert list(islice(replay(profile_trace([5, 3, 9]), 0), 7)) == [5, 3, 9, 5, 3, 9, 5]


def test_a_profile_reads_back(tmp_path):
    path = tmp_path / "dist.log"
    profile = profile_trace(np.random.default_rng(0).integers(0, 50, 999))
    write_profile(path, profile)
    assert read_profile(path) == profile
    assert path.read_text().count("\n") == 3


def test_a_profile_as_the_reference_writes_it_is_read(tmp_path):
    path = tmp_path / "dist.log"
    # The sum of its shares in floating point is below 1.
    path.write_text("4, 7, 1\n0, 1, 2\n0.3, 0.6, 0.9999999999999999\n")
    profile = read_profile(path)
    assert profile == TraceProfile((4, 7, 1), (0, 1, 2), (0.3, 0.6, 1.0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1, 2\n0, 1\n", "expected three lines"),
        ("1, x\n0, 1\n0.5, 1.0\n", "literal for int.*x'"),
        ("1, 2\n0, 1\n0.5, 0.7\n", "do not end with 1"),
        ("1, 2\n0, 1\n0.5, 0.4\n", "do not ascend"),
        ("1, 2\n0, 3\n0.5, 1.0\n", "above the number of ids"),
        ("1, 1\n0, 1\n0.5, 1.0\n", "repeated unique accesses"),
        ("1, 2\n1, 2\n0.5, 1.0\n", "begin after 0"),
        ("1, 2\n0\n0.5, 1.0\n", "other distances than probabilities"),
        ("1, -2\n0, 1\n0.5, 1.0\n", "beyond 64 bits"),
        ("", "expected three lines"),
        ("1, 2\n0, 1\nnan, 1.0\n", "do not ascend"),
    ],
)
def test_what_is_no_profile_is_refused_with_its_file(tmp_path, text, message):
    path = tmp_path / "dist.log"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        read_profile(path)
    assert str(path) in str(error.value)


def test_what_is_no_trace_is_refused(tmp_path):
    path = tmp_path / "trace.log"
    path.write_text("0" * 5000 + "7, 0, 00")
    assert read_trace(path).tolist() == [7, 0, 0]
    for text, message in (
        ("1, 2.5", r"'2\.5' as id 2"),
        ("-2", "'-2' as id 1"),
        ("9" * 5000, "'999.*' as id 1"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_trace(path)
    with pytest.raises(InputError, match="empty"):
        profile_trace([])


def test_a_written_replay_is_the_replay(tmp_path):
    path = tmp_path / "replay.log"
    profile = profile_trace(np.random.default_rng(0).integers(0, 9, 200))
    write_replay(path, profile, accesses=70_000, seed=3)
    expected = list(islice(replay(profile, 3), 70_000))
    assert read_trace(path).tolist() == expected


@pytest.mark.parametrize("name", ["accesses", "seed"])
def test_a_setting_of_replays_is_refused_for_profiles(name):
    with pytest.raises(InputError, match=f"{name} is 3, expected none with do profile"):
        TraceCommand("profile", Path("trace.log"), Path("dist.log"), **{name: 3})


def test_the_command_profiles_and_replays(tmp_path):
    (tmp_path / "trace.log").write_text("3, 1, 3, 3, 2, 1\n")
    process = run_command_line(
        "python -m pipelines.trace --do profile --input trace.log "
        "--output_file dist.log && "
        "python -m pipelines.trace --do replay --input dist.log --accesses 50 "
        "--output_file again.log",
        cwd=tmp_path,
    )
    assert process.returncode == 0, process.stderr
    assert set(read_trace(tmp_path / "again.log").tolist()) == {1, 2, 3}
    failed = run_command_line(
        "python -m pipelines.trace --do replay --input trace.log --output_file x",
        cwd=tmp_path,
    )
    assert failed.returncode == 2
    assert failed.stderr.count("\n") == 1
