"""The coverage of a data set as JSON, as a page with a picture, and on the screen."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from pipelines.ids.coverage import Coverage, FeatureCoverage
from tfdlrm.base.plain_text import markdown, shortened
from tfdlrm.data.schema import COVERAGE_FILE, SPLITS

PAGE_NAME = "coverage.md"
PICTURE_NAME = "coverage.png"

_MAX_LINES = 30
_NAME_WIDTH = 16
_HEADINGS = ("feature", "values", "kept", *SPLITS, "unknown", "missing")


def write_coverage(coverage: Coverage, dialect: str, directory: Path) -> None:
    """Write `coverage.json`, `coverage.md` and `coverage.png` into a data set.

    Args:
        coverage: The counts of all rows.
        dialect: Name of the dialect, for the headings.
        directory: The data set directory.
    """
    features = coverage.of_features()
    described = {"dialect": dialect, "features": [asdict(each) for each in features]}
    text = json.dumps(described, indent=2) + "\n"
    (directory / COVERAGE_FILE).write_text(text, encoding="utf-8")
    is_drawn = False
    if features:
        # Here, since only a data set that is made needs Matplotlib's second.
        from pipelines.ids.coverage_picture import draw

        is_drawn = draw(features, dialect, directory / PICTURE_NAME)
    page = _page(features, dialect, is_drawn)
    (directory / PAGE_NAME).write_text(page, encoding="utf-8")


def read_coverage(directory: Path) -> list[FeatureCoverage]:
    """The coverage that `write_coverage` wrote into `directory`."""
    described = json.loads((directory / COVERAGE_FILE).read_text(encoding="utf-8"))
    return [FeatureCoverage(**each) for each in described["features"]]


def as_table(features: Sequence[FeatureCoverage], dialect: str) -> Table:
    """The coverage for a screen of 80 columns.

    Of more features than a screen holds only those that are covered worst are shown.

    Args:
        features: The coverage of each column.
        dialect: Name of the dialect, for the title.
    """
    shown, title = list(features), f"Coverage ({dialect} dialect)"
    if len(shown) > _MAX_LINES:
        shown = sorted(shown, key=lambda each: each.coverage[_told_of(each)])
        del shown[_MAX_LINES:]
        title += f": the lowest {_MAX_LINES} of {len(features)} features"
    table = Table(
        title=title,
        caption=_explanation(features),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        title_justify="left",
        caption_justify="left",
    )
    for heading in _HEADINGS:
        is_name = heading == "feature"
        table.add_column(
            heading, justify="left" if is_name else "right", no_wrap=is_name
        )
    for feature in shown:
        name = Text(shortened(feature.name, _NAME_WIDTH))  # no markup
        table.add_row(name, *_cells(feature))
    return table


def _page(features: Sequence[FeatureCoverage], dialect: str, is_drawn: bool) -> str:
    """The coverage of every column in Markdown."""
    if not features:
        return f"# Coverage ({dialect} dialect)\n\nNo categorical features.\n"
    marks = ["---", *["---:"] * (len(_HEADINGS) - 1)]
    rows = [_HEADINGS, marks]
    rows += [(markdown(feature.name), *_cells(feature)) for feature in features]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    page = f"# Coverage ({dialect} dialect)\n\n{_explanation(features)}\n\n{table}\n"
    if is_drawn:
        page += f"\n![Coverage of each feature]({PICTURE_NAME})\n"
    return page


def _explanation(features: Sequence[FeatureCoverage]) -> str:
    told_of = _told_of(features[0]) if features else SPLITS[0]
    return (
        "values: different ones in the rows that were counted; kept: those with an id "
        "of their own; train, validation, test: share of the rows whose value has "
        f"one; unknown, missing: share of the {told_of} rows whose value has none, or "
        "that have no value."
    )


def _told_of(feature: FeatureCoverage) -> str:
    """The last split that has rows: what is unknown there will be when serving."""
    return [split for split in SPLITS if split in feature.coverage][-1]


def _cells(feature: FeatureCoverage) -> list[str]:
    told_of = _told_of(feature)
    counts = [feature.distinct, feature.kept]
    return [
        *("-" if count is None else f"{count:,}" for count in counts),
        *(_percent(feature.coverage.get(split)) for split in SPLITS),
        _percent(feature.unknown[told_of]),
        _percent(feature.missing[told_of]),
    ]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"
