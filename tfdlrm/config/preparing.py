"""Settings of preparing, as a frozen dataclass."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from tfdlrm.base.byte_size import parse_byte_size
from tfdlrm.base.errors import InputError, require
from tfdlrm.config.number_settings import check_number_settings
from tfdlrm.config.values import take_values
from tfdlrm.data.dialects import DialectTraits, traits_of
from tfdlrm.data.schema import FeatureSchema, RecordFormat

MIN_MEMORY = 10**9


@dataclass(frozen=True)
class PrepareConfig:
    """Settings of preparing a data set from raw rows.

    Args:
        dialect: How categorical values become ids, and which rows are held out:
            `default` counts the values of training rows; `facebook` does as the
            reference implementation of DLRM; `hash` takes a remainder and counts
            nothing (null means default, or with `extend` what was chosen there).
        min_frequency: A categorical value seen less often than this in training rows
            gets the id of unknown values (dialect default; null means 10).
        max_index_range: Hashes are taken modulo this before they get ids (dialect
            facebook; null takes them as they are).
        hash_buckets: Ids of each categorical feature, without the reserved ones
            (dialect hash; null means 100,000).
        days: Number of equal parts, in file order, that the rows are cut into; null
            means one part a file when there are several files, and 7 otherwise.
        validation_days: Parts, or a fraction of one, held out just before the test
            rows.
        test_days: Parts, or a fraction of one, held out at the end.
        on_bad_row: Reaction to a malformed row: `stop` with its position, or `skip` it,
            count it and report it.
        seed: Seed of the shuffle of the training rows.
        columns: YAML file that describes the columns of a log that is not in Criteo's
            format; docs/own_data.md describes it.
        dense_transform: How the numbers of Criteo's format become dense features:
            `log`, `none`, `standardize`, `minmax`, `log2_squared`, or `quantiles:N` for
            ranks; docs/own_data.md describes them (null means log).
        dense_buckets: Buckets of these numbers that are categorical features too:
            `log2_squared` or `quantiles:N` (null adds none).
        missing_flags: Whether each of these numbers has a second dense feature, which
            is 1 where the number is missing.
        record_format: `block` for records that train fastest, `row` for ordinary
            one-row Examples that other tools read too, `parquet` for Parquet, which
            tensorflow-io reads.
        extend: A data set or an exported model whose ids stay as they are. Values that
            have no id there get the next ids; settings that decide about ids, and the
            columns, are those of what is extended.
        forget_days: Values that no counted row of this many last days has, counted
            through all days since the first data set, lose their ids, which new values
            may take (with `extend`; null forgets nothing).
        memory_budget: Memory to use at most, about, such as `8GB`; what does not fit
            waits on disk. It changes nothing in the data set.
        engine: `local` works on this machine; `spark` on a Spark cluster, whose
            machines see the files under the same paths. It changes nothing in the data
            set.
        master: The Spark cluster, such as `local[2]` or `spark://host:7077` (engine
            spark; null leaves it to Spark's own configuration).
    """

    dialect: Literal["default", "facebook", "hash"] | None = None
    min_frequency: int | None = None
    max_index_range: int | None = None
    hash_buckets: int | None = None
    days: int | None = None
    validation_days: float = 0.5
    test_days: float = 0.5
    on_bad_row: Literal["stop", "skip"] = "stop"
    seed: int = 0
    columns: Path | None = None
    dense_transform: str | None = None
    dense_buckets: str | None = None
    missing_flags: bool = False
    record_format: RecordFormat = "block"
    extend: Path | None = None
    forget_days: int | None = None
    memory_budget: str = "8GB"
    engine: Literal["local", "spark"] = "local"
    master: str | None = None

    def __post_init__(self) -> None:
        take_values(self)
        if self.extend is None:
            object.__setattr__(self, "dialect", self.dialect or "default")
        if self.dialect is not None:
            self._fill_in_dialect(self.dialect)
        self._check_forget_days()
        check_number_settings(self)
        require(
            self.master is None or self.engine == "spark",
            "master",
            self.master,
            "none with engine local: add --engine spark",
        )
        require(self.days is None or self.days >= 1, "days", self.days, ">= 1")
        require(
            self.validation_days >= 0, "validation_days", self.validation_days, ">= 0"
        )
        require(self.test_days >= 0, "test_days", self.test_days, ">= 0")
        require(self.seed >= 0, "seed", self.seed, ">= 0")
        num_bytes = parse_byte_size(self.memory_budget, "memory_budget")
        require(num_bytes >= MIN_MEMORY, "memory_budget", self.memory_budget, ">= 1GB")

    @classmethod
    def not_filled_in(cls) -> "PrepareConfig":
        """Return the defaults before those of a dialect are filled in.

        A command line that has these settings among others begins with them, so that
        another dialect, or `extend`, does not meet settings that nobody gave.
        """
        config = object.__new__(cls)
        for setting in fields(cls):
            object.__setattr__(config, setting.name, setting.default)
        return config

    @property
    def traits(self) -> DialectTraits:
        """The properties of the dialect, which must be known."""
        assert self.dialect is not None  # `extended_settings` knows it
        return traits_of(self.dialect)

    def _fill_in_dialect(self, dialect: str) -> None:
        """Refuse settings that the dialect does not use, and fill in those it needs."""
        for dialect_of_setting, name, highest, default in _DIALECT_SETTINGS:
            value = getattr(self, name)
            if dialect_of_setting != dialect:
                _refuse_unused(name, value, None, dialect)
            elif value is None:
                if self.extend is None:
                    object.__setattr__(self, name, default)
            else:
                bounds = f"from 1 to {highest:,}"
                require(1 <= value <= highest, name, value, bounds)
        if not traits_of(dialect).has_split_settings:
            for name in ("days", "validation_days", "test_days"):
                default = getattr(PrepareConfig, name)
                _refuse_unused(name, getattr(self, name), default, dialect)

    def _check_forget_days(self) -> None:
        days = self.forget_days
        if days is None:
            return
        require(days >= 1, "forget_days", days, ">= 1")
        expected = "none without extend: a first data set has nothing to forget"
        require(self.extend is not None, "forget_days", days, expected)
        if self.dialect is not None and not self.traits.has_vocabulary:
            _refuse_unused("forget_days", days, None, self.dialect)


def settings_of(schema: FeatureSchema) -> dict[str, Any]:
    """Return the settings that a data set was prepared with, as far as it says.

    The columns, and what the data set extends, are in the schema itself.

    Example:

    >>> settings_of(FeatureSchema((), (), source={"settings": {"days": 7}}))
    {'days': 7}
    """
    recorded = (schema.source or {}).get("settings", {})
    names = {setting.name for setting in fields(PrepareConfig)} - _IN_SCHEMA
    return {name: value for name, value in recorded.items() if name in names}


def _refuse_unused(name: str, value: object, default: object, dialect: str) -> None:
    if value != default:
        raise InputError(
            f"{name} is {value}, but the {dialect} dialect has no such choice: leave "
            f"{name} out, or give another --dialect"
        )


_IN_SCHEMA = {"columns", "extend", "forget_days"}

_DIALECT_SETTINGS = (
    ("default", "min_frequency", 2**63 - 1, 10),
    ("facebook", "max_index_range", 2**32, None),
    # With 26 features of width 16 the tables of 100,000 take 166 MB, which trains on
    # any machine; and the two reserved ids still leave an int32.
    ("hash", "hash_buckets", 2**31 - 3, 100_000),
)
"""For each setting of one dialect: which one, its name, its bound and its default."""
