"""The walk through one row, against the same computed by hand in float64."""

import io

import nbclient
import nbformat
import numpy as np
import pytest
from rich.console import Console

from tests.support.processes import ROOT, run_command_line
from tfdlrm.training.one_step import OneStep
from tfdlrm.walkthrough import WIDTH, walk_through


@pytest.fixture(scope="module")
def step():
    return OneStep()


def relu(values):
    return np.maximum(values, 0)


def weights_of(step):
    """Return the weights before the step: tables, then each layer's kernel and bias."""
    layers = [layer for mlp in (step.bottom, step.top) for layer in mlp]
    return [
        *(table.astype(np.float64) for table in step.tables),
        *(
            layer[name].astype(np.float64)
            for layer in layers
            for name in ("kernel", "bias")
        ),
    ]


def by_hand(weights, step):
    """Return the loss, its gradient by every weight, and all values between."""
    table0, table1, w0, b0, w1, b1, w2, b2, w3, b3 = weights
    x = np.log(np.array(step.row.counts) + 1)
    country, product = 2, 0  # of ("fr", "us", "de", "jp") and ("book", "toy", "game")
    a0 = x @ w0 + b0
    a1 = relu(a0) @ w1 + b1
    z, e0, e1 = relu(a1), table0[country], table1[product]
    pairs = np.array([e0 @ z, e1 @ z, e1 @ e0])
    top_inputs = np.concatenate([z, pairs])
    a2 = top_inputs @ w2 + b2
    logit = (relu(a2) @ w3 + b3)[0]
    p = 1 / (1 + np.exp(-logit))

    d_logit = p - step.row.label
    d_a2 = d_logit * w3[:, 0] * (a2 > 0)
    d_top_inputs = w2 @ d_a2
    d_pairs = d_top_inputs[3:]
    d_z = d_top_inputs[:3] + d_pairs[0] * e0 + d_pairs[1] * e1
    d_e0 = d_pairs[0] * z + d_pairs[2] * e1
    d_e1 = d_pairs[1] * z + d_pairs[2] * e0
    d_a1 = d_z * (a1 > 0)
    d_a0 = (w1 @ d_a1) * (a0 > 0)
    d_table0, d_table1 = np.zeros_like(table0), np.zeros_like(table1)
    d_table0[country], d_table1[product] = d_e0, d_e1
    gradients = [
        *(d_table0, d_table1, np.outer(x, d_a0), d_a0, np.outer(relu(a0), d_a1), d_a1),
        *(np.outer(top_inputs, d_a2), d_a2, np.outer(relu(a2), d_logit), [d_logit]),
    ]
    numbers = {
        "dense": x,
        "vectors": np.stack([z, e0, e1]),
        "pairs": pairs,
        "logit": logit,
        "probability": p,
        "loss": -np.log(p),
        "logit_gradient": d_logit,
        "pair_gradients": d_pairs,
        "row_gradient": d_e0,
        "row_before": e0,
        "row_after": e0 - step.learning_rate * d_e0,
    }
    return numbers, gradients


def test_every_number_is_what_numpy_makes_of_the_weights(step):
    expected, _ = by_hand(weights_of(step), step)
    for name, values in expected.items():
        np.testing.assert_allclose(
            getattr(step, name), values, rtol=1e-5, atol=1e-6, err_msg=name
        )


def test_the_step_moves_all_weights_by_their_gradients(step):
    weights = weights_of(step)
    _, gradients = by_hand(weights, step)
    moved = [
        weight - step.learning_rate * np.array(gradient)
        for weight, gradient in zip(weights, gradients, strict=True)
    ]
    expected, _ = by_hand(moved, step)
    np.testing.assert_allclose(step.loss_after, expected["loss"], rtol=1e-5)
    assert step.loss_after < step.loss


def test_the_values_are_indices_and_offsets_too(step):
    assert [indices.tolist() for indices in step.columns.indices] == [[2], [0]]
    assert step.columns.offsets.tolist() == [[0], [0]]


def test_what_is_printed_fits_80_columns_and_has_the_numbers(step):
    text = io.StringIO()
    walk_through(step, Console(file=text, width=WIDTH))
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    expected, _ = by_hand(weights_of(step), step)
    for name in ("logit", "loss", "logit_gradient"):
        assert f"{expected[name]:.4f}" in text.getvalue()
    for name in ("pairs", "row_gradient", "row_before", "row_after"):
        assert ", ".join(f"{value:.4f}" for value in expected[name]) in text.getvalue()


@pytest.mark.slow
def test_the_command_prints_no_escape_codes_into_a_file():
    process = run_command_line("python -m tfdlrm.walkthrough", cwd=ROOT)
    assert process.returncode == 0
    assert "\x1b" not in process.stdout
    assert "8. The step" in process.stdout


@pytest.mark.slow
def test_the_notebook_runs():
    notebook = nbformat.read(ROOT / "docs" / "walkthrough.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    nbclient.NotebookClient(
        notebook, kernel_name="python3", resources={"metadata": {"path": ROOT}}
    ).execute()
    last_output = notebook.cells[-1].outputs[-1]
    assert "loss falls" in last_output["text"]
