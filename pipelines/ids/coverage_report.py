"""Report the coverage of a data set as JSON, as a page with a picture, as a table."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from pipelines.ids.coverage import Coverage, FeatureCoverage
from tfdlrm.base.plain_text import markdown, shorten
from tfdlrm.data.schema import COVERAGE_FILE, SPLITS

PAGE_NAME = "coverage.md"
PICTURE_NAME = "coverage.png"

_MAX_LINES = 30
_NAME_WIDTH = 16
_HEADINGS = ("feature", "values", "kept", *SPLITS, "unknown", "missing")
_EXTENDED_HEADINGS = (
    *("feature", "kept", "new", *SPLITS),
    *("unknown", "before", "missing"),
)


def write_coverage(coverage: Coverage, dialect: str, directory: Path) -> None:
    """Write `coverage.json`, `coverage.md` and `coverage.png` into a data set.

    Args:
        coverage: The counts of all rows.
        dialect: Name of the dialect, for the headings.
        directory: The data set directory.
    """
    features = coverage.of_features()
    write_coverage_json(coverage, dialect, directory)
    is_drawn = False
    if features:
        # Imported late: only making a data set needs Matplotlib, which takes a second.
        from pipelines.ids.coverage_picture import draw

        is_drawn = draw(features, dialect, directory / PICTURE_NAME)
    page = _page(features, dialect, is_drawn)
    (directory / PAGE_NAME).write_text(page, encoding="utf-8")


def write_coverage_json(coverage: Coverage, dialect: str, directory: Path) -> None:
    """Write `coverage.json` alone; arguments as for `write_coverage`."""
    rows = [feature.to_json() for feature in coverage.of_features()]
    report = {"dialect": dialect, "features": rows}
    text = json.dumps(report, indent=2) + "\n"
    (directory / COVERAGE_FILE).write_text(text, encoding="utf-8")


def read_coverage(directory: Path) -> list[FeatureCoverage]:
    """Read the coverage that `write_coverage` wrote into `directory`."""
    report = json.loads((directory / COVERAGE_FILE).read_text(encoding="utf-8"))
    return [FeatureCoverage(**feature) for feature in report["features"]]


def as_table(features: Sequence[FeatureCoverage], dialect: str) -> Table:
    """Return the coverage as a table for a screen of 80 columns.

    When a screen does not hold all features, only those with the lowest coverage are
    listed.

    Args:
        features: The coverage of each column.
        dialect: Name of the dialect, for the title.
    """
    rows, title = list(features), f"Coverage ({dialect} dialect)"
    if len(rows) > _MAX_LINES:
        rows.sort(key=lambda feature: feature.coverage[_last_split(feature)])
        del rows[_MAX_LINES:]
        title += f": the lowest {_MAX_LINES} of {len(features)} features"
    table = Table(
        title=title,
        caption=_explanation(features),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        title_justify="left",
        caption_justify="left",
    )
    for heading in _headings(features):
        is_name = heading == "feature"
        table.add_column(
            heading, justify="left" if is_name else "right", no_wrap=is_name
        )
    for feature in rows:
        name = Text(shorten(feature.name, _NAME_WIDTH))  # no markup
        table.add_row(name, *_cells(feature))
    return table


def _page(features: Sequence[FeatureCoverage], dialect: str, is_drawn: bool) -> str:
    """Return the coverage of every column in Markdown."""
    if not features:
        return f"# Coverage ({dialect} dialect)\n\nNo categorical features.\n"
    headings = _headings(features)
    marks = ["---", *["---:"] * (len(headings) - 1)]
    rows = [headings, marks]
    rows += [(markdown(feature.name), *_cells(feature)) for feature in features]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    page = f"# Coverage ({dialect} dialect)\n\n{_explanation(features)}\n\n{table}\n"
    if is_drawn:
        page += f"\n![Coverage of each feature]({PICTURE_NAME})\n"
    return page


def _headings(features: Sequence[FeatureCoverage]) -> tuple[str, ...]:
    return _EXTENDED_HEADINGS if _is_extended(features) else _HEADINGS


def _is_extended(features: Sequence[FeatureCoverage]) -> bool:
    return any(feature.new is not None for feature in features)


def _explanation(features: Sequence[FeatureCoverage]) -> str:
    split = _last_split(features[0]) if features else SPLITS[0]
    if _is_extended(features):
        return (
            "kept: values with an id of their own; new: those without one in what is "
            "extended; train, validation, test: share of rows whose value has an id of "
            f"its own; unknown, missing: share of {split} rows whose value has none, "
            "or that have no value; before: share of those whose value had no id in "
            "what is extended."
        )
    return (
        "values: number of distinct values in the counted rows; kept: values with an "
        "id of their own; train, validation, test: share of rows whose value has an id "
        f"of its own; unknown, missing: share of {split} rows whose value has none, or "
        "that have no value."
    )


def _last_split(feature: FeatureCoverage) -> str:
    """Return the last split that has rows, which is most like the rows served later."""
    return [split for split in SPLITS if split in feature.coverage][-1]


def _cells(feature: FeatureCoverage) -> list[str]:
    last_split = _last_split(feature)
    counts = [feature.distinct, feature.kept]
    shares = [feature.unknown[last_split], feature.missing[last_split]]
    if feature.new is not None:
        counts = [feature.kept, feature.new]
        shares.insert(1, feature.unknown_before[last_split])
    return [
        *("-" if count is None else f"{count:,}" for count in counts),
        *(_percent(feature.coverage.get(split)) for split in SPLITS),
        *map(_percent, shares),
    ]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"
