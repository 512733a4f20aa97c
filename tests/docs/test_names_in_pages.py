"""Every module, function and class that a page mentions exists."""

import importlib
import re

import pytest

from tests.support.processes import ROOT

PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"))
)
PACKAGES = r"(?:tfdlrm|pipelines|benchmarks|tests)"
NAME = re.compile(rf"(?<![\w/.:-]){PACKAGES}(?:\.[A-Za-z_]\w*)+(?![\w/])")
FILE = re.compile(rf"(?<![\w/.:-])({PACKAGES}/[\w/]+\.py)")


def find(name):
    """Return the module, function or class of a dotted name."""
    parent = importlib.import_module(name.partition(".")[0])
    for part in name.split(".")[1:]:
        if not hasattr(parent, part):
            importlib.import_module(f"{parent.__name__}.{part}")
        parent = getattr(parent, part)
    return parent


@pytest.mark.parametrize("page", PAGES)
def test_the_names_and_files_of_a_page_are_there(page):
    text = (ROOT / page).read_text("utf-8")
    for name in set(NAME.findall(text)):
        assert find(name) is not None, name
    for path in FILE.findall(text):
        assert (ROOT / path).is_file(), path


def test_a_name_that_moved_is_not_found():
    assert NAME.findall("`tfdlrm.schema.FeatureSchema`") == [
        "tfdlrm.schema.FeatureSchema"
    ]
    with pytest.raises(ModuleNotFoundError):
        find("tfdlrm.schema.FeatureSchema")
