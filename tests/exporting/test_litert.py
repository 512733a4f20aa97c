"""Files for LiteRT compute as the model does, and refuse what cannot be scored."""

import numpy as np
import pytest

from tests.support.serving_thread import embedded, post
from tfdlrm.base.errors import InputError
from tfdlrm.data.reading import read_split
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.export import ExportCommand, export
from tfdlrm.exporting import litert
from tfdlrm.exporting.litert import interpreter_class
from tfdlrm.exporting.scorer import load_scorer
from tfdlrm.serving.loading import Loading
from tfdlrm.serving.policies import ModelSettings
from tfdlrm.serving.server import ServerSettings


@pytest.fixture(scope="module")
def versions(config):
    """Versions for LiteRT, with tables as they are and with 8 bits a number."""
    parent = config.run_dir.parent
    return {
        quantize: export(
            ExportCommand(config.run_dir, parent / quantize, "litert", quantize)
        )
        for quantize in ("none", "int8")
    }


@pytest.fixture(scope="module")
def rows(config):
    schema = FeatureSchema.load(config.data_dir)
    (features, _), *_ = read_split(config.data_dir, schema, "test", 300)
    return {
        "dense_features": features["dense_features"].numpy(),
        "categorical_features": features["categorical_features"].numpy().astype(int),
    }


def score(version, rows):
    content = (version / "model.tflite").read_bytes()
    interpreter = interpreter_class()(model_content=content)
    return interpreter.get_signature_runner("serving_default")(**rows)["probability"]


def test_a_file_scores_as_the_saved_model(config, versions, rows):
    assert versions["none"].name == "1"
    expected = load_scorer(config.export_dir)(rows)
    answers = score(versions["none"], rows)
    assert answers.shape == (len(rows["dense_features"]), 1)
    np.testing.assert_allclose(answers, expected, rtol=1e-5, atol=1e-6)


def test_tables_of_8_bits_take_less_room_and_score_nearly_the_same(versions, rows):
    sizes = {
        name: (version / "model.tflite").stat().st_size
        for name, version in versions.items()
    }
    assert sizes["int8"] < sizes["none"]
    exact, near = (score(versions[name], rows) for name in ("none", "int8"))
    assert 0 < np.abs(exact - near).max() < 0.01


@pytest.fixture(scope="module")
def url(versions):
    settings = ServerSettings(
        [ModelSettings("clicks", versions["int8"].parent)],
        poll_seconds=0,
        loading=Loading(prefers_litert=True),
    )
    with embedded(settings) as server:
        yield f"{server.url}/v1/models/clicks:predict"


def ask(url, dense, ids):
    inputs = {"dense_features": dense.tolist(), "categorical_features": ids.tolist()}
    return post(url, {"inputs": inputs})


def test_the_server_answers_by_it(url, versions, rows):
    status, answer = ask(url, rows["dense_features"], rows["categorical_features"])
    assert status == 200
    expected = score(versions["int8"], rows)
    np.testing.assert_allclose(answer["outputs"], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("dense", "ids"),
    [
        ((2, 12), (2, 26)),
        ((2, 26), (2, 26)),
        ((2, 1), (2, 26)),
        ((2, 13), (2, 1)),
        ((2, 13), (2, 25)),
        ((2, 13), (1, 26)),
        ((1, 13), (26,)),
        ((13, 2), (26, 2)),
    ],
)
def test_other_shapes_get_no_number(url, dense, ids):
    status, answer = ask(url, np.zeros(dense), np.zeros(ids, int))
    assert (status, answer.keys()) == (400, {"error"})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(url, bad):
    dense = np.zeros((2, 13))
    dense[1, 4] = bad
    status, answer = ask(url, dense, np.zeros((2, 26), int))
    assert (status, answer.keys()) == (400, {"error"})
    assert ask(url, np.zeros((2, 13)), np.zeros((2, 26), int))[0] == 200


def test_ids_outside_their_vocabularies_are_refused(url, config):
    sizes = FeatureSchema.load(config.data_dir).vocabulary_sizes
    for bad in (-1, sizes[1], sizes[1] + 5, 2**31, 2**32, 2**40):
        ids = np.zeros((2, 26), int)
        ids[1, 1] = bad
        status, answer = ask(url, np.zeros((2, 13)), ids)
        assert (status, answer.keys()) == (400, {"error"}), bad
    ids[1, 1] = sizes[1] - 1
    assert ask(url, np.zeros((2, 13)), ids)[0] == 200


@pytest.mark.slow
def test_what_litert_computes_otherwise_is_refused(config, tmp_path, monkeypatch):
    monkeypatch.setattr(litert, "LARGEST_DIFFERENCE", -1.0)
    with pytest.raises(InputError, match="its probability differs by up to"):
        export(ExportCommand(config.run_dir, tmp_path / "m", "litert"))
    assert not list((tmp_path / "m").glob("[0-9]*"))


@pytest.mark.slow
def test_a_model_beyond_the_size_of_a_file_is_refused(config, tmp_path, monkeypatch):
    monkeypatch.setattr(litert, "MOST_BYTES", 1000)
    with pytest.raises(InputError, match="bytes, expected <= 1,000; give --quantize"):
        export(ExportCommand(config.run_dir, tmp_path / "m", "litert"))


@pytest.mark.slow
def test_it_does_not_stand_among_saved_models(config):
    with pytest.raises(InputError, match="cannot use a LiteRT file among them"):
        export(ExportCommand(config.run_dir, config.export_dir, "litert"))
    with pytest.raises(InputError, match="format is litert, which deployment"):
        ExportCommand(config.run_dir, None, "litert", deployment=config.run_dir)
