"""Inputs that are pipes."""

import os
from pathlib import Path

import pytest

from pipelines.logs.columns_file import load_columns
from pipelines.prepare import prepare
from pipelines.trace import read_trace
from tfdlrm.base.command_line import parse
from tfdlrm.base.errors import InputError
from tfdlrm.base.piped_input import as_file, is_piped
from tfdlrm.config import PrepareConfig, TrainConfig


@pytest.fixture
def pipe():
    """Function from bytes to the path of a pipe that holds them."""
    opened = []

    def path_of(content: bytes) -> Path:
        reader, writer = os.pipe()
        opened.append(reader)
        os.write(writer, content)
        os.close(writer)
        return Path(f"/dev/fd/{reader}")

    yield path_of
    for reader in opened:
        os.close(reader)


def test_a_pipe_is_read_as_a_file(pipe):
    with as_file("input", pipe(b"3, 1, 3\n")) as path:
        for _ in range(2):
            assert read_trace(path).tolist() == [3, 1, 3]
    assert not path.exists()


def test_other_paths_stay_themselves(tmp_path):
    for path in (tmp_path, tmp_path / "nothing"):
        assert not is_piped(path)
        with as_file("input", path) as file_path:
            assert file_path is path


def test_what_is_wrong_is_told_of_the_pipe(pipe):
    pipe_path = pipe(b"3, x\n")
    with pytest.raises(InputError) as error_info, as_file("input", pipe_path) as path:
        read_trace(path)
    assert str(error_info.value).startswith(f"{pipe_path} has 'x' as id 2")


def test_standard_input_is_a_dash(pipe, monkeypatch):
    pipe_descriptor = os.open(pipe(b"1 2\n"), os.O_RDONLY)
    standard_input = os.dup(0)
    os.dup2(pipe_descriptor, 0)
    try:
        with as_file("input", Path("-")) as path:
            assert read_trace(path).tolist() == [1, 2]
    finally:
        os.dup2(standard_input, 0)
        os.close(pipe_descriptor)
        os.close(standard_input)


@pytest.mark.parametrize("name", ["raw", "columns", "config"])
def test_what_is_read_again_cannot_be_a_pipe(pipe, tmp_path, name):
    path = pipe(b"epochs: 3\n")
    with pytest.raises(InputError) as error_info:
        if name == "raw":
            prepare([path], tmp_path / "data", PrepareConfig())
        elif name == "columns":
            load_columns(path)
        else:
            parse(TrainConfig, "tfdlrm.train", ["--config", str(path)])
    assert str(error_info.value).startswith(f"{name} {path} is a pipe or device")
    assert "write it to a file first" in str(error_info.value)
