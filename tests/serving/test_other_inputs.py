"""A version whose inputs differ from the served one's takes over only on request."""

import logging
import shutil
from dataclasses import replace

import pytest
import tensorflow as tf

from tests.support.served_model import save_kinds, save_scores
from tests.support.serving_thread import embedded, get
from tfdlrm.base.command_line import parse
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.serve import settings
from tfdlrm.serving.flags import RENAMED, ServeCommand
from tfdlrm.serving.metrics import Metrics
from tfdlrm.serving.models import Models
from tfdlrm.serving.policies import ModelSettings, VersionPolicy
from tfdlrm.serving.server import ServerSettings

WIDE = {"a": tf.TensorSpec([None, 3], tf.float32), "b": tf.TensorSpec([None], tf.int64)}


def save(path, inputs, signature="serving_default"):
    """Write a version that takes these inputs."""
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32)])
    def unused(x):
        return x

    def answer(**tensors):
        rows = tf.shape(next(iter(tensors.values())))[0]
        return {"probability": tf.zeros([rows, 1])}

    specs = {
        name: tf.TensorSpec(spec.shape, spec.dtype, name)
        for name, spec in inputs.items()
    }
    module.unused = unused
    function = tf.function(answer).get_concrete_function(**specs)
    tf.saved_model.save(module, str(path), signatures={signature: function})


def models_of(path, policy=None, **options):
    model_settings = ModelSettings("m", path, policy or VersionPolicy())
    models = Models([model_settings], Metrics(), **options)
    models.load()
    return models.model("m")


@pytest.mark.slow_variants
@pytest.mark.parametrize(
    ("new", "message"),
    [
        ({"a": WIDE["a"]}, "serving_default has no input b"),
        (WIDE | {"c": WIDE["b"]}, "serving_default requires the input c"),
        (
            WIDE | {"a": tf.TensorSpec([None, 4], tf.float32)},
            "serving_default takes a as float32 [-1, 4], not as float32 [-1, 3]",
        ),
        (
            WIDE | {"b": tf.TensorSpec([None], tf.string)},
            "serving_default takes b as string [-1], not as int64 [-1]",
        ),
        (
            WIDE | {"b": tf.TensorSpec([None, 1], tf.int64)},
            "serving_default takes b as int64 [-1, 1], not as int64 [-1]",
        ),
    ],
    ids=["missing", "further", "width", "type", "rank"],
)
def test_other_inputs_do_not_take_over(tmp_path, caplog, new, message):
    save(tmp_path / "1", WIDE)
    model = models_of(tmp_path)
    save(tmp_path / "2", new)
    caplog.clear()
    for _ in range(3):
        model.refresh()
    assert model.available == [1]
    records = [
        entry for entry in caplog.records if "inputs differ" in entry.getMessage()
    ]
    (record,) = records  # once, not at every look
    assert record.levelno == logging.WARNING and message in record.getMessage()
    assert message in model.statuses[2].error.message
    # The next version is compared too.
    save(tmp_path / "3", WIDE)
    model.refresh()
    assert model.available == [3]


def test_shapes_that_take_more_and_further_signatures_take_over(tmp_path):
    save(tmp_path / "1", WIDE)
    model = models_of(tmp_path)
    save(tmp_path / "2", WIDE | {"a": tf.TensorSpec([None, None], tf.float32)})
    model.refresh()
    assert model.available == [2]
    save(tmp_path / "3", WIDE)
    model.refresh()
    assert model.available == [2]


def test_another_signature_is_other_inputs(tmp_path):
    save(tmp_path / "1", WIDE)
    model = models_of(tmp_path)
    save(tmp_path / "2", WIDE, signature="raw")
    model.refresh()
    assert "it has no signature serving_default" in model.statuses[2].error.message


def test_what_clients_do_without_may_be_missing(tmp_path):
    save(tmp_path / "1", WIDE, signature="coverage")
    model = models_of(tmp_path)
    save(tmp_path / "2", WIDE)
    model.refresh()
    assert model.available == [2]


def test_a_server_that_starts_serves_the_newest(tmp_path):
    save_scores(tmp_path / "1")
    save_kinds(tmp_path / "2")
    assert models_of(tmp_path).available == [2]
    assert models_of(tmp_path, VersionPolicy("all")).available == [2, 1]


@pytest.mark.slow_variants
@pytest.mark.parametrize(
    ("policy", "options", "served"),
    [
        (VersionPolicy(), {"takes_other_inputs": True}, [2]),
        (VersionPolicy("specific", versions=(1, 2)), {}, [2, 1]),
        (VersionPolicy("all"), {}, [1]),
        (VersionPolicy("latest", count=2), {}, [1]),
    ],
    ids=["told so", "by its number", "all", "two"],
)
def test_other_inputs_take_over_where_they_are_asked_for(
    tmp_path, policy, options, served
):
    save_scores(tmp_path / "1")
    model = models_of(tmp_path, policy, **options)
    save_kinds(tmp_path / "2")
    model.refresh()
    assert model.available == served


def test_going_back_to_other_inputs_needs_no_option(tmp_path):
    save_scores(tmp_path / "1")
    save_kinds(tmp_path / "2")
    model = models_of(tmp_path)
    shutil.rmtree(tmp_path / "2")
    model.refresh()
    assert model.available == [1]


def test_removing_the_old_version_does_not_let_other_inputs_in(tmp_path):
    save_scores(tmp_path / "1")
    model = models_of(tmp_path)
    save_kinds(tmp_path / "2")
    shutil.rmtree(tmp_path / "1")
    for _ in range(2):
        model.refresh()
    assert model.available == [1]


def add_columns(version, **changes):
    """Write the columns of a version, as if tfdlrm had exported it."""
    columns = FeatureSchema(("a",), (CategoricalFeature("b", 9),))
    (version / "assets.extra").mkdir()
    replace(columns, **changes).save(version / "assets.extra")


@pytest.mark.slow_variants
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": "bought"}, "label: column label there, bought here"),
        ({"vocabulary_contents": {"b": "d" * 64}}, "column b: another vocabulary"),
        ({"untransformed": ("a",)}, "column a: transform log1p there, none here"),
    ],
)
def test_other_columns_behind_equal_signatures_do_not_take_over(
    tmp_path, changes, message
):
    save_scores(tmp_path / "1")
    add_columns(tmp_path / "1", vocabulary_contents={"b": "c" * 64})
    model = models_of(tmp_path)
    shutil.rmtree(tmp_path / "1")  # as by export --keep 1
    save_scores(tmp_path / "2")
    add_columns(tmp_path / "2", **{"vocabulary_contents": {"b": "c" * 64}} | changes)
    model.refresh()
    assert model.available == [1]
    assert message in model.statuses[2].error.message
    save_scores(tmp_path / "3")
    add_columns(tmp_path / "3", vocabulary_contents={"b": "c" * 64})
    model.refresh()
    assert model.available == [3]


def test_the_option_for_other_inputs_goes_on_working():
    for name in ("allow_other_inputs", "allow_other_columns"):
        argv = ["--model_base_path", "models", f"--{name}"]
        command = parse(ServeCommand, "tfdlrm.serve", argv, renamed=RENAMED)
        assert settings(command).takes_other_inputs


def test_the_status_says_what_differs(tmp_path):
    save_scores(tmp_path / "1")
    models = [ModelSettings("m", tmp_path)]
    with embedded(ServerSettings(models, poll_seconds=0)) as server:
        save_kinds(tmp_path / "2")
        server.models.model("m").refresh()
        _, answer = get(f"{server.url}/v1/models/m")
    new, old = answer["model_version_status"]
    assert (new["version"], new["state"]) == ("2", "END")
    assert new["status"]["error_code"] == "FAILED_PRECONDITION"
    assert "inputs differ from those of version 1" in new["status"]["error_message"]
    assert "--allow_other_columns" in new["status"]["error_message"]
    assert (old["version"], old["state"]) == ("1", "AVAILABLE")
