"""Ids through a chain of data sets, compared with plain Python value by value."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.ids.counted_files import write_counted
from pipelines.ids.dialects import dialect_of
from pipelines.ids.earlier import Earlier
from tests.support.plain_chain import PlainColumn
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig
from tfdlrm.data.extension import carried_ids, unseen_ids
from tfdlrm.data.meaning import Meaning
from tfdlrm.data.rare_values import rare_values_path, read_rare_values
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.data.vocabulary_contents import with_contents
from tfdlrm.data.vocabulary_files import read_history, read_vocabulary

MUCH, LITTLE = 2**30, 2000  # 10 values in memory
DAY = st.lists(st.integers(0, 30) | st.none(), min_size=1, max_size=60)


class Chain:
    """Data sets of one column, each of which extends the one before."""

    def __init__(self, root, config, dtype=pl.UInt32, memory_bytes=MUCH):
        self.root, self.config, self.dtype = root, config, dtype
        self.memory_bytes = memory_bytes
        self.earlier = None
        self.number = 0

    def add(self, values, days=1, forget_days=None) -> Path:
        """Make the next data set of values, and return its directory."""
        directory = self.root / f"set{self.number}"
        work = self.root / f"work{self.number}"
        for folder in (directory, work):
            folder.mkdir()
        dialect = dialect_of(self.config)
        column = self.earlier and self.earlier.column("C1", days, forget_days)
        pieces = [pl.Series("value", values[i : i + 7], self.dtype) for i in (0, 7)]
        pieces[1] = pl.Series("value", values[7:], self.dtype)
        vocabulary = dialect.vocabulary(pieces, self.memory_bytes, work, column)
        write_counted(vocabulary, directory, work, "C1")
        feature = dialect.describe("C1", vocabulary)
        schema = FeatureSchema(
            (),
            (CategoricalFeature("C1", feature.num_ids),),
            dialect=self.config.dialect,
            min_frequency=self.config.min_frequency,
            reserved_ids=dict(dialect.traits.reserved_ids),
            days=days,
            chain=self.earlier.chain if self.earlier else (),
        )
        schema = with_contents(schema, directory)
        schema.save(directory)
        self.earlier = Earlier(directory, schema)
        self.number += 1
        self.feature = feature
        return directory

    @property
    def rows(self):
        schema = self.earlier.schema
        num_values = schema.vocabulary_sizes[0] - len(schema.reserved_ids)
        return read_history(self.earlier.directory, "C1", num_values).rows()

    @property
    def rare(self):
        frames = read_rare_values(self.earlier.directory, "C1")
        return [] if frames is None else pl.concat(frames).rows()


def as_text(values):
    return [None if value is None else f"é{value}" for value in values]


@pytest.mark.slow_variants
@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    days=st.lists(st.tuples(DAY, st.integers(1, 3)), min_size=2, max_size=4),
    min_frequency=st.integers(1, 4),
    forget_days=st.none() | st.integers(1, 4),
)
@pytest.mark.parametrize("memory_bytes", [MUCH, LITTLE])
@pytest.mark.parametrize("is_text", [False, True])
def test_ids_are_those_of_plain_python(
    tmp_path_factory, days, min_frequency, forget_days, memory_bytes, is_text
):
    config = PrepareConfig(min_frequency=min_frequency)
    dtype = pl.String if is_text else pl.UInt32
    root = tmp_path_factory.mktemp("chain")
    chain = Chain(root, config, dtype, memory_bytes)
    plain = PlainColumn(min_frequency)
    for number, (day, num_days) in enumerate(days):
        values = as_text(day) if is_text else day
        forgets = forget_days if number else None
        chain.add(values, num_days, forgets)
        plain.add(values, num_days, forgets)
        if number:
            assert chain.rows == plain.rows
            assert chain.feature.num_new == len(plain.new)
            assert chain.rare == plain.rare
        else:
            assert [row[:3] for row in chain.rows] == [row[:3] for row in plain.rows]
            assert chain.rare == [row[:2] for row in plain.rare]
        assert chain.feature.num_kept == len(plain.ids)
        assert chain.feature.num_distinct == len(plain.counts)


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(days=st.lists(DAY, min_size=2, max_size=4), forget_days=st.none() | st.just(1))
def test_facebook_ids_are_those_of_plain_python(tmp_path_factory, days, forget_days):
    chain = Chain(tmp_path_factory.mktemp("chain"), PrepareConfig(dialect="facebook"))
    plain = PlainColumn(first_id=0, by_first_row=True, kept=0)
    for number, day in enumerate(days):
        chain.add(day, 1, forget_days if number else None)
        plain.add([value or 0 for value in day], 1, forget_days if number else None)
        assert [row[:3] for row in chain.rows] == [row[:3] for row in plain.rows]
        assert chain.rare == []


def test_extended_facebook_ids_are_those_of_both_days_at_once(tmp_path):
    days = np.random.default_rng(0).integers(50, size=(2, 100)).tolist()
    config = PrepareConfig(dialect="facebook")
    for name in ("chain", "whole"):
        (tmp_path / name).mkdir()
    chain, whole = (Chain(tmp_path / name, config) for name in ("chain", "whole"))
    chain.add(days[0])
    chain.add(days[1])
    whole.add(days[0] + days[1])
    assert [row[:3] for row in chain.rows] == [row[:3] for row in whole.rows]


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(days=st.lists(DAY, min_size=3, max_size=4), forget_days=st.none() | st.just(1))
def test_an_id_is_carried_while_it_has_the_same_value(
    tmp_path_factory, days, forget_days
):
    chain = Chain(tmp_path_factory.mktemp("chain"), PrepareConfig(min_frequency=2))
    before = []
    for number, day in enumerate(days):
        chain.add(day, 1, forget_days if number else None)
        before.append(
            (
                Meaning.of(chain.earlier.schema).fingerprint,
                {row[1]: row[0] for row in chain.rows},
            )
        )
    values = {row[1]: row[0] for row in chain.rows}
    directory, schema = chain.earlier.directory, chain.earlier.schema
    for fingerprint, values_before in before:
        carried = carried_ids(directory, schema, fingerprint)["C1"]
        assert len(carried) == 2 + len(values_before)
        for number, value in values_before.items():
            if carried[number]:
                assert values[number] == value
            elif value is not None and value == values[number]:
                # Forgotten on the way, and back at the same id by chance.
                assert forget_days is not None
    unseen = unseen_ids(directory, schema)["C1"]
    for number, value in values.items():
        assert unseen[number] == (value is not None and value not in days[-1])


def test_rare_values_go_on_being_counted(tmp_path):
    chain = Chain(tmp_path, PrepareConfig(min_frequency=3))
    chain.add([7, 7, 9])
    assert (chain.rows, chain.rare) == ([], [(7, 2), (9, 1)])
    chain.add([7, 8])
    assert chain.rows == [(7, 2, 3, 1, 1)]
    assert chain.rare == [(8, 1, 1), (9, 1, 0)]


def test_without_kept_counts_rare_values_begin_at_zero(tmp_path):
    chain = Chain(tmp_path, PrepareConfig(min_frequency=3))
    directory = chain.add([7, 7, 5, 5, 5])
    rare_values_path(directory, "C1").unlink()
    chain.add([7, 8])
    assert chain.rows == [(5, 2, 3, 0, 0)]
    assert chain.rare == [(7, 1, 1), (8, 1, 1)]


def test_a_freed_id_is_taken_again(tmp_path):
    chain = Chain(tmp_path, PrepareConfig(min_frequency=1))
    chain.add([1, 1, 1, 2, 2, 3])
    chain.add([2], forget_days=1)
    assert chain.rows == [
        (None, 2, 0, None, None),
        (2, 3, 3, 0, 1),
        (None, 4, 0, *[None] * 2),
    ]
    chain.add([4, 2])
    assert [row[0] for row in chain.rows] == [4, 2, None]
    assert chain.feature.num_ids == 5 and chain.feature.num_kept == 2


def test_tables_of_freed_ids_look_values_up(tmp_path):
    for dtype, values in ((pl.UInt32, [1, 2, 3]), (pl.String, ["a", "", "c"])):
        root = tmp_path / str(dtype)
        root.mkdir()
        chain = Chain(root, PrepareConfig(min_frequency=1), dtype)
        chain.add([values[0]] * 3 + [values[1]] * 2 + [values[2]])
        directory = chain.add(values[1:2], forget_days=1)
        (feature,) = chain.earlier.schema.categorical_features
        table = dialect_of(chain.config).table(directory, feature)
        series = pl.Series([*values, None], dtype=dtype)
        assert table.ids(series).tolist() == [0, 3, 0, 1]


def test_unknown_facebook_values_have_an_id_that_nobody_has(tmp_path):
    chain = Chain(tmp_path, PrepareConfig(dialect="facebook"))
    chain.add([5, 6])
    directory = chain.add([6], forget_days=1)
    (feature,) = chain.earlier.schema.categorical_features
    table = dialect_of(chain.config).table(directory, feature)
    values = pl.Series([5, 6, None, 9], dtype=pl.UInt32)
    ids = table.ids(values)
    assert ids.tolist() == [0, 1, 0, 0]
    assert table.are_unknown(values, ids).tolist() == [True, False, False, True]


@pytest.mark.parametrize("damage", [b"", b"PAR1", None])
def test_damaged_rare_values_are_refused(tmp_path, damage):
    chain = Chain(tmp_path, PrepareConfig(min_frequency=2))
    path = rare_values_path(chain.add([7]), "C1")
    path.write_bytes(path.read_bytes()[:-20] if damage is None else damage)
    with pytest.raises(InputError, match=r"C1\.parquet cannot be read as counts"):
        chain.add([7])


def test_changed_rare_values_are_refused(tmp_path):
    chain = Chain(tmp_path, PrepareConfig(min_frequency=2))
    chain.add([7])
    schema = replace(chain.earlier.schema, rare_values={"C1": "0" * 64})
    chain.earlier = replace(chain.earlier, schema=schema)
    with pytest.raises(InputError, match=r"C1\.parquet is not what its checksum 000"):
        chain.add([7])


def test_a_vocabulary_of_another_size_is_refused(tmp_path):
    chain = Chain(tmp_path, PrepareConfig(min_frequency=1))
    chain.add([7])
    directory = chain.add([8])
    with pytest.raises(InputError, match="expected 3 in"):
        read_vocabulary(directory, "C1", 3)
