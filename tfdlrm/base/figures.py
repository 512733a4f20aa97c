"""Pictures in files, and names of columns in them."""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font

from tfdlrm.base import storage
from tfdlrm.base.figure_style import STYLE, label
from tfdlrm.base.plain_text import shorten

_NAME_WIDTH = 40
_HEAVIEST = 500
"""Bold fonts have a greater weight."""

_NOT_DRAWN = {"Cc", "Cf", "Mn", "Zs"}
"""Unicode categories of characters that a font need not have."""


def save_figure(figure: Figure, path: Path) -> None:
    """Write a picture, complete or not at all, in the format that its name ends with.

    Args:
        figure: The picture.
        path: The file.

    Raises:
        OSError: If the disk refuses.
    """
    with storage.whole(path) as temporary, temporary.open("wb") as file:
        figure.savefig(file, format=path.suffix[1:], dpi=120)


_draws: ContextVar[bool] = ContextVar("draws", default=True)


@contextmanager
def no_pictures() -> Iterator[None]:
    """Leave out the pictures of a run whose directory nobody will see."""
    token = _draws.set(False)
    try:
        yield
    finally:
        _draws.reset(token)


def draws_pictures() -> bool:
    """Return whether pictures are drawn: drawing one takes longer than a small run."""
    return _draws.get()


def save_picture(draw: Callable[[], Figure], path: Path) -> None:
    """Draw a picture in the common style and write it; see `save_figure`."""
    if not draws_pictures():
        return
    with matplotlib.rc_context(STYLE):
        save_figure(draw(), path)


def set_title(figure: Figure, text: str) -> None:
    """Write any text above a picture; letters that no font here has are spelled out."""
    families = font_families([text])
    if families is None:
        text = text.encode("ascii", "backslashreplace").decode()
    figure.suptitle(label(text), fontfamily=families)


def name_rows(axis: Any, names: Sequence[str], families: Sequence[str]) -> None:
    """Name the rows 0, 1, … of a picture, the first on top.

    Args:
        axis: Matplotlib's axis.
        names: Any text; only the middle of long names is left out.
        families: The fonts, from `font_families`.
    """
    labels = [shorten(name, _NAME_WIDTH).replace("$", r"\$") for name in names]
    axis.set_yticks(range(len(names)), labels, fontfamily=list(families))
    axis.set_ylim(len(names) - 0.4, -0.6)


def say_not_drawn(picture: str) -> None:
    """Print why a picture with names of columns is missing."""
    print(
        f"no {picture}: this machine has no font for the names of all columns: install "
        "one"
    )


def font_families(texts: Iterable[str]) -> list[str] | None:
    """Return font families that can draw some texts, as few as possible.

    Returns:
        The usual ones first; `None` if this machine has none for some character.
    """
    families = list(matplotlib.rcParams["font.family"])
    missing = {
        character
        for character in set().union(*texts)
        if unicodedata.category(character) not in _NOT_DRAWN
    }
    missing -= _characters(findfont(FontProperties()))
    while missing:
        family, drawn = max(
            ((name, missing & _characters(path)) for name, path in _fonts().items()),
            key=lambda choice: len(choice[1]),
            default=("", set()),
        )
        if not drawn:
            return None
        families.append(family)
        missing -= drawn
    return families


@cache
def _fonts() -> dict[str, str]:
    """Return the file of each upright font family, without those that draw boxes."""
    return {
        font.name: font.fname
        for font in sorted(fontManager.ttflist, key=lambda font: font.name)
        if font.style == "normal"
        and (not isinstance(font.weight, int) or font.weight <= _HEAVIEST)
        and not font.name.startswith(("Last Resort", "LastResort"))
    }


@cache
def _characters(path: str) -> frozenset[str]:
    try:
        font = FT2Font(path)
    except (OSError, RuntimeError, ValueError):
        return frozenset()
    # Matplotlib draws nothing for fonts of colour pictures.
    return frozenset(map(chr, font.get_charmap())) if font.scalable else frozenset()
