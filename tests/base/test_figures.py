"""Names of columns in pictures."""

import io
import warnings

import matplotlib
import pytest
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font

from pipelines.ids.coverage import FeatureCoverage
from pipelines.ids.coverage_picture import draw
from pipelines.ids.coverage_report import write_coverage
from tfdlrm.base import figures
from tfdlrm.base.figures import font_families, name_rows, save_figure, set_title
from tfdlrm.metrics.permutation import Importance, plot_importances

AWKWARD = ["$x$", "a$b", "[red]x", "a|b", "two\nlines", "\x1b[31m", "שלום", "y" * 300]
WITHOUT_A_FONT = "\U0001fbca"  # of legacy computers, which no usual font has


class Counts:
    """Enough of `Coverage` for its report."""

    def __init__(self, *names):
        share = {"train": 0.5}
        self.features = [
            FeatureCoverage(name, 3, 2, share, share, share) for name in names
        ]

    def of_features(self):
        return self.features


@pytest.fixture
def no_other_fonts(monkeypatch):
    monkeypatch.setattr(figures, "_fonts", dict)


def importances(*names):
    return [Importance(name, (0.1, 0.2), (0.1, 0.3)) for name in names]


def test_any_name_is_drawn_without_a_warning(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert draw(Counts(*AWKWARD).features, "default", tmp_path / "coverage.png")
        assert plot_importances(importances(*AWKWARD), tmp_path / "importance.png")
    for name in ("coverage.png", "importance.png"):
        assert (tmp_path / name).stat().st_size > 5000


def test_names_are_drawn_as_they_are():
    figure = Figure()
    axis = figure.subplots()
    name_rows(axis, ["$x$", "a$b", "two\nlines"], ["sans-serif"])
    figure.canvas.draw()
    labels = axis.get_yticklabels()
    assert [label.get_text().replace(r"\$", "$") for label in labels] == [
        "$x$",
        "a$b",
        r"two\nlines",
    ]
    # As formulas they would be drawn without the signs.
    drawn = {label.get_text(): label.get_window_extent().width for label in labels}
    assert drawn[r"\$x\$"] > drawn[r"a\$b"] * 0.9
    assert labels[0].get_position()[1] == 0 and axis.yaxis_inverted()


def test_a_font_is_found_for_what_the_usual_one_lacks(tmp_path):
    usual_characters = set(FT2Font(findfont(FontProperties())).get_charmap())
    other_font = next(
        font for font in fontManager.ttflist if font.name == "STIXGeneral"
    )
    missing_characters = sorted(
        set(FT2Font(other_font.fname).get_charmap()) - usual_characters
    )
    text = chr(next(code for code in missing_characters if code > 0x2000))
    families = font_families([f"a{text}"])
    assert families is not None and len(families) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plot_importances(importances(text), tmp_path / "importance.png")


def test_ordinary_names_need_no_other_font(no_other_fonts):
    assert font_families(["C1", "größe", "שלום"]) == matplotlib.rcParams["font.family"]
    assert font_families([]) == matplotlib.rcParams["font.family"]


def test_without_a_font_there_is_no_picture_and_no_link_to_it(
    tmp_path, capsys, no_other_fonts, pictures
):
    assert font_families([WITHOUT_A_FONT]) is None
    write_coverage(Counts("日付", "C1"), "default", tmp_path)
    assert not (tmp_path / "coverage.png").exists()
    page = (tmp_path / "coverage.md").read_text()
    assert "| 日付 |" in page and "coverage.png" not in page
    output = capsys.readouterr().out
    assert output.startswith("no coverage.png: this machine has no font")
    assert len(output.splitlines()) == 1
    assert not plot_importances(importances("日付"), tmp_path / "importance.png")


def test_the_font_that_draws_boxes_is_no_font():
    assert not any("Last Resort" in name for name in figures._fonts())


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_pictures_are_written_to_links(tmp_path, suffix):
    (tmp_path / f"link{suffix}").symlink_to(f"real{suffix}")
    save_figure(Figure(), tmp_path / f"link{suffix}")
    assert (tmp_path / f"link{suffix}").is_symlink()
    assert (tmp_path / f"real{suffix}").stat().st_size > 0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("dlrm on clicks", "dlrm on clicks"),
        ("costs in $ and $", r"costs in \$ and \$"),
        ("_hidden", " _hidden"),
        (WITHOUT_A_FONT, "\\U0001fbca"),
        ("a" * 200, "a" * 40 + "…" + "a" * 39),
    ],
)
def test_a_title_is_drawn_as_it_is_written(text, shown):
    figure = Figure(figsize=(2, 1))
    set_title(figure, text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO(), format="png")
    assert figure.get_suptitle() == shown
