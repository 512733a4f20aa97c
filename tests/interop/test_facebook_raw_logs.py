"""A model of the PyTorch reference scores raw logs here."""

import numpy as np
import polars as pl
import pytest

from pipelines.prepare import prepare
from tests.interop.test_facebook import make_state
from tfdlrm.config import PrepareConfig
from tfdlrm.exporting.saved_model import export_model
from tfdlrm.interop.facebook import to_keras
from tfdlrm.predict import PredictCommand, predict

MAX_INDEX_RANGE = 40


def reference_rows(raw):
    """Return dense features and ids by the reference's rules, in plain Python."""
    numbers = [{} for _ in range(26)]
    dense, ids = [], []
    for line in raw.read_text().splitlines():
        fields = line.split("\t")[1:]
        dense.append([np.log(max(int(text or 0), 0) + 1) for text in fields[:13]])
        hashes = [int(text or "0", 16) % MAX_INDEX_RANGE for text in fields[13:]]
        # In the order in which values are first seen.
        ids.append(
            [n.setdefault(h, len(n)) for n, h in zip(numbers, hashes, strict=True)]
        )
    return np.array(dense), np.array(ids), [len(text) for text in numbers]


def reference_scores(state, dense, ids):
    """Return the scores of the reference's forward pass in float64."""

    def layer(name, values):
        weight, bias = (
            state[f"{name}.{part}"].astype(float) for part in ("weight", "bias")
        )
        return values @ weight.T + bias

    def mlp(name, values, final_activation):
        return final_activation(layer(f"{name}.2", relu(layer(f"{name}.0", values))))

    def relu(values):
        return np.maximum(values, 0)

    def sigmoid(values):
        return 1 / (1 + np.exp(-values))

    bottom = mlp("bot_l", dense, relu)
    tables = [state[f"emb_l.{i}.weight"].astype(float)[ids[:, i]] for i in range(26)]
    vectors = np.stack([bottom, *tables], axis=1)
    rows, columns = np.tril_indices(27, -1)
    pairs = (vectors @ vectors.transpose(0, 2, 1))[:, rows, columns]
    return mlp("top_l", np.concatenate([bottom, pairs], axis=1), sigmoid)[:, 0]


@pytest.mark.slow
def test_scores_of_raw_logs_are_the_references(raw_file, tmp_path):
    config = PrepareConfig(dialect="facebook", max_index_range=MAX_INDEX_RANGE)
    schema = prepare([raw_file], tmp_path / "data", config)
    dense, ids, sizes = reference_rows(raw_file)
    assert schema.vocabulary_sizes == sizes
    state = make_state(sizes, num_dense=13, top=(4 + 27 * 26 // 2, 16, 1))
    state = {name: array * np.float32(0.1) for name, array in state.items()}
    model = export_model(to_keras(state), schema, tmp_path / "data", tmp_path / "model")
    raw = tmp_path / "unlabelled.tsv"
    lines = raw_file.read_text().splitlines()
    raw.write_text("".join(line.partition("\t")[2] + "\n" for line in lines))
    predict(PredictCommand(model, raw, tmp_path / "scores.csv"))
    probabilities = pl.read_csv(tmp_path / "scores.csv")["probability"].to_numpy()
    np.testing.assert_allclose(
        probabilities, reference_scores(state, dense, ids), rtol=1e-5
    )
