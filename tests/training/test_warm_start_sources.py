"""What a run can begin with, and what is refused."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.two_days import (
    MODEL,
    begun,
    first_day,
    second_day,
    settings,
    stored,
    trained,
    values_of,
    warm_start,
)
from tfdlrm.base.checksums import seal, unseal
from tfdlrm.base.errors import InputError
from tfdlrm.checkpoints.directory import CheckpointDirectory
from tfdlrm.config import CheckpointConfig, OptimizerConfig
from tfdlrm.config.models import DeepFMConfig
from tfdlrm.data.meaning import Meaning
from tfdlrm.exporting.exported_weights import find_model
from tfdlrm.exporting.model_card import ModelCard
from tfdlrm.exporting.quantization import quantize_tables
from tfdlrm.exporting.saved_model import export_model
from tfdlrm.runs.beginning import open_source
from tfdlrm.training.same_architecture import require_same
from tfdlrm.training.trained_run import find_run


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    """The data set, schema, settings and model of the first day."""
    directory = tmp_path_factory.mktemp("first")
    schema = first_day(directory / "data")
    config = settings(
        directory / "run", checkpoints=CheckpointConfig(minutes=None, steps=2)
    )
    model = trained(directory / "data", schema, config)
    return directory / "data", schema, config, model


def next_config(first_run, directory, **changes):
    _, _, config, _ = first_run
    changes = {"init_from": config.run_dir, **changes}
    return replace(config, run_dir=directory / "next", seed=4, **changes)


def values_from(first_run, config, open_source=find_run):
    data_dir, schema, _, _ = first_run
    return values_of(begun(data_dir, schema, config, open_source)[0])


def assert_equal(values, expected, names=None):
    for name in names or expected:
        np.testing.assert_array_equal(values[name], expected[name], err_msg=name)


def test_one_checkpoint_of_a_run_is_taken(first_run, tmp_path):
    _, _, config, model = first_run
    newest, older = CheckpointDirectory(config.run_dir / "checkpoints").newest_first()
    values = values_from(first_run, next_config(first_run, tmp_path, init_from=newest))
    assert_equal(values, values_of(model))
    older_config = next_config(first_run, tmp_path, init_from=older)
    data_dir, schema, _, _ = first_run
    _, facts = begun(data_dir, schema, older_config)
    assert facts["steps"] == int(older.name.rpartition("-")[2]) < 5


def test_the_checkpoint_before_a_damaged_one_is_taken_and_nothing_is_renamed(
    first_run, tmp_path, capsys
):
    data_dir, schema, config, _ = first_run
    run_dir = shutil.copytree(config.run_dir, tmp_path / "copy")
    newest, older = CheckpointDirectory(run_dir / "checkpoints").newest_first()
    contents = bytearray((newest / "variables.pieces").read_bytes())
    contents[len(contents) // 2] ^= 1
    (newest / "variables.pieces").write_bytes(contents)
    _, facts = begun(
        data_dir, schema, next_config(first_run, tmp_path, init_from=run_dir)
    )
    assert facts["steps"] == int(older.name.rpartition("-")[2])
    assert f"{newest} is damaged" in capsys.readouterr().out
    assert newest.is_dir()
    with pytest.raises(InputError, match=rf"{newest} is damaged \(.*\): give the run"):
        begun(data_dir, schema, next_config(first_run, tmp_path, init_from=newest))


def test_a_run_without_a_readable_checkpoint_is_refused(first_run, tmp_path):
    data_dir, schema, config, _ = first_run
    run_dir = shutil.copytree(config.run_dir, tmp_path / "copy")
    for path in CheckpointDirectory(run_dir / "checkpoints").newest_first():
        (path / "state.json").write_text("{}")
    with pytest.raises(InputError, match="copy holds no checkpoint to begin from: "):
        warm_start(
            data_dir, schema, next_config(first_run, tmp_path, init_from=run_dir)
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": replace(MODEL, embedding_dim=8)},
            "has another architecture: model.embedding_dim is 4 there, 8 here",
        ),
        (
            {"model": replace(MODEL, normalization="batch")},
            "another architecture: model.normalization is null there, batch here",
        ),
        (
            {"model": replace(MODEL, activation="gelu")},
            "another architecture: model.activation is relu there, gelu here",
        ),
        (
            {"model": DeepFMConfig(embedding_dim=4)},
            "another architecture: model.name is dlrm there, deepfm here",
        ),
        (
            {"optimizer": OptimizerConfig("sgd")},
            "state of another optimizer: it is adagrad there, sgd here",
        ),
    ],
)
def test_another_architecture_or_optimizer_is_refused(
    changes, message, first_run, tmp_path
):
    data_dir, schema, _, _ = first_run
    with pytest.raises(InputError, match=message):
        warm_start(data_dir, schema, next_config(first_run, tmp_path, **changes))


@pytest.mark.parametrize(("dropout", "warm_up_steps"), [(0.0, 2), (0.5, 0)])
def test_settings_that_change_no_shape_may_change(
    dropout, warm_up_steps, first_run, tmp_path
):
    _, _, _, model = first_run
    model_config = replace(MODEL, dropout=dropout, embedding_l2=0.1, initial_bound=0.5)
    config = next_config(
        first_run,
        tmp_path,
        model=model_config,
        optimizer=OptimizerConfig("adagrad", 0.5, warm_up_steps),
        precision="mixed_float16",
    )
    data_dir, schema, _, _ = first_run
    next_model, facts = begun(data_dir, schema, config)
    assert facts["steps"] == 5
    for weight, expected in zip(next_model.weights, model.weights, strict=True):
        np.testing.assert_array_equal(weight, expected)
    for state, expected in zip(
        next_model.optimizer.inner_optimizer._accumulators,
        model.optimizer._accumulators,
        strict=True,
    ):
        np.testing.assert_array_equal(state, expected)
    rate = next_model.optimizer.inner_optimizer.learning_rate
    assert float(rate) == pytest.approx(0.5)


def test_a_column_that_passes_the_threshold_of_shared_rows_is_refused(tmp_path):
    schema = first_day(tmp_path / "day1")
    model = replace(MODEL, num_collisions=3, collision_threshold=12)
    day_1 = settings(tmp_path / "run", model=model)
    stored(schema, day_1)
    later = second_day(tmp_path / "day2", schema)
    day_2 = replace(day_1, run_dir=tmp_path / "next", init_from=day_1.run_dir)
    message = (
        r"column item had 11 ids there and has 12 here, .* "
        r"give --model.collision_threshold (\d+)"
    )
    with pytest.raises(InputError, match=message) as refusal:
        warm_start(tmp_path / "day2", later, day_2)
    threshold = int(re.search(message, str(refusal.value))[1])
    allowed = replace(day_2, model=replace(model, collision_threshold=threshold))
    _, facts = begun(tmp_path / "day2", later, allowed)
    assert {"table": "item", "rows": 12, "carried": 11, "new": 1, "unseen": 8} in facts[
        "tables"
    ]


def test_where_no_threshold_keeps_the_tables_none_is_named(tmp_path):
    schema = first_day(tmp_path / "day1")
    model = replace(MODEL, num_collisions=3, collision_threshold=12)
    day_1 = settings(tmp_path / "run", model=model)
    stored(schema, day_1)
    later = second_day(tmp_path / "day2", schema)
    user, item, country = later.categorical_features
    columns = user, replace(item, vocabulary_size=40), country
    sizes = {feature.name: feature.vocabulary_size for feature in columns}
    source = find_run(day_1.run_dir)
    with pytest.raises(InputError, match="no threshold keeps all tables as they are"):
        require_same(
            source,
            source.path,
            replace(day_1, run_dir=tmp_path / "next"),
            replace(later, categorical_features=columns),
            sizes | {"item": 11},
        )


def test_a_data_set_that_does_not_extend_the_runs_is_refused(first_run, tmp_path):
    _, schema, _, _ = first_run
    other = second_day(tmp_path / "other", schema)
    with pytest.raises(
        InputError,
        match=r"other does not extend the data set of .*run: column user: another "
        r"vocabulary \(20 values there, 23 here\); .* --extend",
    ):
        warm_start(
            tmp_path / "other",
            replace(other, chain=()),
            next_config(first_run, tmp_path),
        )
    with pytest.raises(InputError, match="label: column label there, clicked here"):
        warm_start(
            tmp_path / "other",
            replace(other, label="clicked", chain=()),
            next_config(first_run, tmp_path),
        )


def test_the_model_of_a_later_day_does_not_go_back(tmp_path):
    schema = first_day(tmp_path / "day1")
    later = second_day(tmp_path / "day2", schema)
    config = settings(tmp_path / "run")
    stored(later, config)
    back = replace(config, run_dir=tmp_path / "back", init_from=config.run_dir)
    with pytest.raises(InputError, match="day1 does not extend the data set of"):
        warm_start(tmp_path / "day1", schema, back)


@pytest.fixture(scope="module")
def version(first_run, tmp_path_factory):
    data_dir, schema, config, model = first_run
    from tfdlrm.training.run_directory import RunDirectory

    card = ModelCard(RunDirectory(config.run_dir).settings)
    directory = tmp_path_factory.mktemp("models") / "clicks"
    return export_model(model, schema, data_dir, directory, card)


@pytest.mark.parametrize("optimizer", ["adagrad", "lazy_adam"])
def test_the_weights_of_an_exported_model_are_taken_without_state(
    optimizer, version, first_run, tmp_path, capsys
):
    data_dir, schema, _, model = first_run
    config = next_config(
        first_run,
        tmp_path,
        init_from=version.parent,  # the newest
        optimizer=OptimizerConfig(optimizer),
    )
    next_model, facts = begun(data_dir, schema, config, find_model)
    assert facts["optimizer"] is None
    for weight, expected in zip(next_model.weights, model.weights, strict=True):
        np.testing.assert_array_equal(weight, expected)
    assert int(next_model.optimizer.iterations) == 0
    assert not np.any(next_model.optimizer.variables[-1])
    assert "the optimizer's state starts anew" in capsys.readouterr().out


def test_an_exported_model_meets_new_ids(version, first_run, tmp_path):
    _, schema, _, model = first_run
    later = second_day(tmp_path / "day2", schema)
    config = next_config(first_run, tmp_path, init_from=version)
    next_model, facts = begun(tmp_path / "day2", later, config, find_model)
    assert [table["carried"] for table in facts["tables"]] == [18, 11, 5]
    old_table = model.embeddings.tables[0].numpy()
    new_table = next_model.embeddings.tables[0].numpy()
    np.testing.assert_array_equal(new_table[:6], old_table[:6])  # u0 to u3
    np.testing.assert_array_equal(new_table[-5:], old_table[-5:])  # countries


def test_tables_of_8_bits_are_refused(first_run, tmp_path):
    data_dir, schema, _, model = first_run
    card = ModelCard(quantization="int8")
    version = export_model(
        model, schema, data_dir, tmp_path / "int8", card, quantize_tables(model)
    )
    config = next_config(first_run, tmp_path, init_from=version)
    with pytest.raises(InputError, match="has tables of 8 bits a number"):
        warm_start(data_dir, schema, config, find_model)


def test_the_architecture_of_a_model_without_settings_is_compared(first_run, tmp_path):
    data_dir, schema, _, model = first_run
    version = export_model(model, schema, data_dir, tmp_path / "model")
    config = next_config(first_run, tmp_path, init_from=version)
    assert_weights = values_from(first_run, config, find_model)
    assert_equal(assert_weights, values_of(model), ["variables/0", "variables/1"])
    for changes in (
        {"model": replace(MODEL, top_mlp_units=(9,))},
        {"model": replace(MODEL, top_mlp_units=(8, 8))},
        {"model": DeepFMConfig(embedding_dim=4)},
    ):
        other = replace(config, **changes)
        with pytest.raises(InputError, match="has another architecture: "):
            begun(data_dir, schema, other, find_model)


def test_a_damaged_version_is_refused(version, first_run, tmp_path):
    copy = shutil.copytree(version, tmp_path / "models" / "1")
    (data_file,) = (copy / "variables").glob("variables.data-*")
    contents = bytearray(data_file.read_bytes())
    contents[len(contents) // 2] ^= 1
    data_file.write_bytes(contents)
    with pytest.raises(InputError, match="it is damaged or still being copied"):
        find_model(copy)


def test_a_directory_with_nothing_to_begin_with_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "missing"):
        with pytest.raises(InputError, match=f"init_from {path} holds no weights: exp"):
            open_source(path)


@pytest.fixture(scope="module")
def early_stopped(tmp_path_factory):
    """A run that ended after its best step."""
    directory = tmp_path_factory.mktemp("early")
    schema = first_day(directory / "data")
    config = settings(
        directory / "run",
        epochs=30,
        early_stopping=2,
        optimizer=OptimizerConfig("adagrad", 0.3),
    )
    model = trained(directory / "data", schema, config)
    return directory / "data", schema, config, model


def test_a_run_that_stopped_early_gives_its_best_weights_and_their_state(
    early_stopped, tmp_path, capsys
):
    data_dir, schema, config, model = early_stopped
    later = replace(config, run_dir=tmp_path / "next", init_from=config.run_dir, seed=4)
    next_model, facts = begun(data_dir, schema, later)
    expected = values_of(model)  # which were put back
    del expected["variables/9"]  # of dropout, of which the file has nothing
    assert_equal(values_of(next_model), expected)
    newest = CheckpointDirectory(config.run_dir / "checkpoints").newest_state()
    assert facts["steps"] == int(model.optimizer.iterations) < newest["step"]
    output = capsys.readouterr().out
    assert "has early stopping: its best weights are carried over" in output


def test_best_weights_meet_new_ids(early_stopped, tmp_path):
    _, schema, config, model = early_stopped
    later = second_day(tmp_path / "day2", schema)
    changes = {"init_from": config.run_dir, "early_stopping": None}
    day_2 = replace(
        config, run_dir=tmp_path / "next", model=replace(MODEL, dropout=0.0), **changes
    )
    next_model, _ = begun(tmp_path / "day2", later, day_2)
    for new, old in (
        (next_model.embeddings.tables[0], model.embeddings.tables[0]),
        *zip(
            next_model.optimizer._accumulators,
            model.optimizer._accumulators,
            strict=True,
        ),
    ):
        np.testing.assert_array_equal(new.numpy()[:6], old.numpy()[:6])
        np.testing.assert_array_equal(new.numpy()[-5:], old.numpy()[-5:])
    np.testing.assert_array_equal(
        next_model.top_mlp.dense_layers[0].kernel, model.top_mlp.dense_layers[0].kernel
    )


def test_damaged_best_weights_are_refused(early_stopped, tmp_path):
    _, _, config, _ = early_stopped
    run_dir = shutil.copytree(config.run_dir, tmp_path / "copy")
    path = run_dir / "best.weights.h5"
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 4
    path.write_bytes(contents)
    with pytest.raises(InputError, match=r"best\.weights\.h5 is damaged: its SHA"):
        find_run(run_dir)


def test_a_run_of_an_earlier_release_is_known_by_its_data_set(first_run, tmp_path):
    data_dir, schema, config, _ = first_run
    run_dir = shutil.copytree(config.run_dir, tmp_path / "copy")
    for path in CheckpointDirectory(run_dir / "checkpoints").newest_first():
        state = unseal((path / "state.json").read_text())
        del state["meaning"]
        (path / "state.json").write_text(seal(state))
    source = find_run(run_dir)
    with pytest.raises(InputError, match="does not say what its ids mean: put its"):
        _ = source.meaning
    shutil.copytree(data_dir, tmp_path / "data")
    schema.save(tmp_path / "data")
    source.config = replace(source.config, data_dir=tmp_path / "data")
    with pytest.raises(InputError, match="does not say what its ids mean: put its"):
        _ = source.meaning
    source.state["data_set"] = schema.fingerprint
    assert source.meaning == Meaning.of(schema)


def test_what_a_run_learned_from_a_stream_is_taken(first_run, tmp_path):
    data_dir, schema, config, model = first_run
    run_dir = shutil.copytree(config.run_dir, tmp_path / "run")
    newest, older = CheckpointDirectory(run_dir / "checkpoints").newest_first()
    (run_dir / "stream" / "checkpoints").mkdir(parents=True)
    newest.rename(run_dir / "stream" / "checkpoints" / newest.name)
    stream = next_config(first_run, tmp_path, init_from=run_dir / "stream")
    assert_equal(values_from(first_run, stream), values_of(model))
    _, facts = begun(data_dir, schema, replace(stream, init_from=run_dir))
    assert facts["steps"] == int(older.name.rpartition("-")[2])


def test_links_and_relative_paths_lead_to_a_run(first_run, tmp_path, monkeypatch):
    _, _, config, _ = first_run
    newest = CheckpointDirectory(config.run_dir / "checkpoints").newest_first()[0]
    for target in (newest, config.run_dir):
        link = tmp_path / f"link to {target.name}"
        link.symlink_to(target)
        assert find_run(link).path == link
    for folder, path in (
        (config.run_dir, "."),
        (config.run_dir, "checkpoints"),
        (newest.parent, newest.name),
    ):
        monkeypatch.chdir(folder)
        assert find_run(Path(path)).config == config
    for name in ("report.md", "events", "checkpoints/step-0000000099", "config.yaml"):
        assert find_run(config.run_dir / name) is None
