"""The site: the messages and settings that it lists are those of the code."""

import ast
import dataclasses
import json
import re
import subprocess
import sys

import pytest

from tests.docs.test_pages import blocks
from tests.support.processes import ROOT
from tfdlrm.base.version import __version__
from tfdlrm.config import TrainConfig

# The Python of these pages needs their commands' files, or goes on from block to block;
# other tests run it.
NOT_ALONE = {
    "docs/api.md",
    "docs/from_dataframes.md",
    "docs/from_nvidia.md",
    "docs/preparing.md",
    "docs/serving.md",
}
PAGES = {str(path.relative_to(ROOT)) for path in ROOT.glob("docs/*.md")}
DOCUMENTS = sorted(page for page in PAGES - NOT_ALONE if blocks(page, "python"))


def text_of(node):
    """Return the text of a string expression, with `…` for each filled-in part."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            text_of(part) if isinstance(part, ast.Constant) else "…"
            for part in node.values
        )
    return ""


def messages():
    """Yield the texts of the code, without docstrings."""
    for package in ("tfdlrm", "pipelines"):
        for path in (ROOT / package).rglob("*.py"):
            tree = ast.parse(path.read_text("utf-8"))
            docstrings = {
                node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)
            }
            for node in set(ast.walk(tree)) - docstrings:
                yield text_of(node)


def test_the_messages_that_are_explained_are_the_codes():
    page = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    explained = re.findall(r"^\| `(.*?)` \|", page, re.MULTILINE)
    assert len(explained) > 15
    raised = [re.sub(r"`[^`]*`", "…", text) for text in messages()]
    for message in explained:
        parts = [re.escape(part) for part in message.split("…")]
        pattern = re.compile(".*".join(parts))
        assert any(pattern.search(text) for text in raised), message


@pytest.mark.slow_variants
@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_python_of_a_page_runs(document, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # its files are not for the repository
    for block in blocks(document, "python"):
        exec(compile(block, document, "exec"), {})


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path)]
    process = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    pages = tmp_path / "settings"
    assert "<!-- settings -->" not in (pages / "index.html").read_text("utf-8")
    # The search finds what has a heading.
    models = (pages / "models" / "index.html").read_text("utf-8")
    assert re.search(r'<h3 id="[\w-]+embedding_dim">embedding_dim', models)
    train = (pages / "train" / "index.html").read_text("utf-8")
    for field in dataclasses.fields(TrainConfig):
        assert f'<h3 id="tfdlrm-train-{field.name}">' in train
    index = json.loads((tmp_path / "search" / "search_index.json").read_text("utf-8"))
    titles = {entry["title"] for entry in index["docs"]}
    assert {"early_stopping", "DotInteraction"} <= {
        re.sub("<.*?>", "", title).strip("¶ ") for title in titles
    }
    assert f"tfdlrm {__version__}" in train  # the version, on every page
