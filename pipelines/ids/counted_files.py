"""The files of a column that was counted: its vocabulary and its rare values."""

from pathlib import Path

from pipelines.ids.counting import Vocabulary
from pipelines.ids.forgotten import write_forgotten
from tfdlrm.data.column_files import vocabulary_path
from tfdlrm.data.rare_values import rare_values_path, write_rare_values
from tfdlrm.data.vocabulary_files import write_vocabulary


def write_counted(
    vocabulary: Vocabulary | None, directory: Path, work: Path, name: str
) -> list[Path]:
    """Write the files of a column, and return their paths.

    Args:
        vocabulary: The values with an id; `None` in a dialect that counts nothing.
        directory: The data set directory.
        work: Directory for the values that have just lost their id.
        name: The column.
    """
    if vocabulary is None:
        return []
    write_vocabulary(vocabulary.values, directory, name)
    paths = [vocabulary_path(directory, name)]
    if vocabulary.rare is not None:
        write_rare_values(vocabulary.rare.in_order(), directory, name)
        paths.append(rare_values_path(directory, name))
    if vocabulary.num_forgotten:
        assert vocabulary.forgotten is not None
        paths.append(write_forgotten(vocabulary.forgotten, work, name))
    return paths
