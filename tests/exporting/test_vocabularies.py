"""The vocabularies of a data set travel with an exported model."""

import json

import polars as pl
import pytest

from tfdlrm.base.errors import InputError
from tfdlrm.config.models import FMConfig
from tfdlrm.data import vocabulary_files
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.data.vocabulary_files import read_vocabulary, write_vocabulary
from tfdlrm.exporting.saved_model import export_model
from tfdlrm.models import build_model

SCHEMA = FeatureSchema(
    ("I1",), (CategoricalFeature("C1", 4), CategoricalFeature("C2", 3))
)
VALUES = {"C1": [0x10, 0xABC], "C2": [7]}


@pytest.fixture
def data(tmp_path):
    directory = tmp_path / "data"
    directory.mkdir()
    for name, values in VALUES.items():
        ids = list(range(2, 2 + len(values)))
        frame = pl.DataFrame(
            {"value": values, "id": ids, "frequency": ids},
            {"value": pl.UInt32, "id": pl.Int32, "frequency": pl.Int64},
        )
        write_vocabulary(frame, directory, name)
    return directory


def write_model(data, directory):
    model = build_model(SCHEMA, FMConfig(embedding_dim=2))
    return export_model(model, SCHEMA, data, directory)


def test_a_vocabulary_is_read_from_the_data_set_once(data, tmp_path, monkeypatch):
    paths = []

    def read(path, sha256):
        paths.append(path)
        return path.read_bytes()

    monkeypatch.setattr(vocabulary_files, "checked_bytes", read)
    version = write_model(data, tmp_path / "models")
    of_data_set = [path.name for path in paths if path.is_relative_to(data)]
    assert sorted(of_data_set) == ["C1.parquet", "C2.parquet"]
    for name, values in VALUES.items():
        copy = read_vocabulary(version / "assets.extra", name, len(values))
        assert copy["value"].to_list() == values


def test_the_card_has_the_most_frequent_values(data, tmp_path):
    version = write_model(data, tmp_path / "models")
    card = json.loads((version / "assets.extra" / "model.json").read_text())
    assert card["example"] == {"I1": "1", "C1": "00000abc", "C2": "00000007"}


def test_a_missing_vocabulary_is_refused(data, tmp_path):
    (data / "vocabulary" / "C2.parquet").unlink()
    with pytest.raises(InputError, match=r"C2\.parquet cannot be read as a vocabulary"):
        write_model(data, tmp_path / "models")
    assert not list((tmp_path / "models").glob("[0-9]*"))


def test_a_vocabulary_of_another_data_set_is_refused(data, tmp_path):
    folder = data / "vocabulary"
    (folder / "C2.parquet").write_bytes((folder / "C1.parquet").read_bytes())
    with pytest.raises(InputError, match=r"C2\.parquet holds 2 values .* expected 1"):
        write_model(data, tmp_path / "models")


def test_without_vocabularies_a_model_takes_features_alone(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    version = write_model(tmp_path / "empty", tmp_path / "models")
    assert not (version / "assets.extra" / "vocabulary").exists()
    assert f"{tmp_path / 'empty'} holds no vocabularies" in capsys.readouterr().out
