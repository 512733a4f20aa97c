"""The readers of raw rows under libFuzzer, by atheris."""

import os
import subprocess
import sys

import pytest

from tests.support.processes import ROOT
from tests.support.raw_rows import make_rows, replace_field

pytest.importorskip("atheris", reason="atheris is not installed")

ROWS = make_rows(5)
SEEDS = {
    "criteo": [
        b"\n".join([*ROWS, b""]),
        b"\r\n".join(ROWS[:3]),
        b"\n".join([ROWS[0], b"", replace_field(ROWS[1], 2, b"-9223372036854775809")]),
        b"\n".join(row.partition(b"\t")[2] for row in ROWS),
        b"\n".join([ROWS[0].upper(), replace_field(ROWS[1], 40, b"0" * 12 + b"ff")]),
    ],
    "log": [
        b"1,2.5,a,x|y\n0,,b,\n",
        b'1,-3,"a,b","x|""y"\n0,1e9,"two\nlines",z\n',
        b"2,x,\xff,|\n1,2\n\n0,1,2,3,4\n",
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("reader", SEEDS)
def test_no_input_crashes_hangs_or_loses_a_row(tmp_path, reader):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(SEEDS[reader]):
        (corpus / str(number)).write_bytes(seed)
    process = subprocess.run(
        [
            *(
                sys.executable,
                str(ROOT / "tests" / "support" / "fuzz_rows.py"),
                reader,
                str(corpus),
            ),
            *("-max_total_time=20", "-timeout=20", "-max_len=2000", "-seed=1"),
            # On Linux this process inherits the peak memory of the tests' own.
            *("-rss_limit_mb=0", "-malloc_limit_mb=2048"),
            f"-artifact_prefix={tmp_path}/",
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.returncode == 0, process.stderr[-3000:]
    assert "Done " in process.stderr
