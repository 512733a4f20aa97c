"""Fuzz the readers of raw rows: `python FILE criteo|log [libFuzzer's]`.

Whatever the bytes are, a reader returns or counts every line, returns the values that
plain Python reads there, and raises nothing but `InputError`. libFuzzer checks that no
input takes more than `-timeout` seconds.
"""

import csv
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pipelines"]):
    from pipelines.logs.columns import Columns
    from pipelines.logs.criteo_file import RawFile
    from pipelines.logs.text_log import TextLog

from pipelines.logs import criteo
from tfdlrm.base.errors import InputError

CHUNK_BYTES = 900
"""Bytes of a few Criteo lines, so that rows lie across the borders of chunks."""

COLUMNS = Columns(
    label="y",
    dense_features=("n",),
    single_hot=("c",),
    multi_hot=("tags",),
    separators=("|",),
    names=("y", "n", "c", "tags"),
)
FILE = Path(tempfile.mkdtemp()) / "rows"


def criteo_rows(text: bytes) -> None:
    """Check the reader of raw Criteo files."""
    FILE.write_bytes(text)
    try:
        file = RawFile(FILE, "skip", CHUNK_BYTES)
        rows = [row for frame in file for row in frame.iter_rows(named=True)]
    except InputError:
        return
    lines = text.replace(b"\r\n", b"\n").split(b"\n")
    if not lines[-1]:
        lines.pop()
    assert len(rows) + file.skipped.counts.total() == len(lines), "a row is lost"
    names = criteo.column_names(file.labelled)
    good = [line for line in lines if is_good(line, names)]
    assert len(good) == len(rows), "a good line was skipped or a bad one taken"
    for line, row in zip(good, rows, strict=True):
        for name, field in zip(names, line.split(b"\t"), strict=True):
            base = 16 if name in criteo.CATEGORICAL_FEATURES else 10
            assert row[name] == (int(field, base) if field else None), name


def is_good(line: bytes, names: tuple[str, ...]) -> bool:
    """Return whether a line is well formed, field after field."""
    fields = line.split(b"\t")
    return len(fields) == len(names) and all(map(is_good_field, names, fields))


def is_good_field(name: str, field: bytes) -> bool:
    """Return whether a field may stand in this column."""
    if name == criteo.LABEL:
        return field in (b"0", b"1")
    if not field:
        return True
    if name in criteo.DENSE_FEATURES:
        digits = field.removeprefix(b"-")
        return digits.isdigit() and -(2**63) <= int(field) < 2**63
    is_hex = set(field) <= set(b"0123456789abcdefABCDEF")
    return is_hex and int(field, 16) < 2**32


def log_rows(text: bytes) -> None:
    """Check the reader of CSV logs."""
    FILE.write_bytes(text)
    try:
        file = TextLog(FILE, COLUMNS, "skip", chunk_bytes=CHUNK_BYTES)
        num_rows = sum(frame.height for frame in file)
    except InputError:
        return
    # Readers may differ on quotes and lone carriage returns.
    if not set(text) & set(b'"\r'):
        lines = text.removeprefix(b"\xef\xbb\xbf").decode("latin-1").split("\n")
        expected = sum(1 for _ in csv.reader(line for line in lines if line))
        assert num_rows + file.skipped.counts.total() == expected, "a row is lost"


if __name__ == "__main__":
    target = {"criteo": criteo_rows, "log": log_rows}[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
