"""The counts of unknown values of a served graph, against plain Python."""

import numpy as np
import polars as pl
import pytest

from pipelines.logs import criteo
from tests.support.exported_cases import CONFIGS
from tests.support.raw_rows import make_rows
from tests.support.served import example
from tfdlrm.data.unknown_values import usual_shares

NAMES = criteo.DENSE_FEATURES + criteo.CATEGORICAL_FEATURES
CATEGORIES = criteo.CATEGORICAL_FEATURES


def known_values(data_dir, name):
    return set(pl.read_parquet(data_dir / "vocabulary" / f"{name}.parquet")["value"])


def columns_of(rows):
    fields = [row.decode().split("\t")[1:] for row in rows]
    return dict(zip(NAMES, map(list, zip(*fields, strict=True)), strict=True))


@pytest.mark.slow_variants
@pytest.mark.parametrize(
    "case_name",
    ["default", pytest.param("facebook", marks=pytest.mark.slow), "facebook modulo"],
)
def test_raw_unknown_counts_what_is_in_no_vocabulary(cases, case_name):
    case = cases(case_name)
    columns = columns_of(make_rows(60, seed=1))
    columns["C1"][:3] = ["0", "1", "7"]
    answer = case.served("raw_unknown", **columns)
    modulus = CONFIGS[case_name].max_index_range or 2**32
    for position, name in enumerate(CATEGORIES):
        values = known_values(case.data_dir, name)
        expected = [
            text != "" and int(text, 16) % modulus not in values
            for text in columns[name]
        ]
        np.testing.assert_array_equal(answer["unknown"][:, position], expected)
    assert (answer["values"] == 1).all()
    probabilities = case.served.probabilities("raw", **columns)
    np.testing.assert_array_equal(answer["probability"].ravel(), probabilities)


def test_nothing_is_unknown_where_values_are_hashed(cases):
    columns = columns_of(make_rows(20, seed=1))
    answer = cases("hash").served("raw_unknown", **columns)
    assert not answer["unknown"].any()


@pytest.fixture
def own(cases):
    case = cases("own")
    return case.served, case.data_dir


def test_values_of_bags_are_counted_one_by_one(own):
    served, _ = own
    answer = served(
        "raw_unknown",
        price=["1", "2", "3"],
        age=["", "", ""],
        user=["u1", "U1", ""],
        tags=["news|NEWS|News", "", "news"],
        shops=["", "3 -3", ""],
    )
    assert answer["unknown"].tolist() == [[0, 2, 0], [1, 0, 1], [0, 0, 0]]
    assert answer["values"].tolist() == [[1, 3, 1], [1, 1, 2], [1, 1, 1]]


def test_coverage_names_each_column_and_its_usual_share(own):
    served, data_dir = own
    answer = served("coverage", number=[2, 0, 1])
    assert [name.decode() for name in answer["name"]] == ["shops", "user", "tags"]
    usual = usual_shares(data_dir)
    expected = [usual[name] for name in ("shops", "user", "tags")]
    np.testing.assert_allclose(answer["unknown_share"], expected, rtol=1e-6)


def test_counts_are_no_outputs_of_the_signatures_that_clients_know(own):
    served, _ = own
    outputs = {
        name: sorted(definition.outputs)
        for name, definition in served.signatures.items()
        if not name.startswith("__")
    }
    assert outputs == {
        "serving_default": ["probability"],
        "raw": ["probability"],
        "tf_example": ["probability"],
        "classify": ["classes", "scores"],
        "regress": ["outputs"],
        "raw_unknown": ["probability", "unknown", "values"],
        "coverage": ["name", "unknown_share"],
    }
    inputs = [example({"user": "U1", "tags": ["news"]})]
    assert served.probabilities("tf_example", examples=inputs).shape == (1,)
