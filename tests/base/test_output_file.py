"""Where outputs go: files, links, devices, pipes and standard output."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipelines import random_data, synthetic, trace
from pipelines.trace import TraceCommand
from tests.support.processes import ROOT, run_command_line
from tfdlrm.base import storage
from tfdlrm.base.errors import InputError
from tfdlrm.base.output_file import check_output, is_stream, messages_apart, output_file
from tfdlrm.client import ClientCommand
from tfdlrm.evaluate import EvaluateCommand, evaluate_model
from tfdlrm.predict import PredictCommand

PROFILE = "3, 1\n0, 2\n0.6666666666666666, 1.0\n"  # of the trace 3, 1, 3


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "trace.log"
    path.write_text("3, 1, 3\n")
    return path


def profile(monkeypatch, source, output):
    paths = ["--input", str(source), "--output_file", str(output)]
    argv = ["trace", "--do", "profile", *paths]
    monkeypatch.setattr(sys, "argv", argv)
    trace.main()


def write_output(output, text=b"new"):
    with output_file("output", output) as file:
        file.write(text)


@pytest.mark.parametrize("link", [None, os.symlink, os.link])
def test_an_output_that_is_the_input_is_refused(log, tmp_path, link):
    output = log
    if link:
        output = tmp_path / "other"
        link(log, output)
    for make_command in (
        lambda: TraceCommand("profile", log, output),
        lambda: TraceCommand("profile", output, log),
        lambda: PredictCommand(tmp_path, log, output),
        lambda: ClientCommand(log, output),
        lambda: ClientCommand(output, log),
    ):
        with pytest.raises(
            InputError, match=r"would replace (raw|input) .*give another one"
        ):
            make_command()
    assert log.read_text() == "3, 1, 3\n"


@pytest.mark.parametrize(
    "part", ["1/saved_model.pb", "1/assets/C1.txt", "1/variables/variables.index"]
)
def test_no_output_replaces_a_part_of_the_model(log, tmp_path, part):
    path = tmp_path / "model" / part
    path.parent.mkdir(parents=True)
    path.write_bytes(b"model")
    (tmp_path / "link").symlink_to(tmp_path / "model")
    for output in (path, tmp_path / "link" / part):
        with pytest.raises(InputError, match="would replace model"):
            PredictCommand(tmp_path / "model", log, output)
    PredictCommand(tmp_path / "model", log, tmp_path / "model" / "scores.csv")


def test_no_output_replaces_a_part_of_a_folder_of_logs(tmp_path):
    part = tmp_path / "logs" / "day=1" / "part-0.csv"
    part.parent.mkdir(parents=True)
    part.touch()
    with pytest.raises(InputError, match="would replace raw"):
        PredictCommand(tmp_path / "model", tmp_path / "logs", part)


def test_measures_do_not_replace_the_schema(data_dir, tmp_path):
    contents = (data_dir / "schema.json").read_bytes()
    with pytest.raises(InputError, match=r"output_file .* would replace data_dir"):
        evaluate_model(
            EvaluateCommand(tmp_path, data_dir, output_file=data_dir / "schema.json")
        )
    assert (data_dir / "schema.json").read_bytes() == contents


def test_a_link_stays_and_its_file_is_replaced_whole(tmp_path):
    target, link = tmp_path / "real", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to("chain")
    (tmp_path / "chain").symlink_to("real")
    with pytest.raises(RuntimeError), output_file("output", link) as file:
        file.write(b"half")
        raise RuntimeError
    assert target.read_bytes() == b"old"
    write_output(link)
    assert link.is_symlink() and target.read_bytes() == b"new"
    storage.replace_text(link, "newer")
    assert link.is_symlink() and target.read_bytes() == b"newer"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chain", "link", "real"]


def test_a_link_to_nothing_yet_leads_to_the_new_file(tmp_path):
    (tmp_path / "link").symlink_to("folder/new")
    write_output(tmp_path / "link")
    assert (tmp_path / "folder" / "new").read_bytes() == b"new"


def test_a_circle_of_links_is_refused(tmp_path):
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(InputError, match="cannot be written: Too many levels"):
        write_output(tmp_path / "link")


def read_pipe(path):
    """Return the reader of a pipe, and the list of what it has read at its end."""
    outputs = []
    thread = threading.Thread(target=lambda: outputs.append(path.read_bytes()))
    thread.start()
    return thread, outputs


def test_a_pipe_is_written_to(log, tmp_path, monkeypatch):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(pipe)
    for output in (pipe, tmp_path / "link"):
        thread, outputs = read_pipe(pipe)
        profile(monkeypatch, log, output)
        thread.join()
        assert outputs == [PROFILE.encode()]
        assert stat.S_ISFIFO(pipe.stat().st_mode) and not pipe.is_symlink()


def test_a_file_of_settings_is_written_through_too(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    thread, outputs = read_pipe(tmp_path / "pipe")
    storage.replace_json(tmp_path / "pipe", {"a": 1})
    thread.join()
    assert outputs == [b'{\n  "a": 1\n}\n']


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes devices")
def test_a_device_stays_one(log, tmp_path, monkeypatch):
    null = tmp_path / "null"
    os.mknod(null, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    names_before = sorted(tmp_path.iterdir())
    profile(monkeypatch, log, null)
    synthetic.write_raw(null, num_rows=10, seed=0)
    random_data.write_random(null, random_data.RandomData(10, (5,)))
    assert stat.S_ISCHR(null.stat().st_mode)
    assert sorted(tmp_path.iterdir()) == names_before  # nothing next to it
    block = tmp_path / "disk"
    os.mknod(block, 0o666 | stat.S_IFBLK, os.makedev(7, 200))
    with pytest.raises(InputError, match="is a block device"):
        write_output(block)


def test_synthetic_rows_are_the_same_in_a_pipe(tmp_path):
    synthetic.write_raw(tmp_path / "rows.tsv", num_rows=100, seed=3)
    os.mkfifo(tmp_path / "pipe")
    thread, outputs = read_pipe(tmp_path / "pipe")
    synthetic.write_raw(tmp_path / "pipe", num_rows=100, seed=3)
    thread.join()
    assert outputs == [(tmp_path / "rows.tsv").read_bytes()]
    assert not (tmp_path / "pipe.truth.npy").exists()


@pytest.mark.parametrize("output", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_takes_the_file_and_nothing_else(
    log, monkeypatch, capfd, output
):
    profile(monkeypatch, log, output)
    messages = capfd.readouterr()
    assert messages.out == PROFILE
    assert messages.err.startswith(f"{output}: 2 ids")


def test_messages_of_other_outputs_stay_on_standard_output(log, tmp_path, capsys):
    with messages_apart(tmp_path / "file"), messages_apart(None):
        print("done")
    assert capsys.readouterr().out == "done\n"


def test_an_open_descriptor_keeps_what_it_holds(tmp_path):
    with (tmp_path / "file").open("ab", buffering=0) as file:
        file.write(b"before ")
        write_output(Path(f"/dev/fd/{file.fileno()}"))
    assert (tmp_path / "file").read_bytes() == b"before new"


def test_what_cannot_be_written_is_told(tmp_path):
    for output, message in (
        (tmp_path, "is a directory"),
        (storage.at("s3://bucket/file"), "expected a path on this machine"),
        (Path("/dev/full"), "cannot be written: No space left"),
        (Path("/dev/fd/987"), "cannot be written: Bad file descriptor"),
        (tmp_path / "file" / "below", "cannot be written: "),
    ):
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match=message):
            write_output(output)


def test_a_folder_that_is_missing_is_made(tmp_path):
    write_output(tmp_path / "new" / "folder" / "file")
    assert (tmp_path / "new" / "folder" / "file").read_bytes() == b"new"


def test_streams_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert is_stream(tmp_path / "pipe") and is_stream(Path("-"))
    assert not is_stream(tmp_path / "new") and not is_stream(tmp_path)
    check_output("output_file", Path("-"), raw=Path("-"))


def test_a_closed_pipe_ends_quietly():
    process = run_command_line(
        f"bash -c '{sys.executable} -m pipelines.synthetic --rows 60000 "
        "--output_file - | head -1 | wc -l; echo ${PIPESTATUS[0]}'"
    )
    assert process.stdout.split() == ["1", "141"]
    assert process.stderr == ""


def test_messages_that_nobody_reads_stop_no_work(raw_file, tmp_path):
    process = run_command_line(
        f"bash -c '{sys.executable} -m pipelines.prepare --raw {raw_file} "
        f"--output {tmp_path / 'data'} | true; echo ${{PIPESTATUS[0]}}'"
    )
    assert (process.stdout.split(), process.stderr) == (["0"], "")
    assert (tmp_path / "data" / "schema.json").is_file()


def test_the_files_of_tls_are_inputs_too(log, tmp_path):
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text("a certificate")
    with pytest.raises(InputError, match="would replace ca_file"):
        ClientCommand(log, ca_file, ca_file=ca_file)


def test_a_full_disk_behind_standard_output_is_told_in_a_line(log):
    process = subprocess.run(
        f"{sys.executable} -m pipelines.trace --do profile --input {log} "
        f"--output_file {log}.out > /dev/full",
        shell=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 2
    assert (
        process.stderr.startswith("error: ") and len(process.stderr.splitlines()) == 1
    )
