"""The search for values of a column, which the page's form asks."""

from urllib.parse import urlencode

import polars as pl
import pytest

from tests.support.page_models import FILMS, save_cinema_by_hand, write_values
from tests.support.serving_thread import embedded, get, post
from tfdlrm.data.vocabulary_search import search_vocabulary
from tfdlrm.serving.http.column_values import PARAMETERS
from tfdlrm.serving.policies import ModelSettings
from tfdlrm.serving.server import ServerSettings


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    save_cinema_by_hand(directory / "cinema" / "7")
    models = [ModelSettings("cinema", directory / "cinema")]
    with embedded(ServerSettings(models, poll_seconds=0)) as running:
        yield running


def ask(server, **parameters):
    return get(f"{server.url}/column_values?{urlencode(parameters)}")


def values(server, text="", **parameters):
    status, answer = ask(server, model="cinema", column="film", text=text, **parameters)
    assert status == 200
    return [match["value"] for match in answer["values"]]


def test_without_a_text_the_most_frequent_values_come_first(server):
    assert values(server) == FILMS
    assert values(server, most=2) == FILMS[:2]
    assert values(server, most=0) == []


def test_values_that_begin_with_the_text_come_before_those_that_contain_it(server):
    assert values(server, "PAPER") == [
        "Paper Ferry",
        "paper",
        "Paper Clock",
        "The Paper",
    ]
    assert values(server, "paper", most=2) == ["Paper Ferry", "paper"]
    assert values(server, "ω") == ["Ω"]
    assert values(server, "none of these") == []


def test_a_text_is_no_pattern(server):
    assert values(server, ".*") == ["a.*b"]
    assert values(server, "^") == values(server, "(") == values(server, "\n") == []


def test_the_number_of_occurrences_is_told(server):
    _, answer = ask(server, model="cinema", version=7, column="genres", text="wa")
    assert answer == {
        "values": [
            {"value": "War", "occurrences": 3},
            {"value": "Warm", "occurrences": 1},
        ]
    }


@pytest.mark.parametrize(
    ("parameters", "status", "message"),
    [
        ({"column": "film"}, 400, "no name"),
        ({"model": "other", "column": "film"}, 404, "other"),
        ({"model": "cinema", "column": "film", "version": "8"}, 404, "8"),
        ({"model": "cinema", "column": "film", "version": "x"}, 400, "version is 'x'"),
        ({"model": "cinema", "column": "film", "most": "51"}, 400, "up to 50"),
        ({"model": "cinema", "column": "film", "most": "-1"}, 400, "most is '-1'"),
        ({"model": "cinema", "column": "film", "most": "٣"}, 400, "most is '٣'"),
        (
            {"model": "cinema", "column": "film", "text": "x" * 201},
            400,
            "201 characters",
        ),
        ({"model": "cinema", "column": "film", "txt": "x"}, 400, "txt"),
        ({"model": "cinema", "column": "age"}, 404, "'age'"),
        ({"model": "cinema", "column": ""}, 404, "no vocabulary"),
        ({"model": "cinema", "column": "../../../film"}, 404, "no vocabulary"),
        ({"model": "cinema", "column": "film\0"}, 404, "no vocabulary"),
        ({"model": "cinema", "column": "x" * 5000}, 400, "the query has"),
    ],
)
def test_what_cannot_be_answered_is_refused(server, parameters, status, message):
    answered, answer = ask(server, **parameters)
    assert (answered, message in answer["error"]) == (status, True), answer


@pytest.mark.parametrize(
    "query", ["model=cinema&model=cinema", "text=%ff", "a&b&c=1&d=2&e&f"]
)
def test_a_query_that_cannot_be_read_is_refused(server, query):
    status, answer = get(f"{server.url}/column_values?{query}")
    assert (status, list(answer)) == (400, ["error"])


def test_values_are_read_with_get(server):
    assert post(f"{server.url}/column_values", {})[0] == 405


def test_criteos_hashes_are_found_by_their_first_digits(tmp_path):
    hashes = [0x5B000001, 0x5BFFFFFF, 0x05B00000, 0x5C000000]
    write_values(tmp_path, "C1", hashes, pl.UInt32)

    def search(text):
        return [match.value for match in search_vocabulary(tmp_path, "C1", text)]

    assert search("") == ["5b000001", "5bffffff", "05b00000", "5c000000"]
    assert search("5b") == search("5B") == ["5b000001", "5bffffff"]
    assert search("05b00000") == ["05b00000"]
    assert search("05b000000") == search("0x5") == search("5_0") == []


def test_freed_ids_have_no_value_to_choose(tmp_path):
    write_values(tmp_path, "x", ["a", None, "b"])
    assert [match.value for match in search_vocabulary(tmp_path, "x", "")] == ["a", "b"]


def test_the_description_names_all_parameters(server):
    _, document = get(f"{server.url}/openapi.json")
    path = document["paths"]["/column_values"]
    assert [parameter["name"] for parameter in path["parameters"]] == list(PARAMETERS)


@pytest.mark.parametrize(
    "text", ["ß" * 200, "İ" * 200, "\0", "\N{GRINNING FACE}" * 200, "\u200d", "\\E"]
)
def test_any_text_is_searched_for(tmp_path, text):
    write_values(tmp_path, "x", ["a", text])
    assert [match.value for match in search_vocabulary(tmp_path, "x", text)] == [text]
