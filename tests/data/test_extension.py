"""Which ids of a data set keep the meaning that they had in the ones it extends."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tfdlrm.base.errors import InputError
from tfdlrm.data.chain import ChainLink
from tfdlrm.data.extension import carried_ids, last_day_of, unseen_ids
from tfdlrm.data.meaning import Meaning
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.data.vocabulary_contents import content_checksum, with_contents
from tfdlrm.data.vocabulary_files import (
    read_frequencies,
    read_history,
    read_vocabulary,
    write_vocabulary,
)

# Ids 2 to 7: an old value, a freed id, an id taken again, one of the second data set,
# and two of this one.
HISTORY = pl.DataFrame(
    {
        "value": ["a", None, "z", "d", "e", "f"],
        "id": [2, 3, 4, 5, 6, 7],
        "frequency": [9, 0, 4, 3, 2, 2],
        "since": [0, 2, 2, 1, 2, 2],
        "last_day": [2, 0, 3, 3, 3, 3],
    },
    schema_overrides={"id": pl.Int32, "since": pl.Int32, "last_day": pl.Int32},
)
CHAIN = (
    ChainLink("first", "rows of the first", 1, {"country": 5}),
    ChainLink("second", None, 2, {"country": 6}),
)
SCHEMA = FeatureSchema(
    ("price",), (CategoricalFeature("country", 8),), days=1, chain=CHAIN
)


@pytest.fixture
def third(tmp_path):
    """The directory of a data set that extends two others."""
    write_vocabulary(HISTORY, tmp_path, "country")
    replace(SCHEMA, new_ids={"country": 3}).save(tmp_path)
    return tmp_path


def carried(directory, meaning):
    ids = carried_ids(directory, FeatureSchema.load(directory), meaning)
    return None if ids is None else ids["country"].tolist()


def test_an_id_is_carried_while_its_value_keeps_it(third):
    assert carried(third, "first") == [True, True, True, False, False]
    assert carried(third, "second") == [True, True, True, False, False, True]


def test_all_ids_are_carried_from_the_same_meaning(third):
    own = Meaning.of(with_contents(FeatureSchema.load(third), third)).fingerprint
    assert carried(third, own) == [True] * 8


def test_nothing_is_carried_from_a_data_set_outside_the_chain(third):
    assert carried(third, "third") is None


def test_without_a_vocabulary_all_ids_are_carried(tmp_path):
    schema = FeatureSchema(
        (),
        (CategoricalFeature("country", 12),),
        dialect="hash",
        hash_buckets=10,
        chain=(ChainLink("old", None, 1, {"country": 12}),),
    )
    assert carried_ids(tmp_path, schema, "old")["country"].all()
    assert not unseen_ids(tmp_path, schema)["country"].any()


def test_an_unseen_value_is_one_that_the_last_day_did_not_have(third):
    unseen = unseen_ids(third, FeatureSchema.load(third))["country"]
    assert np.flatnonzero(unseen).tolist() == [2]


def test_every_value_of_a_first_data_set_was_seen(tmp_path):
    frame = HISTORY.select("value", "id", "frequency").filter(pl.col("frequency") > 0)
    write_vocabulary(frame, tmp_path, "country")
    schema = FeatureSchema((), (CategoricalFeature("country", 7),))
    assert not unseen_ids(tmp_path, schema)["country"].any()


def test_days_are_counted_through_the_chain():
    assert last_day_of(SCHEMA) == 3
    assert last_day_of(replace(SCHEMA, chain=())) == 0


def test_the_schema_keeps_the_chain(third):
    schema = FeatureSchema.load(third)
    assert schema.chain == CHAIN and schema.new_ids == {"country": 3}
    assert schema.without_data().chain == CHAIN


def test_a_schema_that_extends_nothing_says_nothing_about_it(tmp_path):
    FeatureSchema((), ()).save(tmp_path)
    text = (tmp_path / "schema.json").read_text()
    assert "chain" not in text and "new_ids" not in text


def test_a_link_that_is_none_is_refused(third):
    replace(SCHEMA, chain=()).save(third)
    path = third / "schema.json"
    path.write_text(path.read_text().replace("{", '{"chain": [{"days": 1}],', 1))
    with pytest.raises(InputError, match="is not a data set schema"):
        FeatureSchema.load(third)


def test_a_vocabulary_is_read_with_and_without_its_history(third):
    assert read_history(third, "country", 6).equals(HISTORY)
    plain = HISTORY.select("value", "id", "frequency")
    assert read_vocabulary(third, "country", 6).equals(plain)
    assert read_frequencies(third, "country").tolist() == [9, 0, 4, 3, 2, 2]


def test_a_first_vocabulary_has_no_days(tmp_path):
    plain = HISTORY.select("value", "id", "frequency")
    write_vocabulary(plain, tmp_path, "country")
    history = read_history(tmp_path, "country", 6)
    assert history["since"].to_list() == [0] * 6
    assert history["last_day"].null_count() == 6


@pytest.mark.parametrize(
    ("freed", "other"), [(["a", None], ["a", ""]), ([7, None], [7, 0])]
)
def test_a_freed_id_differs_from_an_empty_value(freed, other):
    def checksum(values):
        return content_checksum(pl.DataFrame({"value": values, "id": [2, 3]}))

    assert checksum(freed) != checksum(other)
    assert checksum(freed) == checksum(freed)


def test_which_id_was_freed_changes_the_checksum():
    def checksum(values):
        frame = pl.DataFrame({"value": values, "id": [2, 3, 4]})
        return content_checksum(frame.cast({"value": pl.UInt32}))

    assert checksum([0, None, 7]) != checksum([None, 0, 7])
