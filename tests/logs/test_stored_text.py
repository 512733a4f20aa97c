"""Compressed files, and files that are no text in UTF-8."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import polars as pl
import pyarrow as pa
import pytest

from pipelines.logs.columns import Columns
from pipelines.logs.criteo_file import RawFile
from pipelines.logs.opening import open_log
from tests.support.log_files import read, write
from tests.support.raw_rows import make_rows
from tfdlrm.base.errors import InputError

ROWS = [b"%d,a%d" % (i % 2, i % 3) for i in range(5000)]
TEXT = b"\n".join([b"y,c", *ROWS, b""])
COLUMNS = Columns("y", (), ("c",))
CRITEO = b"\n".join([*make_rows(300), b""])


def zstd(text):
    return pa.compress(text, "zstd", asbytes=True)


PACKED = {
    "gzip": gzip.compress,
    "several gzip members": lambda text: b"".join(
        gzip.compress(text[start : start + 1000]) for start in range(0, len(text), 1000)
    ),
    "zstd": zstd,
    "several zstd frames": lambda text: zstd(text[:999]) + zstd(b"") + zstd(text[999:]),
    "a skippable zstd frame": lambda text: (
        b"\x5a\x2a\x4d\x18\x03\x00\x00\x00abc" + zstd(text)
    ),
}


@pytest.mark.parametrize("how", PACKED)
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_packed_text_is_known_by_its_first_bytes(tmp_path, how, bom):
    path = write(tmp_path / "log", PACKED[how](bom + TEXT))
    log = open_log(path, COLUMNS)
    assert read(log)["c"] == [f"a{i % 3}" for i in range(5000)]
    assert log.bytes_read == log.num_bytes
    path.write_bytes(PACKED[how](bom + CRITEO))
    plain = write(tmp_path / "plain", CRITEO)
    frames = [pl.concat(RawFile(file, chunk_bytes=9999)) for file in (path, plain)]
    assert frames[0].equals(frames[1])


@pytest.mark.parametrize("chunk_bytes", [250, 1000, 10**6])
def test_parts_of_a_criteo_file_with_a_byte_order_mark_are_its_chunks(
    tmp_path, chunk_bytes
):
    path = write(tmp_path / "log", b"\xef\xbb\xbf" + CRITEO)
    file = RawFile(path, chunk_bytes=chunk_bytes)
    all_rows = pl.concat(file)
    assert all_rows.height == 300
    chunks = range(file.num_chunks)
    parts = [frame for chunk in chunks for frame in file.part(range(chunk, chunk + 1))]
    assert pl.concat(parts).equals(all_rows)


def archive(text):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.csv", text)
    return buffer.getvalue()


def tar(text):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        member = tarfile.TarInfo("a.csv")
        member.size = len(text)
        file.addfile(member, io.BytesIO(text))
    return buffer.getvalue()


def parquet(text):
    buffer = io.BytesIO()
    pl.DataFrame({"y": [1], "c": ["a"]}).write_parquet(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("pack", "message"),
    [
        (bz2.compress, "compressed by bzip2, expected plain text, gzip or zstd"),
        (lzma.compress, "compressed by xz"),
        (lambda text: lzma.compress(text, lzma.FORMAT_ALONE), "compressed by lzma"),
        (archive, "compressed by zip"),
        (lambda text: pa.compress(text, "lz4", asbytes=True), "compressed by lz4"),
        (lambda text: b"\x1f\x9d\x90" + text, r"compressed by compress \(.Z\)"),
        (lambda text: b"\xff\x06\0\0sNaPpY" + text, "compressed by snappy"),
        (tar, "a tar archive"),
        (lambda text: gzip.compress(tar(text)), "a tar archive"),
        (lambda text: gzip.compress(gzip.compress(text)), "compressed twice"),
        (lambda text: zstd(bz2.compress(text)), "compressed by bzip2"),
        (parquet, "a Parquet file"),
        (lambda text: text.decode().encode("utf-16"), "UTF-16.*iconv -f UTF-16"),
        (lambda text: text.decode().encode("utf-16-le"), "UTF-16"),
        (lambda text: text.decode().encode("utf-16-be"), "UTF-16"),
        (lambda text: text.decode().encode("utf-32"), "UTF-32"),
    ],
)
def test_other_bytes_are_named(tmp_path, pack, message):
    path = write(tmp_path / "log", pack(TEXT))
    with pytest.raises(InputError, match=rf"log is (text in )?{message}"):
        open_log(path, COLUMNS)
    with pytest.raises(InputError, match=rf"log is (text in )?{message}"):
        RawFile(path)


@pytest.mark.parametrize("cut", [1, 9, 40])
@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_packed_text_that_is_cut_short_is_refused(tmp_path, how, cut):
    path = write(tmp_path / "log", PACKED[how](TEXT)[:-cut])
    with pytest.raises(InputError, match=f"is a damaged {how} file"):
        read(open_log(path, COLUMNS, "skip"))
    path.write_bytes(PACKED[how](CRITEO)[:-cut])
    with pytest.raises(InputError, match=f"is a damaged {how} file"):
        list(RawFile(path, "skip"))
