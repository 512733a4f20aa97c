"""The tables from values to ids of a data set that is being made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.ids.dialect import Dialect
from pipelines.ids.forgotten import TableWithForgotten, forgotten_path
from pipelines.ids.vocabulary import Table
from tfdlrm.base.kept_files import KeptFile
from tfdlrm.data.column_files import vocabulary_path
from tfdlrm.data.schema import CategoricalFeature


@dataclass(frozen=True)
class ColumnTables:
    """The tables of the categorical columns, each loaded when it is needed.

    Args:
        dialect: The dialect of the ids.
        directory: The data set directory, with its vocabularies.
        features: The categorical columns.
        files: Size and checksum of the files that this run has written.
        work: Directory of the values that have just lost their ids, if there are any.
    """

    dialect: Dialect
    directory: Path
    features: tuple[CategoricalFeature, ...]
    files: Mapping[Path, KeptFile] = field(hash=False)
    work: Path

    @property
    def sizes(self) -> dict[str, int]:
        """Roughly how much memory the table of each column takes, in bytes."""
        return {
            feature.name: self.dialect.table_bytes(self.directory, feature.name)
            for feature in self.features
        }

    def load(self, name: str) -> Table:
        """Load the table of a column.

        Raises:
            DamagedFileError: If its files are not what this run has written.
        """
        file = self.files.get(vocabulary_path(self.directory, name))
        if file is not None:  # the hash dialect has no vocabularies
            file.check()
        by_name = {feature.name: feature for feature in self.features}
        table = self.dialect.table(self.directory, by_name[name])
        forgotten = self.files.get(forgotten_path(self.work, name))
        if forgotten is None:
            return table
        return TableWithForgotten(table, forgotten, by_name[name].vocabulary_size)
