"""Pictures in files."""

from pathlib import Path

from matplotlib.figure import Figure

from tfdlrm import storage


def save_figure(figure: Figure, path: Path) -> None:
    """Write a picture, complete or not at all, in the format that its name ends with.

    Args:
        figure: The picture.
        path: The file.

    Raises:
        OSError: If the disk refuses.
    """
    with storage.whole(path) as aside, aside.open("wb") as file:
        figure.savefig(file, format=path.suffix[1:], dpi=120)
