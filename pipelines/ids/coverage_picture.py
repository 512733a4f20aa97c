"""Draw the coverage of a data set as bars."""

from collections.abc import Sequence
from pathlib import Path

from pipelines.ids.coverage import FeatureCoverage
from tfdlrm.data.schema import SPLITS

_COLOURS = {"own id": "#4c78a8", "unknown": "#e45756", "missing": "#bab0ac"}


def draw(features: Sequence[FeatureCoverage], dialect: str, path: Path) -> bool:
    """Draw one panel a split and one bar a feature: own id, unknown and missing.

    Args:
        features: The coverage of each column.
        dialect: Name of the dialect, for the title.
        path: The PNG file to write.

    Returns:
        Whether it was drawn; where no font has the names' letters, a line says so.
    """
    from matplotlib.figure import Figure

    from tfdlrm.base.figures import (
        draws_pictures,
        font_families,
        name_rows,
        save_figure,
        say_not_drawn,
    )

    if not draws_pictures():
        return False
    names = [feature.name for feature in features]
    families = font_families(names)
    if families is None:
        say_not_drawn(path.name)
        return False
    splits = [split for split in SPLITS if split in features[0].coverage]
    height = 1.9 + 0.24 * len(features)
    figure = Figure(figsize=(3.4 * max(len(splits), 2), height), layout="constrained")
    panels = figure.subplots(1, len(splits), sharey=True, squeeze=False)[0]
    for panel, split in zip(panels, splits, strict=True):
        starts = [0.0] * len(features)
        for meaning, colour in _COLOURS.items():
            shares = [100 * _shares(feature, meaning)[split] for feature in features]
            rows = range(len(features))
            panel.barh(
                rows, shares, left=starts, color=colour, label=meaning, height=0.75
            )
            starts = [sum(pair) for pair in zip(starts, shares, strict=True)]
        panel.set(title=split, xlim=(0, 100), xlabel="% of rows")
        name_rows(panel, names, families)
        panel.tick_params(axis="y", length=0)
        panel.spines[["top", "right", "left"]].set_visible(False)
    figure.suptitle(f"Rows by what their value's id is ({dialect} dialect)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    save_figure(figure, path)
    return True


def _shares(feature: FeatureCoverage, meaning: str) -> dict[str, float]:
    shares = {"unknown": feature.unknown, "missing": feature.missing}
    return shares.get(meaning, feature.coverage)
