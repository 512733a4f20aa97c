"""Pictures that most tests leave out: drawing one takes longer than a small run.

They also leave out the model.keras of a run.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from pipelines.ids import coverage_picture
from tfdlrm.base import storage
from tfdlrm.comparison import page
from tfdlrm.comparison import report as comparison_report
from tfdlrm.exporting import keras_file
from tfdlrm.training import report
from tfdlrm.tuning import report as tuning_report

_DRAWN = [
    (module, name, getattr(module, name))
    for module, name in (
        (coverage_picture, "draw"),
        (report, "save_picture"),
        (comparison_report, "save_picture"),
        (tuning_report, "save_picture"),
        (page, "CURVE_PICTURES"),
        (keras_file, "keep_keras"),
    )
]


def leave_out(patch: pytest.MonkeyPatch) -> None:
    """Draw no coverage, and leave pictures of runs, comparisons and searches blank."""
    patch.setattr(coverage_picture, "draw", lambda *args: True)
    patch.setattr(report, "save_picture", _save_blank)
    patch.setattr(comparison_report, "save_picture", _save_blank)
    patch.setattr(tuning_report, "save_picture", _save_blank)
    patch.setattr(page, "CURVE_PICTURES", ())
    patch.setattr(keras_file, "keep_keras", lambda *args: None)


def draw(patch: pytest.MonkeyPatch) -> None:
    """Draw them all the same."""
    for module, name, value in _DRAWN:
        patch.setattr(module, name, value)


def _save_blank(draw: Callable[[], Figure], path: Path) -> None:
    with storage.whole(path) as temporary:
        temporary.write_bytes(bytes(24))  # as long as the header of a PNG
