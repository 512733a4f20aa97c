"""All code that reads an input names it where it cannot be read."""

import errno
import gzip
import os
from pathlib import Path

import pytest

from pipelines.engines.spark_parts import Part
from pipelines.logs.checksums import FileChecksum, identity
from pipelines.prepare import prepare
from tests.support.raw_rows import make_rows, write_rows
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig

UNREADABLE = Path("/proc/self/mem")
"""A file that can be opened, but whose beginning cannot be read."""

pytestmark = pytest.mark.skipif(not UNREADABLE.exists(), reason="this is not Linux")


def test_a_file_that_breaks_off_is_named_by_whoever_reads_it():
    with (
        pytest.raises(InputError, match=r"^/proc/self/mem cannot be read: Input/out"),
        FileChecksum(UNREADABLE) as checksum,
    ):
        checksum.up_to(10)
    with pytest.raises(InputError, match=r"^/proc/self/mem cannot be read: Input/out"):
        Part(0, UNREADABLE, range(1), 10).checksum()


def test_a_file_that_is_gone_is_named(tmp_path):
    with pytest.raises(InputError, match=r"day_0 cannot be read: No such file"):
        identity(tmp_path / "day_0")


def test_trouble_in_reading_is_not_told_as_trouble_in_writing(tmp_path, monkeypatch):
    raw = write_rows(tmp_path / "day_0.gz", make_rows(200, seed=0))

    def refuse(*_args):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(gzip.GzipFile, "read", refuse)
    with pytest.raises(InputError, match=r"day_0.gz cannot be read: Input/output err"):
        prepare([raw], tmp_path / "data", PrepareConfig())
