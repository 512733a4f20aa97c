"""The same log as text and as Parquet, as pandas and databases write both."""

import datetime
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest

from pipelines.prepare import prepare
from tfdlrm.config import PrepareConfig

NUM_ROWS = 600
NAN = float("nan")
NAMES = ("bought", "price", "age", "user", "shop", "tags", "pair", "at")
TEXT = """
missing: NA
label: {name: bought, positive: 1, negative: [0, 2]}
dense: [price, {name: age, transform: none, missing: -1}]
categorical:
  - user
  - shop
  - {name: tags, separator: "|"}
  - {name: pair, separator: ","}
split: {time: at}
"""
PARQUET = f"format: parquet\n{TEXT}".replace(
    'tags, separator: "|"', "tags, multi_hot: true"
).replace('pair, separator: ","', "pair, multi_hot: true")
KOLKATA = datetime.timezone(datetime.timedelta(hours=5, minutes=30))


def make_rows():
    """Return the values of each row as text and as typed values."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(NUM_ROWS):
        label = int(rng.integers(3))
        price = None if rng.random() < 0.2 else Decimal(int(rng.integers(9999))) / 100
        age = -1 if rng.random() < 0.2 else int(rng.integers(90))
        user = None if rng.random() < 0.1 else int(rng.integers(40))
        shop = str(rng.choice(["NA", "mall", "kiosk", ""]))
        tags = [str(tag) for tag in rng.choice(["a", "b", "NA"], rng.integers(3))]
        pair = [int(number) for number in rng.integers(20, size=2)]
        second = 1_714_500_000 + int(rng.integers(5 * 86_400))
        at = datetime.datetime.fromtimestamp(second, KOLKATA)
        texts = [
            *(str(label), "NA" if price is None else str(price), str(age)),
            *("" if user is None else str(user), shop, "|".join(tags)),
            *(f'"{pair[0]},{pair[1]}"', at.isoformat(" ").removesuffix(":30") + "30"),
        ]
        rows.append((texts, (label, price, age, user, shop, tags, pair, second)))
    return rows


def typed_table(values):
    label, price, age, user, shop, tags, pair, second = zip(*values, strict=True)
    arrays = [
        pa.array([Decimal(value) for value in label], pa.decimal128(10, 2)),
        pa.array([NAN if value is None else float(value) for value in price]),
        pa.array(age, pa.int8()),
        pa.array([NAN if value is None else float(value) for value in user]),
        pa.array(shop).dictionary_encode(),
        pa.array(tags, pa.large_list(pa.string())),
        pa.array(pair, pa.list_(pa.int16(), 2)),
        pa.array(second, pa.timestamp("s", "+05:30")),
    ]
    return pa.table(arrays, names=NAMES)


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """The log as text and as Parquet, each with its settings for prepare."""
    directory = tmp_path_factory.mktemp("logs")
    rows = make_rows()
    text, parquet = directory / "log.csv", directory / "log.parquet"
    lines = [",".join(NAMES), *(",".join(texts) for texts, _ in rows)]
    text.write_text("\n".join(lines) + "\n")
    pa_parquet.write_table(typed_table([values for _, values in rows]), parquet)
    log_by_suffix = {}
    for path, description in ((text, TEXT), (parquet, PARQUET)):
        columns = path.with_suffix(f"{path.suffix}.yaml")
        columns.write_text(description)
        config = PrepareConfig(
            columns=columns, min_frequency=3, validation_days=1, test_days=1.5
        )
        log_by_suffix[path.suffix] = path, config
    return log_by_suffix


def shards(schema):
    return [(shard.path, shard.rows, shard.sha256) for shard in schema.shards]


@pytest.fixture(scope="module")
def of_text(logs, tmp_path_factory):
    path, config = logs[".csv"]
    return prepare([path], tmp_path_factory.mktemp("text") / "data", config)


def test_both_make_the_same_data_set(logs, of_text, tmp_path):
    path, config = logs[".parquet"]
    schema = prepare([path], tmp_path / "data", config)
    assert schema.num_rows("train") < NUM_ROWS
    assert shards(schema) == shards(of_text)
    assert schema.vocabularies == of_text.vocabularies
    assert (schema.positives, schema.split) == (of_text.positives, of_text.split)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_spark_makes_the_same_data_set_of_both(logs, of_text, tmp_path, suffix):
    pytest.importorskip("pyspark")
    path, config = logs[suffix]
    settings = replace(config, engine="spark", master="local[2]")
    assert shards(prepare([path], tmp_path / "data", settings)) == shards(of_text)
