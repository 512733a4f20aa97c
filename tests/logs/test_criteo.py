import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipelines.logs import criteo
from pipelines.logs.criteo_file import RawFile
from tests.support.raw_rows import make_rows, read_plainly, replace_field, write_rows
from tfdlrm.base.errors import InputError

ROWS = make_rows(300)
HEX_DIGITS = b"0123456789abcdefABCDEF"
SMALL = 2000  # bytes: a few rows, so that files have many chunks

MALFORMED = {
    "too few columns": (b"\t".join(ROWS[0].split(b"\t")[:-1]), "has 39 columns"),
    "too many columns": (ROWS[0] + b"\t", "has 41 columns"),
    "commas": (ROWS[0].replace(b"\t", b","), "has 1 column, expected 40"),
    "blank line": (b"", "is blank, expected 40"),
    "label 2": (replace_field(ROWS[0], 1, b"2"), "column 1 (label) is '2'"),
    "label 01": (replace_field(ROWS[0], 1, b"01"), "column 1 (label) is '01'"),
    "empty label": (replace_field(ROWS[0], 1, b""), "column 1 (label) is empty"),
    "text": (replace_field(ROWS[0], 5, b"many"), "column 5 (I4) is 'many'"),
    "hexadecimal count": (replace_field(ROWS[0], 5, b"ab"), "column 5 (I4) is 'ab'"),
    "minus alone": (replace_field(ROWS[0], 2, b"-"), "column 2 (I1) is '-'"),
    "real": (replace_field(ROWS[0], 14, b"1.5"), "column 14 (I13) is '1.5'"),
    "above int64": (
        replace_field(ROWS[0], 3, b"9223372036854775808"),
        "column 3 (I2) is '9223372036854775808', expected a 64-bit integer",
    ),
    "not hexadecimal": (replace_field(ROWS[0], 15, b"xyz"), "column 15 (C1) is 'xyz'"),
    "33 bits": (replace_field(ROWS[0], 40, b"100000000"), "column 40 (C26) is '1"),
    "negative hash": (replace_field(ROWS[0], 16, b"-1"), "column 16 (C2) is '-1'"),
    "not UTF-8": (replace_field(ROWS[0], 17, b"\xff"), r"(C3) is '\xff' (not UTF-8)"),
    "NUL": (replace_field(ROWS[0], 6, b"\0"), r"column 6 (I5) is '\x00'"),
    "long": (replace_field(ROWS[0], 6, b"x" * 99), f"(I5) is '{'x' * 36}..., exp"),
    "stray CR": (ROWS[0].replace(b"\t", b"\r\t", 1), r"column 1 (label) is '1\r'"),
}


def read(path: Path, **options) -> pl.DataFrame:
    return pl.concat(list(RawFile(path, **options)))


def assert_reads_as(frame: pl.DataFrame, rows: list[bytes]) -> None:
    labels, dense, categories = read_plainly(rows)
    features = criteo.features(frame)
    np.testing.assert_array_equal(frame["label"].to_numpy(), labels)
    np.testing.assert_allclose(
        features.select(criteo.DENSE_FEATURES).to_numpy(), dense, rtol=1e-6
    )
    ids = features.select(criteo.CATEGORICAL_FEATURES).rows()
    assert ids == [tuple(row) for row in categories]


def test_every_field_is_read(tmp_path):
    path = write_rows(tmp_path / "train.txt", ROWS)
    frame = read(path)
    assert_reads_as(frame, ROWS)
    assert dict(frame.schema) == {
        "label": pl.UInt8,
        **dict.fromkeys(criteo.DENSE_FEATURES, pl.Int64),
        **dict.fromkeys(criteo.CATEGORICAL_FEATURES, pl.UInt32),
    }


@pytest.mark.slow_variants
@pytest.mark.parametrize("name", ["train.txt", "train.txt.gz"])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("cut", [0, 1])
def test_line_ends_and_chunks_do_not_matter(tmp_path, name, line_end, cut):
    path = write_rows(tmp_path / name, ROWS, line_end)
    if cut and path.suffix != ".gz":
        path.write_bytes(path.read_bytes()[: -len(line_end)])
    for chunk_bytes in (SMALL, SMALL + 7, 10**6):
        assert_reads_as(read(path, chunk_bytes=chunk_bytes), ROWS)


def test_a_gzip_file_may_have_several_members(tmp_path):
    path = tmp_path / "train.txt.gz"
    path.write_bytes(b"".join(gzip.compress(row + b"\n") for row in ROWS))
    assert_reads_as(read(path), ROWS)


def test_a_gzip_file_is_known_by_its_content(tmp_path):
    zipped = write_rows(tmp_path / "train.txt.gz", ROWS)
    assert_reads_as(read(zipped.rename(tmp_path / "train.txt")), ROWS)


def test_all_bytes_of_a_file_are_counted(tmp_path):
    for name in ("train.txt", "train.txt.gz"):
        path = write_rows(tmp_path / name, ROWS)
        file = RawFile(path, chunk_bytes=SMALL)
        assert sum(frame.height for frame in file) == len(ROWS)
        assert file.bytes_read == file.num_bytes == path.stat().st_size


def test_rows_without_label_are_read(tmp_path):
    unlabelled = [row.partition(b"\t")[2] for row in ROWS]
    file = RawFile(write_rows(tmp_path / "test.txt", unlabelled))
    assert not file.labelled
    frame = pl.concat(list(file))
    assert "label" not in frame.columns
    labels = pl.DataFrame({"label": [int(row[:1]) for row in ROWS]})
    assert_reads_as(pl.concat([labels, frame], how="horizontal"), ROWS)


def test_numbers_of_any_length_are_read(tmp_path):
    digits = ("1234567890123456", "9" * 16, "0" * 15 + "7")
    integers = [d[:size] for d in digits for size in range(1, 17)]
    integers += [f"-{integer}" for integer in integers]
    hashes = ["89abcdef", "FFFFFFFF", "00000000", "01234567"]
    hashes = [text[:size] for text in hashes for size in range(1, 9)]
    rows = [replace_field(ROWS[0], 2, integer.encode()) for integer in integers]
    rows += [replace_field(ROWS[0], 15, text.encode()) for text in hashes]
    frame = read(write_rows(tmp_path / "train.txt", rows))
    values = frame["I1"].head(len(integers)).to_list()
    assert values == [int(integer) for integer in integers]
    values = frame["C1"].tail(len(hashes)).to_list()
    assert values == [int(text, 16) for text in hashes]


@pytest.mark.parametrize(("column", "digits"), [(2, b"0123456789"), (15, HEX_DIGITS)])
@pytest.mark.parametrize("position", [0, 2])
def test_only_digits_are_taken_for_digits(tmp_path, column, digits, position):
    file = RawFile(write_rows(tmp_path / "train.txt", ROWS[:1]))
    # A minus sign may be the first byte of an integer.
    legal = digits + (b"-" if (column, position) == (2, 0) else b"")
    for byte in sorted({*range(256)} - {*legal} - {*b"\t\n"}):
        value = bytearray(b"1234")
        value[position] = byte
        row = replace_field(ROWS[0], column, bytes(value))
        assert file._parse(row + b"\n") is None, value


def test_a_row_may_be_all_missing(tmp_path):
    file = RawFile(write_rows(tmp_path / "test.txt", [b"\t" * 38] * 2))
    (frame,) = file
    assert frame.height == 2
    assert frame.null_count().sum_horizontal()[0] == 2 * 39


def test_the_hash_zero_is_not_missing(tmp_path):
    rows = [replace_field(ROWS[0], 15, value) for value in (b"00000000", b"")]
    assert read(write_rows(tmp_path / "a", rows))["C1"].to_list() == [0, None]


def test_extreme_values_are_read(tmp_path):
    row = replace_field(ROWS[0], 2, b"9223372036854775807")
    row = replace_field(row, 3, b"-9223372036854775808")
    row = replace_field(row, 15, b"FFFFFFFF")
    frame = criteo.features(read(write_rows(tmp_path / "a", [row])))
    assert frame["I1"][0] == np.float32(63 * np.log(2))
    assert frame["I2"][0] == 0
    assert frame["C1"][0] == 2**32 - 1


@pytest.mark.slow_variants
@pytest.mark.parametrize("fault", MALFORMED)
@pytest.mark.parametrize("position", [0, 200, 300])
def test_a_malformed_row_stops_with_its_place(tmp_path, fault, position):
    bad_row, message = MALFORMED[fault]
    rows = [*ROWS[:position], bad_row, *ROWS[position:]]
    path = write_rows(tmp_path / "train.txt", rows)
    for chunk_bytes in (SMALL, 10**6):
        with pytest.raises(InputError) as error:
            read(path, chunk_bytes=chunk_bytes)
        assert str(error.value).startswith(f"{path} line {position + 1}: ")
        assert message in str(error.value)
        assert "expected" in str(error.value)
        assert str(error.value).endswith("; fix the line")
        assert "\n" not in str(error.value)


def test_skipped_rows_are_counted_and_the_others_kept(tmp_path):
    rows = []
    for position, (bad_row, _) in enumerate(MALFORMED.values()):
        rows += [*ROWS[position * 10 : position * 10 + 10], bad_row]
    path = write_rows(tmp_path / "train.txt", rows)
    for chunk_bytes in (SMALL, 10**6):
        file = RawFile(path, "skip", chunk_bytes)
        frame = pl.concat(list(file))
        assert_reads_as(frame, ROWS[: 10 * len(MALFORMED)])
        assert file.skipped.counts.total() == len(MALFORMED)
        assert file.skipped.counts["wrong number of columns"] == 3
        first_blank = list(MALFORMED).index("blank line") * 11 + 11
        assert file.skipped.examples["blank line"].line == first_blank
        report = "\n".join(file.skipped.report())
        assert f"skipped {len(MALFORMED)} malformed rows" in report
        assert f"{path} line {first_blank}: is blank" in report


def test_a_file_without_any_good_row_is_refused(tmp_path):
    path = write_rows(tmp_path / "train.txt", [b"not", b"Criteo"])
    with pytest.raises(InputError, match=r"no well-formed row.*line 1: has 1 column"):
        list(RawFile(path, "skip"))


@pytest.mark.slow_variants
@pytest.mark.parametrize("on_bad_row", ["stop", "skip"])
@pytest.mark.parametrize("damage", ["truncated", "corrupt", "cut in its trailer"])
def test_a_damaged_gzip_file_always_stops(tmp_path, on_bad_row, damage):
    path = write_rows(tmp_path / "train.txt.gz", make_rows(2000))
    contents = bytearray(path.read_bytes())
    if damage == "truncated":
        del contents[len(contents) * 3 // 4 :]
    elif damage == "corrupt":
        contents[-6] ^= 255
    else:
        del contents[-4:]
    path.write_bytes(contents)
    with pytest.raises(InputError, match=r"train\.txt\.gz is a damaged gzip file"):
        list(RawFile(path, on_bad_row, chunk_bytes=SMALL))


@pytest.mark.parametrize("text", ["y,a,b\n1,2,3\n0,2,3\n", "1\tde\n0\tfr\n0\tit\n"])
def test_a_log_of_ones_own_is_not_blamed_on_its_rows(tmp_path, text):
    path = tmp_path / "log.csv"
    path.write_text(text)
    for on_bad_row in ("stop", "skip"):
        with pytest.raises(InputError, match=r"prepared with --columns") as caught:
            list(RawFile(path, on_bad_row))
        assert "fix the line" not in str(caught.value)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "empty.gz").write_bytes(gzip.compress(b""))
    for name, message in [
        ("missing", "No such file"),
        ("", "Is a directory"),
        ("empty", "is empty"),
        ("empty.gz", "is empty"),
    ]:
        with pytest.raises(InputError, match=message):
            RawFile(tmp_path / name)


def test_a_file_without_line_ends_is_refused_before_it_fills_memory(tmp_path):
    path = tmp_path / "train.txt"
    path.write_bytes(bytes(100_000))
    with pytest.raises(InputError, match="has a line of more than 6,000 bytes"):
        list(RawFile(path, "skip", chunk_bytes=SMALL))


def is_well_formed(column: int, value: str) -> bool:
    if column == 1:
        return value in ("0", "1")
    if value == "":
        return True
    digits = value.removeprefix("-") if column <= 14 else value
    legal = "0123456789" if column <= 14 else "0123456789abcdefABCDEF"
    if not digits or not set(digits) <= set(legal):
        return False
    if column <= 14:
        number = digits.lstrip("0")  # Python does not read thousands of digits
        limit = 2**63 - (digits == value)
        return len(number) < 20 and int(number or "0") <= limit
    return int(value, 16) < 2**32


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([1, 2, 14, 15, 40]), st.text("0179afAFgx-+. _", max_size=22))
@example(2, "9223372036854775807")
@example(2, "-9223372036854775809")
@example(2, "0" * 30 + "7")
@example(2, "-" + "0" * 5000 + "7")  # more digits than Python reads
@example(2, "0" * 5000)
@example(15, "0" * 5000)
@example(2, "-0")
@example(15, "-0")
@example(15, "0" * 30 + "ffffffff")
@example(15, "1" + "0" * 8)
@example(1, "00")
def test_a_field_is_judged_the_same_in_whatever_company(tmp_path, column, value):
    row = replace_field(ROWS[0], column, value.encode())
    path = write_rows(tmp_path / "train.txt", [row, ROWS[1]])
    alone = read(path, on_bad_row="skip").height == 2
    write_rows(path, [row, ROWS[1], b"malformed"])
    beside_another = read(path, on_bad_row="skip").height == 2
    assert alone == beside_another == is_well_formed(column, value)


def test_real_rows_are_read(kaggle_rows):
    with gzip.open(kaggle_rows) as text:
        rows = text.read().splitlines()
    assert_reads_as(read(kaggle_rows), rows)
