"""Standard error around the first use of XLA."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT
from tfdlrm.base.quiet_start import without_greeting

GREETING = (
    "WARNING: All log messages before absl::InitializeLog() is called are written\n"
    "I0000 00:00:1.2 3 service.cc:146] XLA service 0x1 initialized for platform Host\n"
)
DEATH = "LLVM ERROR: PTX version 8.5 does not support target 'sm_120'\n"


def test_the_greeting_is_left_out_and_warnings_are_kept(capfd):
    with without_greeting():
        os.write(2, GREETING.encode())
        os.write(2, b"W0000 00:00:1.2 3 ptx.cc:4] ptxas is old\nno line end")
    os.write(2, b", I0000 as before")
    errors = capfd.readouterr().err
    assert errors == (
        "W0000 00:00:1.2 3 ptx.cc:4] ptxas is old\nno line end, I0000 as before"
    )


def test_standard_error_is_as_before_after_an_error(capfd):
    with pytest.raises(ZeroDivisionError), without_greeting():
        os.write(2, b"E0000 libdevice is missing\n")
        raise ZeroDivisionError
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "E0000 libdevice is missing\nafterwards\n"


def test_no_file_descriptor_is_left_open():
    descriptors = Path("/proc/self/fd")
    num_open = len(list(descriptors.iterdir()))
    for _ in range(3):
        with without_greeting():
            pass
    assert len(list(descriptors.iterdir())) == num_open


def test_a_reader_that_cannot_be_started_hides_nothing(capfd, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with without_greeting():
        os.write(2, GREETING.encode())
    assert capfd.readouterr().err == GREETING


def test_a_process_that_dies_leaves_its_message():
    program = (
        "import os\nfrom tfdlrm.base.quiet_start import without_greeting\n"
        f"with without_greeting():\n    os.write(2, {(GREETING + DEATH).encode()!r})\n"
        "    os.abort()\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == -6
    assert process.stderr == DEATH
