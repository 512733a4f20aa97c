"""The meaning of ids, numbers and labels, and all code that compares it."""

import json
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tensorflow as tf

from pipelines.prepare import prepare
from pipelines.verify import verify
from tfdlrm.base.checksums import LINE_SEAL, PAGE_SEAL
from tfdlrm.base.errors import InputError
from tfdlrm.checkpoints.directory import CheckpointDirectory
from tfdlrm.compare import CompareCommand, compare
from tfdlrm.config import OptimizerConfig, PrepareConfig, TrainConfig
from tfdlrm.config.models import LogisticRegressionConfig
from tfdlrm.config.stream import StreamConfig
from tfdlrm.data.block_format import ORIGIN
from tfdlrm.data.meaning import (
    Meaning,
    origin_problem,
    read_meaning,
)
from tfdlrm.data.meaning_differences import differences, summarize
from tfdlrm.data.records import read_records
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.data.vocabulary_contents import (
    content_checksum,
    example_of_difference,
    with_contents,
)
from tfdlrm.evaluate import EvaluateCommand, evaluate_model
from tfdlrm.export import ExportCommand, export
from tfdlrm.exporting.manifest import MANIFEST_FILE, write_manifest
from tfdlrm.exporting.raw_rows import RawFeatures
from tfdlrm.exporting.scorer import check_columns, load_scorer
from tfdlrm.importance import ImportanceCommand, importance
from tfdlrm.streaming.batches import Batch, Batches
from tfdlrm.streaming.events import Chunk, Topic
from tfdlrm.streaming.learner import Learner
from tfdlrm.train import train
from tfdlrm.training.run_directory import RunDirectory

COLUMNS = "label: {label}\ndense: [price]\ncategorical: [country]\n"
CHANCE = {"de": 0.9, "fr": 0.5, "it": 0.1}
ANOTHER = "column country: another vocabulary (3 values there, 3 here)"


def write_week(path: Path, weights: list[int], num_rows: int = 1500) -> Path:
    """Write rows whose countries are as frequent as `weights`, which order the ids."""
    rng = random.Random(len(path.name))
    lines = ["bought,country,price"]
    for _ in range(num_rows):
        country = rng.choices(list(CHANCE), weights)[0]
        bought = int(rng.random() < CHANCE[country])
        lines.append(f"{bought},{country},{rng.random():.3f}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A directory of logs, data sets, a run of the first data set, and its model."""
    root = tmp_path_factory.mktemp("shop")
    week1 = write_week(root / "week1.csv", [6, 3, 1])
    week2 = write_week(root / "week2.csv", [1, 3, 6])
    for name, label in (
        ("same", "bought"),
        ("zero", '{name: bought, positive: "0"}'),
        ("one", '{name: bought, positive: "1"}'),
    ):
        (root / f"{name}.yaml").write_text(COLUMNS.format(label=label))
    settings = PrepareConfig(min_frequency=1, columns=root / "same.yaml")
    prepare([week1], root / "data", settings)
    prepare([week2], root / "other", settings)
    for name in ("zero", "one"):
        label_settings = replace(settings, columns=root / f"{name}.yaml")
        prepare([week1], root / name, label_settings)
    # The same values in the same order, everything else another.
    rows = replace(settings, record_format="row", test_days=2.0, seed=3)
    prepare([write_week(root / "week3.csv", [60, 30, 10])], root / "rows", rows)
    hash_settings = replace(
        settings, dialect="hash", min_frequency=None, hash_buckets=7
    )
    prepare([week1], root / "hashed", hash_settings)
    train(
        TrainConfig(
            data_dir=root / "data",
            model=LogisticRegressionConfig(),
            optimizer=OptimizerConfig("adagrad", 0.5),
            batch_size=64,
            evaluations_per_epoch=1,
            run_dir=root / "run",
            export_dir=root / "model",
        )
    )
    return root


def evaluate(model, data_dir):
    evaluate_model(EvaluateCommand(model, data_dir, ("train",)))


def edit_json(path, change):
    fields = json.loads(path.read_text())
    for style in (PAGE_SEAL, LINE_SEAL):
        fields.pop(style.entry, None)
    change(fields)
    path.write_text(json.dumps(fields))


def write_manifest_again(model):
    (model / MANIFEST_FILE).unlink()
    write_manifest(model)


def as_earlier_release(schema_file):
    edit_json(schema_file, lambda fields: fields.pop("vocabulary_contents"))


def test_a_vocabulary_is_known_by_its_values_and_not_by_its_file(shop, tmp_path):
    path = shop / "data" / "vocabulary" / "country.parquet"
    vocabulary = pl.read_parquet(path, glob=False)
    assert vocabulary["value"].to_list() == ["de", "fr", "it"]
    schema = FeatureSchema.load(shop / "data")
    assert schema.vocabulary_contents == {"country": content_checksum(vocabulary)}
    other_frequencies = vocabulary.with_columns(
        frequency=pl.col("frequency") + 1
    ).reverse()
    other_frequencies.write_parquet(tmp_path / "it.parquet", compression="snappy")
    read_back = pl.read_parquet(tmp_path / "it.parquet", glob=False)
    assert content_checksum(read_back) == schema.vocabulary_contents["country"]


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        (["a", "b"], [3, 2]),
        (["a", "b"], [1, 2]),
        (["ab", ""], [2, 3]),
        (["a", "c"], [2, 3]),
        (["a", "b", "c"], [2, 3, 4]),
        ([0x61, 0x62], [2, 3]),
    ],
)
def test_other_values_or_ids_are_another_vocabulary(values, ids):
    vocabulary = pl.DataFrame({"value": ["a", "b"], "id": [2, 3]})
    assert content_checksum(pl.DataFrame({"value": values, "id": ids})) != (
        content_checksum(vocabulary)
    )


SCHEMA = FeatureSchema(
    dense_features=("price", "age"),
    categorical_features=(
        CategoricalFeature("country", 5),
        CategoricalFeature("tags", 9, multi_hot=True),
    ),
    label="bought",
    untransformed=("age",),
    min_frequency=1,
    vocabulary_contents={"country": "c" * 64, "tags": "d" * 64},
    columns={"positive": "yes"},
)


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"label": "seen"}, "label: column bought there, seen here"),
        (
            {"columns": {"positive": "no"}},
            "label: positive is 'yes' there, 'no' here",
        ),
        (
            {"columns": {"positive": None}},
            "label: positive is 'yes' there, '1' here",
        ),
        ({"untransformed": ()}, "column age: transform none there, log1p here"),
        (
            {"dense_features": ("age", "price")},
            "dense columns: price, age there, age, price here",
        ),
        ({"dense_features": ("price",)}, "dense columns: age is there, and not here"),
        (
            {"categorical_features": SCHEMA.categorical_features[:1]},
            "categorical columns: tags is there, and not here",
        ),
        (
            {"vocabulary_contents": {"country": "e" * 64, "tags": "d" * 64}},
            ANOTHER,
        ),
        (
            {
                "categorical_features": (
                    SCHEMA.categorical_features[0],
                    CategoricalFeature("tags", 9),
                )
            },
            "column tags: several values a row there only",
        ),
        ({"dialect": "hash", "hash_buckets": 3}, "dialect: default there, hash here"),
        ({"dialect": "facebook", "reserved_ids": {}}, "dialect: default there, face"),
        (
            {"reserved_ids": {"unknown": 1, "missing": 0}},
            "reserved_ids: {'missing': 1, 'unknown': 0} there, {'missing': 0, ",
        ),
    ],
)
def test_what_differs_is_named(changes, difference):
    texts = differences(Meaning.of(SCHEMA), Meaning.of(replace(SCHEMA, **changes)))
    assert texts[0].startswith(difference)


def test_criteos_hashes_are_no_text():
    hashes = replace(SCHEMA, columns=None, label="bought")
    texts = differences(Meaning.of(hashes), Meaning.of(SCHEMA))
    assert "values: hashes there, text here" in texts


@pytest.mark.parametrize(
    ("dialect", "name"), [("facebook", "max_index_range"), ("hash", "hash_buckets")]
)
def test_rules_without_a_vocabulary_are_compared(dialect, name):
    schema_there = replace(
        SCHEMA, dialect=dialect, vocabulary_contents={}, **{name: 10}
    )
    schema_here = replace(schema_there, **{name: 11})
    texts = differences(Meaning.of(schema_there), Meaning.of(schema_here))
    assert texts == [f"{name}: 10 there, 11 here"]
    assert Meaning.of(schema_there).is_known == (dialect == "hash")


@pytest.mark.parametrize(
    "changes",
    [
        {"min_frequency": 3},
        {"block_rows": 7, "record_format": "row"},
        {"split": {"days": 3}, "source": {}, "version": "0"},
        {"columns": {"positive": "yes", "separators": [","], "format": "tsv"}},
    ],
)
def test_how_rows_were_written_does_not_matter(changes):
    meaning = Meaning.of(replace(SCHEMA, **changes))
    assert differences(Meaning.of(SCHEMA), meaning) == []
    assert meaning.fingerprint == Meaning.of(SCHEMA).fingerprint


@pytest.mark.parametrize("positive", ["1", "true", "True", "1.0"])
def test_spellings_of_a_positive_label_are_one_value(positive):
    plain = replace(SCHEMA, columns={"positive": None})
    with_positive = replace(SCHEMA, columns={"positive": positive})
    assert differences(Meaning.of(plain), Meaning.of(with_positive)) == []
    modulo = replace(plain, dialect="facebook", max_index_range=2**32)
    without_modulo = replace(modulo, max_index_range=None)
    assert differences(Meaning.of(modulo), Meaning.of(without_modulo)) == []


def test_a_meaning_is_kept_as_json():
    meaning = Meaning.of(SCHEMA)
    text = json.dumps(meaning.to_json()).encode()
    assert read_meaning(text) == meaning
    assert read_meaning(text).fingerprint == meaning.fingerprint
    for other_text in (b"{", b"[1]", b"{}", b'{"dense": 3}'):
        with pytest.raises(InputError, match="expected one of this version"):
            read_meaning(other_text)


def test_of_many_differences_the_first_are_named():
    assert summarize(["a", "b"]) == "a; b"
    assert summarize(["a", "b", "c", "d", "e"]) == "a; b; c; and 2 more"


@pytest.mark.parametrize("use", ["evaluate", "importance"])
@pytest.mark.parametrize(
    ("data", "difference"),
    [("other", ANOTHER), ("zero", "positive is '1' there, '0' here"), ("hashed", "di")],
)
def test_a_model_is_not_measured_on_ids_that_mean_something_else(
    shop, tmp_path, use, data, difference
):
    with pytest.raises(InputError) as error:
        if use == "evaluate":
            evaluate(shop / "model", shop / data)
        else:
            importance(ImportanceCommand(shop / "model", shop / data, tmp_path / "i"))
    assert difference in str(error.value)
    assert f"{shop / data} has other columns, ids or labels than" in str(error.value)
    example = "; id 2 of country is 'de' there, 'it' here; use"
    assert (example in str(error.value)) == (data == "other")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("data", ["data", "one", "rows", "moved"])
def test_data_that_means_the_same_is_measured_without_a_word(
    shop, tmp_path, data, capsys
):
    path = shop / data
    if data == "moved":
        path = shutil.copytree(shop / "data", tmp_path / "elsewhere")
    evaluate(shop / "model", path)
    printed = capsys.readouterr().out
    assert "not checked" not in printed
    # The chance of each country is what there is to learn.
    auc = float(printed.splitlines()[-1].split("|")[5])
    assert auc > 0.75


def test_a_model_of_an_earlier_release_is_compared_by_its_vocabularies(
    shop, tmp_path, capsys
):
    model = shutil.copytree(shop / "model" / "1", tmp_path / "model" / "1")
    as_earlier_release(model / "assets.extra" / "schema.json")
    write_manifest_again(model)
    evaluate(model, shop / "data")
    with pytest.raises(InputError, match=re.escape(ANOTHER)):
        evaluate(model, shop / "other")
    assert "not checked" not in capsys.readouterr().out
    shutil.rmtree(model / "assets.extra" / "vocabulary")
    write_manifest_again(model)
    evaluate(model, shop / "data")
    (line,) = (
        line for line in capsys.readouterr().out.splitlines() if "not checked" in line
    )
    assert line.startswith(f"{model} has no vocabularies: ")


def test_a_data_set_of_an_earlier_release_is_compared_by_its_vocabularies(
    shop, tmp_path
):
    data = shutil.copytree(shop / "data", tmp_path / "data")
    other_data = shutil.copytree(shop / "other", tmp_path / "other")
    for directory in (data, other_data):
        as_earlier_release(directory / "schema.json")
        assert not FeatureSchema.load(directory).vocabulary_contents
    evaluate(shop / "model", data)
    with pytest.raises(InputError, match=re.escape(ANOTHER)):
        evaluate(shop / "model", other_data)


def test_a_model_says_what_its_ids_mean(shop):
    schema = load_scorer(shop / "model").schema
    assert Meaning.of(schema) == Meaning.of(FeatureSchema.load(shop / "data"))
    assert Meaning.of(schema).is_known


def test_an_example_is_shown_of_criteos_values_and_of_missing_ones(data_dir, tmp_path):
    schema = FeatureSchema.load(data_dir)
    other_data = shutil.copytree(data_dir, tmp_path / "other")
    path = other_data / "vocabulary" / "C2.parquet"
    vocabulary = pl.read_parquet(path, glob=False)
    first_value = vocabulary.sort("id")["value"][0]
    vocabulary.with_columns(
        value=pl.when(pl.col("id") == 2).then(7).otherwise(pl.col("value"))
    ).write_parquet(path)
    as_earlier_release(other_data / "schema.json")
    changed_schema = with_contents(
        replace(FeatureSchema.load(other_data), vocabularies={}), other_data
    )
    example = example_of_difference((schema, data_dir), (changed_schema, other_data))
    assert example == f"id 2 of C2 is {first_value:08x} there, 00000007 here"
    vocabulary.filter(pl.col("id") != 2).write_parquet(path)
    changed_schema = replace(changed_schema, vocabulary_contents={"C2": "other"})
    assert (
        example_of_difference((schema, data_dir), (changed_schema, other_data)) is None
    )
    assert example_of_difference((schema, data_dir), (schema, data_dir)) is None


def test_a_data_set_without_vocabularies_is_not_called_another(shop, tmp_path, capsys):
    data = shutil.copytree(shop / "data", tmp_path / "data")
    shutil.rmtree(data / "vocabulary")
    as_earlier_release(data / "schema.json")
    schema = with_contents(FeatureSchema.load(data), data)
    check_columns(schema, schema, data, data)
    assert f"{data} has no vocabularies" in capsys.readouterr().out


def copy_of_run(shop, tmp_path, data):
    """Copy the run, as if its data set had been prepared again as `data`."""
    run = shutil.copytree(shop / "run", tmp_path / "run")
    config = (run / "config.yaml").read_text()
    for file in run.rglob("*.yaml"):
        text = file.read_text()
        file.write_text(text.replace(str(shop / "data"), str(tmp_path / "data")))
    assert str(shop / "data") in config
    shutil.copytree(shop / data, tmp_path / "data")
    return run


@pytest.mark.parametrize("quantize", ["none", "int8"])
@pytest.mark.parametrize(
    ("data", "difference"), [("other", ANOTHER), ("zero", "positive is '1' there")]
)
def test_a_run_is_not_exported_with_a_data_set_that_means_something_else(
    shop, tmp_path, data, difference, quantize
):
    run = copy_of_run(shop, tmp_path, data)
    with pytest.raises(InputError, match="is of a run on another data set") as error:
        export(ExportCommand(run, tmp_path / "exported", quantize=quantize))
    assert difference in str(error.value)
    assert not (tmp_path / "exported").exists()


def test_a_run_is_exported_with_its_data_set_made_again_in_other_records(
    shop, tmp_path, capsys
):
    run = copy_of_run(shop, tmp_path, "rows")
    exported = export(ExportCommand(run, tmp_path / "exported"))
    assert "not checked" not in capsys.readouterr().out
    features = {
        "dense_features": tf.constant([[0.5], [2.0]]),
        "categorical_features": tf.constant([[2], [4]], tf.int64),
    }
    scores = [load_scorer(model)(features) for model in (exported, shop / "model")]
    np.testing.assert_array_equal(*scores)


def test_a_checkpoint_of_an_earlier_release_is_compared_by_its_rows(
    shop, tmp_path, capsys
):
    run = copy_of_run(shop, tmp_path, "data")
    (state,) = run.glob("checkpoints/*/state.json")
    edit_json(state, lambda fields: fields.pop("meaning"))
    export(ExportCommand(run, tmp_path / "exported"))
    assert "does not say what its ids mean" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "data")
    shutil.copytree(shop / "rows", tmp_path / "data")
    with pytest.raises(InputError, match="shards have other checksums"):
        export(ExportCommand(run, tmp_path / "exported"))


def test_training_does_not_go_on_with_another_vocabulary_for_the_same_shards(
    shop, tmp_path
):
    run = copy_of_run(shop, tmp_path, "data")
    for name in ("report.md", "summary.json", "metrics.json"):
        (run / name).unlink()
    contents = FeatureSchema.load(shop / "other").vocabulary_contents
    edit_json(
        tmp_path / "data" / "schema.json",
        lambda fields: fields.update(vocabulary_contents=contents),
    )
    config = replace(
        RunDirectory(run).load_config(), run_dir=run, export_dir=tmp_path / "exported"
    )
    with pytest.raises(InputError) as error:
        train(config)
    assert "is of a run on another data set" in str(error.value)
    assert ANOTHER in str(error.value)


def test_a_stream_does_not_go_on_with_a_data_set_that_means_something_else(
    shop, tmp_path
):
    run = copy_of_run(shop, tmp_path, "data")
    config = StreamConfig(
        stream="kafka://host/clicks", run_dir=run, export_dir=tmp_path / "exported"
    )
    topic = Topic.from_url(config.stream)
    learner = Learner(config, RunDirectory(run), topic)
    features = {
        "dense_features": np.ones((2, 1), np.float32),
        "categorical_features": np.array([[2], [3]], np.int32),
    }
    labels = np.ones((2, 1), np.float32)
    learner.learn(Batch(features, labels, {0: 2}))
    learner.save()
    (state,) = (run / "stream").glob("checkpoints/*/state.json")
    meaning = read_meaning(json.loads(state.read_text())["meaning"])
    assert meaning == Meaning.of(FeatureSchema.load(shop / "data"))
    shutil.rmtree(tmp_path / "data")
    shutil.copytree(shop / "other", tmp_path / "data")
    with pytest.raises(InputError, match=re.escape(ANOTHER)):
        Learner(config, RunDirectory(run), topic)
    # Checkpoints of a stream that another run learned from.
    checkpoints = CheckpointDirectory(run / "stream" / "checkpoints")
    meaning = Meaning.of(FeatureSchema.load(shop / "zero"))
    with pytest.raises(InputError, match="positive is '1' there, '0' here"):
        checkpoints.restore(None, meaning=meaning)


def test_runs_of_a_data_set_that_means_something_else_are_not_compared(shop, tmp_path):
    command = CompareCommand(
        shop / "data", ("logistic_regression",), ("sgd",), output=tmp_path / "compared"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfdlrm.compare._runs_of", lambda *_args: 1 / 0)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                compare(command)
        for data, difference in (("other", ANOTHER), ("zero", "positive is '1'")):
            with pytest.raises(InputError, match="compares runs on another") as error:
                compare(replace(command, data_dir=shop / data))
            assert difference in str(error.value)
        with pytest.raises(InputError, match="shards have other checksums"):
            compare(replace(command, data_dir=shop / "rows"))


def first_block(data_dir):
    schema = FeatureSchema.load(data_dir)
    (_, payload), *_ = read_records(data_dir / schema.split_shards("train")[0].path)
    return payload


def batches_of(data_dir, on_bad_event="stop"):
    schema = FeatureSchema.load(data_dir)
    features_of = RawFeatures.load(data_dir, schema)
    return Batches("clicks", schema, features_of, 4, on_bad_event)


@pytest.mark.parametrize("data", ["other", "zero"])
def test_a_stream_takes_no_block_of_a_data_set_that_means_something_else(shop, data):
    chunk = Chunk(0, 7, [first_block(shop / data)])
    with pytest.raises(InputError, match="clicks partition 0 offset 7: ") as error:
        list(batches_of(shop / "data").add(chunk))
    assert "its rows are of another data set, whose ids or labels" in str(error.value)
    (batch,) = batches_of(shop / "data", "skip").add(chunk)
    assert (len(batch.labels), batch.offsets, batch.skipped) == (0, {0: 8}, 1)


def test_a_stream_takes_blocks_that_mean_the_same(shop, capsys):
    chunk = Chunk(0, 7, [first_block(shop / "one"), first_block(shop / "data")])
    for model in ("data", "rows"):
        first_batch, second_batch = batches_of(shop / model).add(chunk)
        assert len(first_batch.labels) == len(second_batch.labels) > 0
    assert capsys.readouterr().out == ""


def without_mark(payload):
    example = tf.train.Example.FromString(payload)
    assert example.features.feature.pop(ORIGIN) is not None
    return example.SerializeToString()


def test_blocks_of_an_earlier_release_are_taken_with_one_line(shop, capsys):
    block = without_mark(first_block(shop / "data"))
    batches = batches_of(shop / "data")
    new_batches = list(batches.add(Chunk(0, 7, [block, block])))
    assert [len(batch.labels) > 0 for batch in new_batches] == [True, True]
    (line,) = capsys.readouterr().out.splitlines()
    assert "clicks has block records without the fingerprint" in line


def test_a_fingerprint_is_not_asked_for_where_ids_are_not_known():
    unknown = replace(SCHEMA, vocabulary_contents={})
    assert origin_problem("ab", unknown) is None
    assert "fingerprint ab, expected " in str(origin_problem("ab", SCHEMA))


@pytest.mark.parametrize("record_format", ["block", "row", "parquet"])
def test_a_shard_of_another_data_set_is_refused_where_it_is_read(
    shop, tmp_path, record_format
):
    if record_format == "parquet":
        pytest.importorskip("tensorflow_io")
    settings = PrepareConfig(min_frequency=1, record_format=record_format)
    for name in ("same", "zero"):
        columns = shop / f"{name}.yaml"
        prepare(
            [shop / "week1.csv"], tmp_path / name, replace(settings, columns=columns)
        )
    (shard,) = FeatureSchema.load(tmp_path / "same").split_shards("train")
    evaluate(shop / "model", tmp_path / "same")
    own_shard, other_shard = (tmp_path / name / shard.path for name in ("same", "zero"))
    assert own_shard.stat().st_size == other_shard.stat().st_size
    shutil.copy(other_shard, own_shard)
    with pytest.raises(InputError, match=re.escape(str(own_shard))):
        evaluate(shop / "model", tmp_path / "same")


def test_verify_names_a_block_of_another_data_set(shop, tmp_path):
    data = shutil.copytree(shop / "data", tmp_path / "data")
    schema = FeatureSchema.load(data)
    assert verify(data) == []
    path = schema.split_shards("train")[0].path
    shutil.copy(shop / "zero" / path, data / path)
    (problem,) = verify(data)
    assert f"{data / path}, record 0: its rows are of another data set" in problem
