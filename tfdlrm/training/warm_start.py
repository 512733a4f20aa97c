"""A run that begins with the weights of another run or of an exported model."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras

from tfdlrm.base.errors import InputError
from tfdlrm.checkpoints.carry import CarriedVariables, RowMap
from tfdlrm.checkpoints.roles import ITERATIONS, Role, roles_of
from tfdlrm.checkpoints.variables import SavedVariables
from tfdlrm.config import TrainConfig
from tfdlrm.config.model_columns import ignored_columns
from tfdlrm.data.extension import carried_ids, unseen_ids
from tfdlrm.data.meaning import Meaning
from tfdlrm.data.meaning_differences import differences, summarize
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.optimizers._parts import table_optimizer
from tfdlrm.training.carried_tables import (
    ColumnIds,
    TableCounts,
    as_table,
    carried_rows,
)
from tfdlrm.training.same_architecture import require_same
from tfdlrm.training.weight_source import Source


class WarmStart:
    """The beginning of a run with the weights of a source.

    Args:
        path: The source, as the user named it.
        open_source: Opens it.
        data_dir: Directory of the data set to train on.
        schema: Schema of that data set, with checksums of its vocabularies.
        config: Settings of the new run.
    """

    def __init__(
        self,
        path: Path,
        open_source: Callable[[Path], Source],
        data_dir: Path,
        schema: FeatureSchema,
        config: TrainConfig,
    ) -> None:
        self._path = path
        self._open_source = open_source
        self._data_dir, self._schema, self._config = data_dir, schema, config
        self._source: Source | None = None
        self._ids: dict[str, ColumnIds] = {}
        self.facts: dict[str, Any] | None = None

    def check(self) -> None:
        """Open the source and compare it with the new run.

        Raises:
            InputError: If it cannot be read, or has another architecture, optimizer or
                meaning of ids.
        """
        source = self._open_source(self._path)
        ids = _ids_of(self._data_dir, self._schema, source.meaning)
        if ids is None:
            changes = differences(source.meaning, Meaning.of(self._schema))
            raise InputError(
                f"{self._data_dir} does not extend the data set of {self._path}: "
                f"{summarize(changes)}; prepare it with python -m pipelines.prepare "
                "--extend and that data set"
            )
        ignored = ignored_columns(self._schema, self._config.model)
        self._ids = {name: ids[name] for name in ids if name not in ignored}
        num_ids = {name: len(column.carried) for name, column in self._ids.items()}
        require_same(source, self._path, self._config, self._schema, num_ids)
        self._source = source

    def begin(
        self,
        model: keras.Model,
        variables: SavedVariables,
        facts: dict[str, Any] | None,
    ) -> dict[str, Any]:
        """Carry the weights over, unless that was done before the run was resumed.

        Args:
            model: The new model, compiled.
            variables: Its variables.
            facts: What this returned for a run that is resumed.

        Returns:
            The source and the numbers of rows, for checkpoints and the report.

        Raises:
            InputError: If the source cannot be read.
        """
        if facts is None:
            if self._source is None:
                self.check()
            facts = self._carry(model, variables)
            self._source, self._ids = None, {}  # a flag for each id
        self.facts = facts
        return facts

    def _carry(self, model: keras.Model, variables: SavedVariables) -> dict[str, Any]:
        source = self._source
        assert source is not None
        row_maps, counts = carried_rows(model, variables, self._ids)
        targets = roles_of(model, variables)
        entries = source.variables(self._schema)
        names, shapes = _pair(entries, targets, variables.shapes, row_maps, self._path)
        late_decay = getattr(table_optimizer(model.optimizer), "late_decay", None)
        if late_decay is not None:
            late_decay.expect_new_rows()
        source.read(CarriedVariables(variables, names, shapes, row_maps))
        if late_decay is not None:
            late_decay.begin_new_rows()
        steps = int(variables.read(targets[ITERATIONS]))
        if source.remark is not None:
            print(source.remark)
        state = "the optimizer's state starts anew"
        if source.optimizer is not None:
            state = f"and the state of {source.optimizer} after {steps:,} steps"
        print(f"Beginning with the weights of {source.path}, {state}")
        if counts:
            print(as_table(counts))
        return {
            "source": str(source.path),
            "optimizer": source.optimizer,
            "steps": steps,
            "tables": [asdict(count) for count in counts],
        }

    def description(self) -> str:
        """Return the source in words, for the report."""
        facts = self.facts or {}
        if facts.get("optimizer") is None:
            return f"{facts['source']}, without state of an optimizer"
        return f"{facts['source']}, after {facts['steps']:,} steps"

    def table(self) -> str:
        """Return the numbers of rows of each table, as a Markdown table."""
        tables = (self.facts or {}).get("tables")
        return as_table([TableCounts(**counts) for counts in tables]) if tables else ""


def _ids_of(
    data_dir: Path, schema: FeatureSchema, meaning: Meaning
) -> dict[str, ColumnIds] | None:
    """Return what became of the ids of a source; `None` if they are unrelated."""
    own_meaning = Meaning.of(schema)
    carried = carried_ids(data_dir, schema, meaning.fingerprint)
    if carried is None and not differences(meaning, own_meaning):
        carried = carried_ids(data_dir, schema, own_meaning.fingerprint)
    if carried is None:
        return None
    if not (meaning.is_known and own_meaning.is_known):
        print(
            f"There are no vocabularies: whether the ids of {data_dir} mean what they "
            "meant to the weights is not checked"
        )
    unseen = unseen_ids(data_dir, schema)
    return {
        name: ColumnIds(flags, flags & ~unseen[name][: len(flags)])
        for name, flags in carried.items()
    }


def _pair(
    entries: Mapping[str, tuple[Role | None, Any]],
    targets: Mapping[Role, str],
    target_shapes: Mapping[str, list[int]],
    row_maps: Mapping[str, RowMap],
    path: Path,
) -> tuple[dict[str, str], dict[str, list[int]]]:
    """Return the variable that takes each of a source, and the shapes of the latter."""
    names: dict[str, str] = {}
    shapes: dict[str, list[int]] = {}
    num_seeds = [
        len({role for role in roles if role is not None and role.group == "seed"})
        for roles in (targets, [role for role, _ in entries.values()])
    ]
    for name, (role, shape) in entries.items():
        shapes[name] = list(shape)
        if role is None or role not in targets:
            continue
        if role.group == "seed" and num_seeds[0] != num_seeds[1]:
            continue  # there is dropout in one of the models only
        target = targets[role]
        names[name] = target
        expected = list(target_shapes[target])
        if target in row_maps:
            shapes[name] = [row_maps[target].num_source_rows, *expected[1:]]
        elif shapes[name] != expected:
            raise InputError(
                f"init_from {path} has another architecture: a weight has shape "
                f"{shapes[name]} there, {expected} here; give the same settings of "
                "the model"
            )
    missing = [
        role
        for role in targets
        if role.group == "weight" and targets[role] not in names.values()
    ]
    if missing:
        raise InputError(
            f"init_from {path} has another architecture: {len(names)} weights there, "
            f"{len(names) + len(missing)} here; give the same settings of the model"
        )
    return names, shapes
