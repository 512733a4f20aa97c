import numpy as np
import pytest

from pipelines.logs import criteo_fields as fields
from pipelines.logs.criteo_fields import UnusualTextError, read_fields
from tests.support.raw_rows import NUM_CATEGORICAL, NUM_DENSE, make_rows

HEX = b"0123456789abcdef"
ROW = b"1\t-12\t\tff"


def read(text: bytes, labelled: bool = True) -> fields.Fields:
    return read_fields(text, labelled, num_dense=2, num_categorical=1)


@pytest.mark.parametrize("slice_bytes", [100, 1000, 2**19])
def test_fields_are_what_plain_python_reads(monkeypatch, slice_bytes):
    monkeypatch.setattr(fields, "_SLICE_BYTES", slice_bytes)
    rows = make_rows(200)
    found = read_fields(
        b"".join(row + b"\n" for row in rows), True, NUM_DENSE, NUM_CATEGORICAL
    )
    table = [row.split(b"\t") for row in rows]
    dense = [[int(each or 0) for each in row[1 : 1 + NUM_DENSE]] for row in table]
    hashes = [[int(each or b"0", 16) for each in row[1 + NUM_DENSE :]] for row in table]
    assert found.labels.tolist() == [int(row[0]) for row in table]
    np.testing.assert_array_equal(found.dense.T, dense)
    np.testing.assert_array_equal(found.categories.T, hashes)
    is_empty = [[not each for each in row[1:]] for row in table]
    np.testing.assert_array_equal(found.is_empty.T, is_empty)


@pytest.mark.parametrize("num_digits", range(1, 17))
@pytest.mark.parametrize("sign", ["", "-"])
def test_integers_of_any_usual_length_are_read(num_digits, sign):
    for digits in ("1234567890123456", "9" * 16, "0" * 15 + "7"):
        value = sign + digits[:num_digits]
        found = read(f"0\t{value}\t1\t\n".encode())
        assert found.dense[:, 0].tolist() == [int(value), 1]


@pytest.mark.parametrize("num_digits", range(1, 9))
def test_hashes_of_any_length_are_read(num_digits):
    for digits in ("89abcdef", "ffffffff", "00000000", "01234567"):
        value = digits[:num_digits]
        found = read(f"0\t1\t2\t{value}\n".encode())
        assert found.categories[0, 0] == int(value, 16)


@pytest.mark.parametrize(("column", "legal"), [(1, b"-0123456789"), (3, HEX)])
@pytest.mark.parametrize("num_bytes", [2, 5])
def test_only_digits_are_taken_for_digits(column, legal, num_bytes):
    values = [b"1", b"12", b"3", b"4a"]
    for place in range(num_bytes):
        # A minus sign may only be the first of several bytes.
        ours = legal if place == 0 else legal.removeprefix(b"-")
        for byte in set(range(256)) - set(ours):
            value = bytearray(b"12345678"[:num_bytes])
            value[place] = byte
            values[column] = bytes(value)
            with pytest.raises(UnusualTextError):
                read(b"\t".join(values) + b"\n")


@pytest.mark.parametrize(
    "text",
    [
        b"1\t2\t3\n",
        b"1\t2\t3\t4\t5\n",
        b"1\t2\n3\t4\n1\t2\t3\t4\n",
        b"2\t2\t3\t4\n",
        b"\t2\t3\t4\n",
        b"01\t2\t3\t4\n",
        b"1\t-\t3\t4\n",
        b"1\t12345678901234567\t3\t4\n",
        b"1\t2\t3\t123456789\n",
        b"1\t2\t3\tAB\n",
        b"\n",
        ROW + b"\n" + ROW.replace(b"\t", b" ") + b"\n",
    ],
)
def test_unusual_text_is_left_to_others(text):
    with pytest.raises(UnusualTextError):
        read(text)


def test_rows_may_have_no_label():
    found = read(b"-12\t\tff\n", labelled=False)
    assert found.labels is None
    assert found.dense[:, 0].tolist() == [-12, 0]
    assert found.is_empty[:, 0].tolist() == [False, True, False]
