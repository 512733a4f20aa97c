"""Preparing into a directory that exists already, and preparing that fails."""

import fcntl
import os
import shutil
from dataclasses import replace

import pytest

from pipelines.engines import local
from pipelines.prepare import prepare
from tests.support.plain_data_sets import CONFIG, ROWS, assert_holds
from tests.support.prepared_runs import files_of
from tests.support.raw_rows import write_rows
from tfdlrm.base import storage
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig


def test_a_second_run_does_nothing(raw, output, capsys, monkeypatch):
    schema = prepare([raw], output, CONFIG)
    capsys.readouterr()
    monkeypatch.setattr(local, "run", None)
    assert prepare([raw], output, CONFIG) == schema
    assert "already prepared" in capsys.readouterr().out


def test_another_input_or_setting_is_refused_by_name(raw, output, tmp_path):
    prepare([raw], output, CONFIG)
    before = files_of(output)
    for files, config, message in [
        ([raw], PrepareConfig(), "min_frequency was 5, is 10"),
        ([raw], PrepareConfig(min_frequency=5, days=3), "days was null, is 3"),
        (
            [raw, write_rows(tmp_path / "b", ROWS)],
            CONFIG,
            "the raw files were train.txt, are train.txt, b",
        ),
    ]:
        with pytest.raises(InputError, match=f"{message}; give another directory"):
            prepare(files, output, config)
    write_rows(raw, [*ROWS[1:], ROWS[0]])
    os.utime(raw, (0, 0))
    with pytest.raises(InputError, match=r"train.txt has other contents now"):
        prepare([raw], output, CONFIG)
    write_rows(raw, ROWS[:-1])
    with pytest.raises(InputError, match=r"train.txt had [\d,]+ bytes, has"):
        prepare([raw], output, CONFIG)
    assert files_of(output) == before


def test_a_touched_or_copied_input_is_still_the_same(raw, output, monkeypatch):
    schema = prepare([raw], output, CONFIG)
    monkeypatch.setattr(local, "run", None)
    os.utime(raw, (0, 0))
    assert prepare([raw], output, CONFIG) == schema
    (raw.parent / "copy").mkdir()
    copy = shutil.copyfile(raw, raw.parent / "copy" / raw.name)
    assert prepare([copy], output, CONFIG) == schema


def test_the_memory_budget_changes_nothing_in_the_data_set(raw, output):
    small = replace(CONFIG, memory_budget="1.5 GiB")
    schema = prepare([raw], output, small)
    assert prepare([raw], output, CONFIG) == schema


def test_a_damaged_data_set_is_not_used_again(raw, output):
    schema = prepare([raw], output, CONFIG)
    shard = output / schema.shards[0].path
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(InputError, match="the data set is damaged"):
        prepare([raw], output, CONFIG)
    shard.unlink()
    with pytest.raises(InputError, match="is missing"):
        prepare([raw], output, CONFIG)


def test_an_output_that_is_something_else_is_refused(raw, output):
    output.mkdir()
    prepare([raw], output, CONFIG)  # an empty directory is taken
    (output / "schema.json").unlink()
    with pytest.raises(InputError, match="is not a data set"):
        prepare([raw], output, CONFIG)
    with pytest.raises(InputError, match="is a file"):
        prepare([raw], raw, CONFIG)


@pytest.mark.slow_variants
@pytest.mark.parametrize("stage", ["split_rows", "write_counted", "write_shard"])
@pytest.mark.parametrize(
    ("failure", "error_class", "message"),
    [
        (OSError(28, "No space left"), InputError, "cannot be written: No space left"),
        (RuntimeError("a defect"), RuntimeError, "a defect"),
    ],
)
def test_a_failure_leaves_nothing(
    raw, output, monkeypatch, stage, failure, error_class, message
):
    def fail(*_args, **_named):
        raise failure

    monkeypatch.setattr(local, stage, fail)
    with pytest.raises(error_class, match=message):
        prepare([raw], output, CONFIG)
    assert [path.name for path in output.parent.iterdir()] == ["train.txt"]


def test_what_another_version_left_is_removed(raw, output):
    stale = output.with_name(".data.partial")
    (stale / "work").mkdir(parents=True)
    (stale / "work" / "000000.arrow").write_bytes(b"half")
    (stale / "train").mkdir()
    prepare([raw], output, CONFIG)
    assert not stale.exists()
    assert_holds(output, ROWS, (858, 929))


def test_two_runs_do_not_build_the_same_data_set_at_once(raw, output):
    building = output.with_name(".data.partial")
    building.mkdir()
    other_process = os.open(building, os.O_RDONLY)
    fcntl.flock(other_process, fcntl.LOCK_EX)
    with pytest.raises(InputError, match="another process"):
        prepare([raw], output, CONFIG)
    os.close(other_process)
    prepare([raw], output, CONFIG)


@pytest.mark.parametrize(
    ("error", "expected"),
    [(OSError(5, "no such bucket"), InputError), (KeyboardInterrupt(), None)],
)
def test_an_upload_that_breaks_off_leaves_nothing(
    raw, output, monkeypatch, error, expected
):
    """A directory of this machine stands for a remote one."""
    monkeypatch.setattr(storage, "is_remote", lambda path: path == output)
    copyfileobj = shutil.copyfileobj

    def break_off(read, written, size):
        copyfileobj(read, written, size)
        if list(output.rglob("part-*")):
            raise error

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", break_off)
        with pytest.raises(expected or type(error)) as raised:
            prepare([raw], output, CONFIG)
    assert not output.exists()
    if expected:
        assert f"{output} cannot be read or written: no such bucket" in str(
            raised.value
        )
    schema = prepare([raw], output, CONFIG)
    assert schema.check_shards(output)


def test_an_interrupt_before_the_upload_promises_nothing(
    raw, output, monkeypatch, capsys
):
    monkeypatch.setattr(storage, "is_remote", lambda path: path == output)

    def stop(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(local, "make_schema", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare([raw], output, CONFIG)
    assert "continues from there" not in capsys.readouterr().err
    assert list(output.parent.iterdir()) == [raw]
