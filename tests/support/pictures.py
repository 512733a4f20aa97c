"""Pictures that most tests leave out: drawing one takes longer than a small run."""

from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from pipelines.ids import coverage_picture
from tfdlrm.base import storage
from tfdlrm.training import report

_DRAW, _SAVE_PICTURE = coverage_picture.draw, report.save_picture


def leave_out(patch: pytest.MonkeyPatch) -> None:
    """Draw no coverage, and leave the pictures of a run blank."""
    patch.setattr(coverage_picture, "draw", lambda *args: True)
    patch.setattr(report, "save_picture", _save_blank)


def draw(patch: pytest.MonkeyPatch) -> None:
    """Draw them all the same."""
    patch.setattr(coverage_picture, "draw", _DRAW)
    patch.setattr(report, "save_picture", _SAVE_PICTURE)


def _save_blank(draw: Callable[[], Figure], path: Path) -> None:
    with storage.whole(path) as temporary:
        temporary.write_bytes(bytes(24))  # as long as the header of a PNG
