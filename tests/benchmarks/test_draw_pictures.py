"""The pictures of the documentation show the numbers of its pages."""

import re
from xml.etree import ElementTree

import pytest

from benchmarks.draw_pictures import DrawCommand, draw_pictures, table_of
from tests.support.processes import ROOT
from tfdlrm.base.errors import InputError

QUALITY = (ROOT / "docs" / "quality.md").read_text("utf-8")


def texts_of(name):
    """Return the texts of a picture, which Matplotlib repeats in comments."""
    svg = (ROOT / "docs" / "pictures" / name).read_text("utf-8")
    assert ElementTree.fromstring(svg) is not None
    return re.findall(r"<!-- (.*?) -->", svg, re.DOTALL)


@pytest.mark.parametrize("form", ["light", "dark"])
def test_the_picture_of_results_has_the_numbers_of_the_page(form):
    texts = texts_of(f"results_{form}.svg")
    for row in table_of(QUALITY, "Few real rows", "model"):
        auc = row["AUC"].partition(" ")[0]
        assert any(auc in text for text in texts), row["model"]
    *_, mean = table_of(QUALITY, "Day by day", "day")
    for column in ("truth", "warm", "cold", "frozen"):
        assert any(mean[column].partition(" ")[0] in text for text in texts), column


def test_the_pictures_are_drawn_again_in_both_forms(tmp_path):
    draw_pictures(DrawCommand(ROOT / "docs" / "quality.md", tmp_path))
    light, dark = ((tmp_path / f"results_{form}.svg") for form in ("light", "dark"))
    assert "#1b1f26" in dark.read_text() and "#1b1f26" not in light.read_text()
    assert "#ffffff" not in dark.read_text()


def test_a_page_without_the_table_is_refused(tmp_path):
    page = tmp_path / "quality.md"
    page.write_text(QUALITY.replace("| model |", "| name |"))
    with pytest.raises(InputError, match=r"Few real rows.* first column is 'model'"):
        draw_pictures(DrawCommand(page, tmp_path))
