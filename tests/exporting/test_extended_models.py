"""Models of extended data sets: every reader of vocabularies agrees about the ids."""

import shutil

import numpy as np
import polars as pl
import pytest

from pipelines.prepare import prepare
from tests.support.days_of_shop import COLUMNS, make_day, tags, users, write_day
from tests.support.plain_chain import PlainColumn
from tests.support.prepared_runs import files_of
from tests.support.raw_rows import make_rows, read_plainly, write_rows
from tests.support.served import Served, example
from tests.support.serving_thread import embedded, post
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig
from tfdlrm.config.models import LogisticRegressionConfig
from tfdlrm.data.column_files import vocabulary_path
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.exporting.model_card import ModelCard
from tfdlrm.exporting.saved_model import export_model
from tfdlrm.models import build_model
from tfdlrm.predict import PredictCommand, predict
from tfdlrm.serving.policies import ModelSettings
from tfdlrm.serving.server import ServerSettings

DAYS = [make_day(number) for number in range(3)]
MIN_FREQUENCY = 3


def build(data_dir):
    """Return a model each of whose ids has a weight of its own."""
    model = build_model(FeatureSchema.load(data_dir), LogisticRegressionConfig())
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.normal(0, 0.5, weight.shape))
    return model


def export(data_dir, directory):
    model = build(data_dir)
    schema = FeatureSchema.load(data_dir)
    return export_model(model, schema, data_dir, directory, ModelCard())


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Logs and data sets of three days, the third of which forgets."""
    root = tmp_path_factory.mktemp("shop")
    (root / "columns.yaml").write_text(COLUMNS)
    for number, rows in enumerate(DAYS):
        write_day(root / f"day{number}.csv", rows)
        base = {"columns": root / "columns.yaml", "min_frequency": MIN_FREQUENCY}
        if number:
            base = {"extend": root / f"set{number - 1}"}
        forget = {"forget_days": 1} if number == 2 else {}
        config = PrepareConfig(**base, **forget, validation_days=0, test_days=0)
        prepare([root / f"day{number}.csv"], root / f"set{number}", config)
    return root


@pytest.fixture(scope="module")
def columns():
    """Users and tags after each day, in plain Python."""
    states = []
    for number in range(3):
        user_column, tag_column = PlainColumn(MIN_FREQUENCY), PlainColumn(MIN_FREQUENCY)
        for day, rows in enumerate(DAYS[: number + 1]):
            forget_days = 1 if day == 2 else None
            user_column.add(users(rows), forget_days=forget_days)
            tag_column.add(tags(rows), forget_days=forget_days)
        states.append((user_column, tag_column))
    return states


def version_of(shop, number):
    """Return the model of a day's data set, exported when it is first needed."""
    version = shop / f"model{number}" / "1"
    return (
        version if version.exists() else export(shop / f"set{number}", version.parent)
    )


def rows_to_score(columns):
    """Return rows with every sort of value: old, new, forgotten, rare and missing."""
    old, new, forgotten = (column for column, _ in columns)
    chosen = [
        next(iter(old.ids)),
        next(value for value in new.ids if value not in old.ids),
        next(value for value in new.ids if value not in forgotten.ids),
        next(value for value in forgotten.ids if value not in new.ids),
        "u123456",
        "",
    ]
    all_tags = [[*column.ids] for _, column in columns]
    bags = [[], all_tags[0][:2], [all_tags[1][-1]], [all_tags[2][-1]], ["t99", "t1"]]
    return [
        {"user": user, "tags": bags[row % len(bags)], "price": "2", "age": "30"}
        for row, user in enumerate(chosen * 2)
    ]


def expected(data_dir, rows, columns):
    """Return the probabilities of the model for the ids that plain Python finds."""
    user_column, tag_column = columns
    width = 1 + max(len(row["tags"]) for row in rows)
    ids = np.full((len(rows), 2, width), -1)
    for number, row in enumerate(rows):
        ids[number, 0, 0] = user_column.ids.get(row["user"], 0) if row["user"] else 1
        for position, tag in enumerate(row["tags"]):
            ids[number, 1, position] = tag_column.ids.get(tag, 0)
    dense = np.tile(np.float32([[np.log1p(2.0), 30.0]]), (len(rows), 1))
    logits = build(data_dir)({"dense_features": dense, "categorical_features": ids})
    return 1 / (1 + np.exp(-np.asarray(logits, float).ravel()))


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1, 2])
def test_all_signatures_look_up_the_ids_of_the_day(shop, columns, tmp_path, number):
    rows = rows_to_score(columns)
    right = expected(shop / f"set{number}", rows, columns[number])
    version = version_of(shop, number)
    served = Served(version)
    texts = {
        name: [row[name] if name != "tags" else "|".join(row[name]) for row in rows]
        for name in ("user", "tags", "price", "age")
    }
    probabilities = served.probabilities("raw", **texts)
    np.testing.assert_allclose(probabilities, right, rtol=1e-5)
    examples = [example({name: texts[name][i] for name in texts}) for i in range(12)]
    probabilities = served.probabilities("tf_example", examples=examples)
    np.testing.assert_allclose(probabilities, right, rtol=1e-5)
    log = pl.DataFrame(texts)
    log.write_csv(tmp_path / "log.csv")
    predict(PredictCommand(version, tmp_path / "log.csv", tmp_path / "scores.csv"))
    scores = pl.read_csv(tmp_path / "scores.csv")["probability"]
    np.testing.assert_allclose(scores, right, rtol=1e-5)
    with embedded(ServerSettings([ModelSettings("shop", version.parent)])) as server:
        instances = log.to_dicts()
        url = f"{server.url}/v1/models/shop:predict"
        body = {"signature_name": "raw", "instances": instances}
        status, answer = post(url, body)
        assert status == 200
        np.testing.assert_allclose(np.ravel(answer["predictions"]), right, rtol=1e-5)


@pytest.mark.slow
def test_a_value_of_the_second_day_is_unknown_to_the_first_model(shop, columns):
    new = next(v for v in columns[1][0].ids if v not in columns[0][0].ids)
    texts = {"user": [new], "tags": [""], "price": ["1"], "age": ["2"]}
    counts = [
        Served(version_of(shop, number))("raw_unknown", **texts)["unknown"][0, 0]
        for number in (0, 1)
    ]
    assert counts == [1, 0]


def test_a_model_is_extended_like_its_data_set(shop, tmp_path):
    version = version_of(shop, 1)
    for name, path in (
        ("data", shop / "set1"),
        ("version", version),
        ("all", version.parent),
    ):
        config = PrepareConfig(extend=path, forget_days=1)
        prepare([shop / "day2.csv"], tmp_path / name, config)
    assert files_of(tmp_path / "data") == files_of(tmp_path / "version")
    assert files_of(tmp_path / "data") == files_of(tmp_path / "all")


def test_a_damaged_model_is_not_extended(shop, tmp_path):
    for name in ("vocabulary", "rare_values"):
        version = tmp_path / name / "1"
        shutil.copytree(version_of(shop, 1), version)
        path = version / "assets.extra" / name / "user.parquet"
        contents = bytearray(path.read_bytes())
        contents[len(contents) // 3] ^= 1
        path.write_bytes(contents)
        with pytest.raises(InputError, match=r"user\.parquet"):
            config = PrepareConfig(extend=version)
            prepare([shop / "day2.csv"], tmp_path / "x", config)


@pytest.mark.parametrize(
    "dialect", [pytest.param("default", marks=pytest.mark.slow), "facebook"]
)
def test_criteo_values_are_looked_up_after_some_were_forgotten(tmp_path, dialect):
    days = [make_rows(120, seed=1), make_rows(12, seed=2)]
    raw = [write_rows(tmp_path / f"day{n}.tsv", rows) for n, rows in enumerate(days)]
    prepare(
        raw[:1],
        tmp_path / "set0",
        PrepareConfig(
            dialect=dialect, **{"min_frequency": 2 if dialect == "default" else None}
        ),
    )
    config = PrepareConfig(extend=tmp_path / "set0", forget_days=1)
    schema = prepare(raw[1:], tmp_path / "set1", config)
    size = schema.vocabulary_sizes[0] - len(schema.reserved_ids)
    vocabulary = pl.read_parquet(vocabulary_path(tmp_path / "set1", "C1"), glob=False)
    assert vocabulary.height == size and vocabulary["value"].null_count()
    version = export(tmp_path / "set1", tmp_path / "model")
    served = Served(version)
    rows = [*days[0][:40], *days[1]]
    fields = [row.decode().split("\t")[1:] for row in rows]
    names = [f"I{i}" for i in range(1, 14)] + [f"C{i}" for i in range(1, 27)]
    texts = dict(zip(names, map(list, zip(*fields, strict=True)), strict=True))
    probabilities = served.probabilities("raw", **texts)
    write_rows(tmp_path / "log.tsv", rows)
    predict(PredictCommand(version, tmp_path / "log.tsv", tmp_path / "scores.csv"))
    scores = pl.read_csv(tmp_path / "scores.csv")["probability"]
    np.testing.assert_allclose(probabilities, scores, rtol=1e-5)
    _, dense, categories = read_plainly(rows)
    ids = np.array(
        [
            [
                _id(tmp_path / "set1", schema, f"C{n + 1}", value)
                for n, value in enumerate(row)
            ]
            for row in categories
        ]
    )
    model = build(tmp_path / "set1")
    logits = model({"dense_features": dense.astype("f4"), "categorical_features": ids})
    right = 1 / (1 + np.exp(-np.asarray(logits, float).ravel()))
    np.testing.assert_allclose(probabilities, right, rtol=1e-5)


_TABLES = {}


def _id(directory, schema, name, value):
    """Return the id of a value by the rows of the vocabulary's file."""
    key = directory, name
    if key not in _TABLES:
        frame = pl.read_parquet(vocabulary_path(directory, name), glob=False)
        _TABLES[key] = {
            v: i for v, i in frame.select("value", "id").rows() if v is not None
        }
    table = _TABLES[key]
    if schema.dialect == "facebook":
        return table.get(value or 0, table.get(0, 0))
    return 1 if value is None else table.get(value, 0)
