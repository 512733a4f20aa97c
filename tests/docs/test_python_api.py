"""From Python: the first lines of the README, the API page and the notebook."""

import os
import re
import subprocess
import sys

import nbclient
import nbformat
import numpy as np
import pandas as pd
import pytest

from tests.docs.test_pages import blocks
from tests.support.processes import ROOT

ROWS = 9_000
COLUMNS = "label: clicked\ndense: [price]\ncategorical: [user, film]\n"


@pytest.fixture
def log(tmp_path, monkeypatch):
    """Stand in a folder with clicks.csv, whose users like every other film."""
    rng = np.random.default_rng(0)
    user, film = rng.integers(200, size=ROWS), rng.integers(20, size=ROWS)
    is_clicked = rng.random(ROWS) < np.where((user + film) % 2, 0.8, 0.2)
    frame = pd.DataFrame(
        {
            "clicked": is_clicked.astype(int),
            "user": [f"user {number}" for number in user],
            "film": [f"film {number}" if number else "Alien" for number in film],
            "price": rng.gamma(2, 4, ROWS).round(2),
        }
    )
    frame.to_csv(tmp_path / "clicks.csv", index=False)
    (tmp_path / "columns.yaml").write_text(COLUMNS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(document, example):
    names = {}
    exec(compile(example, document, "exec"), names)
    return names


@pytest.mark.slow
def test_the_first_lines_of_the_readme_train_a_model_that_explains_itself(log, capsys):
    example, _ = blocks("README.md", "python")
    statements = [line for line in example.splitlines() if line]
    assert len(statements) <= 10
    names = run("README.md", example)
    output = capsys.readouterr().out
    assert "'auc'" in output
    assert "contribution" in output
    assert "vector" in output
    (probability,) = names["model"].score([names["row"]])
    assert 0 < probability < 1
    assert (log / "saved_models" / "films" / "1" / "saved_model.pb").is_file()


@pytest.mark.slow
def test_the_functions_of_the_api_page_run(log):
    example, *_ = blocks("docs/api.md", "python")
    names = run("docs/api.md", example)
    assert names["version"].parent.name == "first"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "package", "needed"),
    [(1, "mlflow", "sqlalchemy"), (2, "wandb", "wandb")],
)
def test_the_trackers_of_the_api_page_get_a_run(number, package, needed, log):
    for name in (package, needed):
        pytest.importorskip(name, reason=f"{name} is not installed")
    examples = blocks("docs/api.md", "python")
    preparing = examples[0].partition("config = ")[0]
    (log / "example.py").write_text(f"{preparing}\n{examples[number]}")
    environment = {
        **os.environ,
        "WANDB_MODE": "offline",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    del environment["TF_USE_LEGACY_KERAS"]  # of the tests, for other packages
    command = [sys.executable, "example.py"]
    subprocess.run(command, cwd=log, env=environment, check=True, timeout=500)
    assert (log / "runs" / package / "report.md").is_file()
    assert (log / package).is_dir() or (log / f"{package}.db").is_file()


@pytest.mark.slow
def test_the_notebook_runs():
    notebook = nbformat.read(ROOT / "docs" / "python_api.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    nbclient.NotebookClient(
        notebook, kernel_name="python3", resources={"metadata": {"path": ROOT}}
    ).execute()
    printed = "".join(
        output.get("text", "")
        for cell in notebook.cells
        for output in cell.get("outputs", ())
    )
    assert float(re.search(r"AUC (0\.\d+)", printed)[1]) > 0.7
    assert int(re.search(r"nearest to horror 3: (\d+)%", printed)[1]) > 60
