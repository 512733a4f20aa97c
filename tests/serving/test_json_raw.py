"""JSON's numbers, booleans, nulls and lists become the text that preparing reads."""

import math

import polars as pl
import pytest

from pipelines.logs.values import categories
from tfdlrm.serving.errors import ServingError
from tfdlrm.serving.http.json_raw import raw_array
from tfdlrm.serving.raw_column import RawColumn

NUMBER = RawColumn("number")
TYPED_NUMBER = RawColumn("number", is_typed=True, booleans=("0", "1"))
INTEGER = RawColumn("integer")
HASH = RawColumn("hash")
TEXT = RawColumn("category", joins_floats=True, booleans=("False", "True"))
TYPED = RawColumn("category", True, True, booleans=("false", "true"))
BAG = RawColumn("category", joins_floats=True, is_bag=True, separator="|")
LIST = RawColumn("category", True, True, is_bag=True)


def texts(column, *values):
    return [
        text.decode() if isinstance(text, bytes) else [item.decode() for item in text]
        for text in raw_array("x", list(values), column).tolist()
    ]


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        (NUMBER, 41, "41"),
        (NUMBER, 41.0, "41.0"),
        (NUMBER, -1.5e-7, "-1.5e-07"),
        (NUMBER, 2**70, "1180591620717411303424"),
        (NUMBER, None, ""),
        (NUMBER, "41", "41"),
        (NUMBER, {"b64": "NDE="}, "41"),
        (TYPED_NUMBER, True, "1"),
        (TYPED_NUMBER, False, "0"),
        (TYPED_NUMBER, math.nan, ""),
        (INTEGER, 41.0, "41"),
        (INTEGER, 1e17, "100000000000000000"),
        (INTEGER, -(2**63), "-9223372036854775808"),
        (HASH, "68fd1e64", "68fd1e64"),
        (HASH, None, ""),
        (TEXT, 41, "41"),
        (TEXT, 41.0, "41"),
        (TEXT, -0.0, "0"),
        (TEXT, 3.5, "3.5"),
        (TEXT, 2**53 + 1, "9007199254740993"),
        (TEXT, 2**64 - 1, "18446744073709551615"),
        (TEXT, True, "True"),
        (RawColumn("category"), 41.0, "41.0"),
        (TYPED, True, "true"),
        (TYPED, math.nan, ""),
        (BAG, ["War", "Musical"], "War|Musical"),
        (BAG, ["War", None, "", 7, 7.0], "War|7|7"),
        (BAG, [], ""),
        (BAG, None, ""),
        (BAG, 7, "7"),
        (BAG, "War|Musical", "War|Musical"),
    ],
)
def test_a_value_becomes_text(column, value, text):
    assert texts(column, value) == [text]
    assert texts(column, "z", value) == ["z", text]


@pytest.mark.parametrize("value", [7, 7.0, -0.0, 1e3, 2**53 - 1, float(2**53 - 1)])
def test_whole_numbers_are_those_of_a_typed_log(value):
    assert texts(TYPED, value) == categories(pl.Series([value]), True).to_list()


@pytest.mark.parametrize("value", [7.5, 1e16, 2.0**53, 1e300, math.inf])
def test_a_typed_log_refuses_the_same_floats(value):
    assert categories(pl.Series([value]), True).to_list() == [None]
    with pytest.raises(ServingError, match="input x of row 0 is the number"):
        texts(TYPED, value)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (NUMBER, True, "is true, expected a finite number, or null"),
        (NUMBER, math.nan, "is the number nan, expected a finite number, or null"),
        (NUMBER, math.inf, "is the number inf, expected a finite"),
        (NUMBER, [41], r"is \[41\], expected a finite number"),
        (NUMBER, {"a": 1}, "is an object, expected a finite number"),
        (INTEGER, 41.5, "is the number 41.5, expected a whole number"),
        (INTEGER, 2**63, "is the number 9223372036854775808, expected a whole"),
        (INTEGER, 1e300, "expected a whole number of 64 bits"),
        (HASH, 41, 'is the number 41, expected a hash as text such as "68fd1e64"'),
        (TEXT, 2.0**60, "is the number 1.15.*e.18, expected text: .* write it in quo"),
        (TEXT, 1e-7, "is the number 1e-07, expected text: there are several ways"),
        (TEXT, math.nan, "is the number nan, expected text, a number or null"),
        (TEXT, ["a"], r'is \["a"\], expected text, a number or null'),
        (RawColumn("category"), True, 'is true, expected .* such as "true" or "True"'),
        (BAG, ["War|Peace"], "without `|` in them, .* `War|Peace` would be read as"),
        (BAG, [["War"]], "is a list, expected a list of .* without lists in it"),
        (BAG, ["War", 1e300], "expected text: "),
        (LIST, [["War"]], "is a list, expected a list of .* without lists in it"),
    ],
)
def test_a_value_that_the_column_cannot_hold_is_named(column, value, message):
    with pytest.raises(ServingError, match=f"input x of row 1 .*{message}"):
        texts(column, "z", value)


def test_a_number_with_the_separator_in_it_is_refused():
    column = RawColumn("category", is_bag=True, separator="-")
    assert texts(column, [1, 2]) == ["1-2"]
    for value in (-1, [-1]):
        with pytest.raises(ServingError, match=r"without `-` in them"):
            texts(column, value)


def test_lists_are_filled_up_with_empty_texts():
    assert texts(LIST, ["a", "b"], [], None, "c", [7, None]) == [
        *(["a", "b"], ["", ""], ["", ""], ["c", ""], ["7", ""])
    ]
    assert texts(LIST, ["a", "b"], ["c", "d"]) == [["a", "b"], ["c", "d"]]
    assert raw_array("x", [[], None], LIST).shape == (2, 0)


def test_one_long_list_does_not_fill_the_memory():
    rows = [["a"] * 100_000, *[["a"]] * 1_000]
    with pytest.raises(ServingError, match="longest of 100000 values"):
        raw_array("x", rows, LIST)


def test_a_column_of_one_value_for_all_rows_is_refused():
    with pytest.raises(ServingError, match="input x is the number 41, expected a list"):
        raw_array("x", 41, NUMBER)


def test_no_rows_are_no_rows():
    assert raw_array("x", [], NUMBER).shape == (0,)
