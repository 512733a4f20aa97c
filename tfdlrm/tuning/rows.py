"""The rows of a search, which all trials share: those of training and validation."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tfdlrm.base.errors import InputError
from tfdlrm.config import TrainConfig
from tfdlrm.config.model_columns import ignored_columns
from tfdlrm.data.one_class import require_both_labels
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.data.vocabulary_contents import with_contents
from tfdlrm.runs.beginning import data_set_of


@dataclass(frozen=True)
class RowsOfSearch:
    """A data set without its test rows.

    Args:
        data_dir: Directory of the data set.
        whole_schema: Its schema.
    """

    data_dir: Path
    whole_schema: FeatureSchema

    @classmethod
    def open(cls, config: TrainConfig) -> "RowsOfSearch":
        """Open a data set and check that a search can use it.

        Raises:
            InputError: If it cannot.
        """
        data_dir, _, schema = data_set_of(config)
        schema = with_contents(schema, data_dir)
        rows = cls(data_dir, schema)
        for split, use in (("train", "to learn from"), ("validation", "to search by")):
            if not schema.num_rows(split):
                raise InputError(
                    f"{data_dir} has no {split} rows {use}: prepare it with some"
                )
            schema.check_shards(data_dir, split)
        if not config.allow_one_class:
            fix = " --allow_one_class trains all the same"
            require_both_labels(data_dir, rows.schema, fix)
        return rows

    @cached_property
    def schema(self) -> FeatureSchema:
        """The schema as if there were no test rows, so that nothing can read them."""
        shards = [
            shard
            for split in ("train", "validation")
            for shard in self.whole_schema.split_shards(split)
        ]
        return replace(self.whole_schema, shards=tuple(shards))

    @cached_property
    def validation(self) -> Any:
        """The validation rows of the curves, read once for all trials."""
        from tfdlrm.training.curves import curve_rows

        return curve_rows(self.data_dir, self.schema)

    def accept(self, config: TrainConfig) -> None:
        """Refuse settings that do not suit the columns, or the number of rows.

        Raises:
            InputError: If they do not.
        """
        ignored_columns(self.schema, config.model)
        steps = -(-self.schema.num_rows("train") // config.batch_size)
        config.optimizer.in_steps(steps, config.epochs)
