"""Choosing a model, and its size in closed form."""

from pathlib import Path
from typing import get_args

import pytest
import tensorflow as tf

from pipelines.synthetic import KAGGLE_VOCABULARY_SIZES
from tests.support.small_models import schema
from tfdlrm.base.command_line import parse
from tfdlrm.base.errors import InputError
from tfdlrm.config import TrainConfig
from tfdlrm.config.models import (
    DCNConfig,
    DCNV2Config,
    DeepFMConfig,
    DLRMConfig,
    FMConfig,
    LogisticRegressionConfig,
    MFConfig,
    MLPConfig,
    ModelConfig,
)
from tfdlrm.models import build_model

CONFIGS = Path(__file__).parents[2] / "configs"


def closed_form(config, num_rows, num_dense=13, num_categorical=26):
    """Return the number of parameters of a model, by arithmetic alone."""
    dim = getattr(config, "embedding_dim", 0)
    width = num_dense + num_categorical * dim

    def mlp(inputs, *units):
        sides = zip((inputs, *units), units, strict=False)
        return sum((a + 1) * b for a, b in sides)

    linear = num_rows + num_dense + 1
    if isinstance(config, DCNConfig | DCNV2Config):
        cross = 2 * width
        if isinstance(config, DCNV2Config):
            cross = (2 * config.rank if config.rank else width) * width + width
        return (
            num_rows * dim
            + config.num_cross_layers * cross
            + mlp(width, *config.deep_units)
            + mlp(width + config.deep_units[-1], 1)
        )
    if isinstance(config, MLPConfig):
        return num_rows * dim + mlp(width, *config.units, 1)
    if isinstance(config, LogisticRegressionConfig):
        return linear
    factors = (num_rows + num_dense) * dim
    if isinstance(config, FMConfig):
        return linear + factors
    fields = (num_dense + num_categorical) * dim
    return linear + factors + mlp(fields, *config.deep_units, 1)


@pytest.mark.parametrize(
    "config",
    [
        DCNConfig(),
        DCNV2Config(),
        DCNV2Config(rank=64),
        FMConfig(),
        DeepFMConfig(),
        LogisticRegressionConfig(),
        MLPConfig(),
    ],
    ids=lambda config: config.name,
)
@pytest.mark.slow
def test_parameters_of_kaggle_size_are_those_of_the_closed_form(config):
    with tf.Graph().as_default():  # shapes without values: the tables take 2 GB
        model = build_model(schema(13, KAGGLE_VOCABULARY_SIZES), config)
        expected = closed_form(config, sum(KAGGLE_VOCABULARY_SIZES))
        assert model.count_params() == expected


def model_of(path):
    return parse(TrainConfig, "tfdlrm.train", ["--config", str(path)]).model


def test_the_articles_deep_and_cross_has_about_540_million_parameters():
    config = model_of(CONFIGS / "criteo_kaggle_dcn.yaml")
    assert config == DCNConfig(
        embedding_dim=16, num_cross_layers=6, deep_units=(512, 256)
    )
    assert closed_form(config, sum(KAGGLE_VOCABULARY_SIZES)) == 540_558_554


@pytest.mark.parametrize(
    "path", CONFIGS.glob("criteo_kaggle*.yaml"), ids=lambda path: path.stem
)
@pytest.mark.slow
def test_a_configuration_says_how_many_parameters_it_has_at_kaggle_size(path):
    with tf.Graph().as_default():
        model = build_model(schema(13, KAGGLE_VOCABULARY_SIZES), model_of(path))
        assert f"has {model.count_params():,} parameters" in path.read_text()


def test_every_model_has_a_configuration_at_kaggle_size():
    names = {model_of(path).name for path in CONFIGS.glob("criteo_kaggle*.yaml")}
    assert names == {config_class.name for config_class in get_args(ModelConfig)}


@pytest.mark.parametrize(
    ("arguments", "config"),
    [
        ([], DLRMConfig()),
        (
            ["--model.name", "dcn", "--model.deep_units", "[3]"],
            DCNConfig(deep_units=(3,)),
        ),
        (
            ["--model.name=mf", "--model.user=C1", "--model.item=C2"],
            MFConfig("C1", "C2"),
        ),
    ],
)
def test_a_model_is_chosen_by_its_name(arguments, config):
    assert parse(TrainConfig, "tfdlrm.train", arguments).model == config


def test_the_command_line_chooses_over_the_file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("model: {name: fm, embedding_dim: 7}\n")
    from_file = ["--config", str(path)]
    assert parse(TrainConfig, "tfdlrm.train", from_file).model == FMConfig(
        embedding_dim=7
    )
    path.write_text("epochs: 2\n")
    both = parse(TrainConfig, "tfdlrm.train", [*from_file, "--model.name", "mlp"])
    assert (both.model, both.epochs) == (MLPConfig(), 2)


def test_normalization_and_activation_are_named(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("model: {name: deepfm, normalization: batch, activation: silu}\n")
    model = parse(TrainConfig, "tfdlrm.train", ["--config", str(path)]).model
    assert model == DeepFMConfig(normalization="batch", activation="silu")
    arguments = ["--config", str(path), "--model.normalization", "null"]
    assert parse(TrainConfig, "tfdlrm.train", arguments).model.normalization is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model.name", "dcm"], "model.name is 'dcm', expected one of dlrm, dcn,"),
        (["--model.name", "fm", "--model.dropout", "0.5"], "model.dropout"),
        (["--model.name", "mf"], "model.user"),
        (["--model.name", "dcn", "--model.deep_units", "[]"], "deep_units is []"),
        (["--model.name", "dcn_v2", "--model.rank", "0"], "rank is 0"),
        (
            ["--model.interaction", "concatenate", "--model.self_interaction", "true"],
            "self_interaction is true",
        ),
        (["--model.collision_threshold", "9"], "expected 0 without num_collisions"),
        (["--model.normalization", "group"], "model.normalization is 'group'"),
        (["--model.activation", "swish"], "model.activation is 'swish', expected"),
        (
            [
                "--model.name=dcn",
                "--model.deep_units=[8]",
                "--model.normalization=batch",
            ],
            "normalization is batch, expected null where no hidden layer comes",
        ),
        (
            ["--model.name=mlp", "--model.units=[8,1]", "--model.normalization=layer"],
            "normalization is layer, expected batch or null where a hidden layer has",
        ),
        (
            ["--model.normalization=batch", "--batch_size=1"],
            "batch_size is 1, expected >= 2 with model.normalization batch",
        ),
    ],
)
def test_settings_of_another_model_are_refused(arguments, message):
    with pytest.raises(InputError) as error:
        parse(TrainConfig, "tfdlrm.train", arguments)
    assert message in str(error.value)
