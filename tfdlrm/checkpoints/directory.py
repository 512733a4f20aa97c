"""Weights, optimizer state and progress on disk: complete or absent.

A checkpoint `step-N` holds all of a small model. It may hold only some rows of large
tables: those that changed since the directory `tables-M`, which it names, was begun.
That directory has all rows; the checkpoint has those that changed meanwhile.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import keras

from tfdlrm.base import directories, storage
from tfdlrm.base.checksums import file_sha256, seal
from tfdlrm.base.errors import InputError
from tfdlrm.checkpoints.carry import CarriedVariables
from tfdlrm.checkpoints.entries import Piece, write_pieces
from tfdlrm.checkpoints.step import (
    DAMAGE,
    OWNER,
    PIECES_FILE,
    STATE_FILE,
    read_step,
    state_of,
    tables_of,
)
from tfdlrm.checkpoints.variables import SavedVariables
from tfdlrm.data.meaning import Meaning, read_meaning
from tfdlrm.data.meaning_differences import differences, summarize


class CheckpointDirectory:
    """The checkpoints of one run, each a directory `step-N`.

    Args:
        path: The directory; it need not exist.
        keep: Number of newest checkpoints to keep.
    """

    def __init__(self, path: Path, keep: int = 1) -> None:
        self.path = storage.at(path)
        self._keep = keep

    def newest_first(self) -> list[Path]:
        """Return the directories of the checkpoints."""
        paths = sorted(self.path.glob("step-*"), reverse=True)
        if not storage.is_remote(self.path):
            return paths
        return [path for path in paths if (path / STATE_FILE).is_file()]

    def write_tables(self, step: int, pieces: Iterable[Piece]) -> str:
        """Write all rows of the tables.

        Args:
            step: Training steps done when it begins.
            pieces: The rows.

        Returns:
            The name for `tables` in the state of a checkpoint.

        Raises:
            OSError: If the disk refuses.
        """
        name = f"tables-{step:010d}"
        self._write(name, pieces, None)
        return name

    def write_step(
        self, step: int, state: dict[str, Any], pieces: Iterable[Piece]
    ) -> None:
        """Write a checkpoint, and remove those that are too old.

        Args:
            step: Training steps done.
            state: Other values to restore, as JSON; `shapes` are those of all
                variables, `tables` is what `write_tables` returned, or `None`.
            pieces: All entries that are not in those tables.

        Raises:
            OSError: If the disk refuses; the checkpoints before are untouched.
        """
        self._write(f"step-{step:010d}", pieces, state)
        self._prune()

    def _write(
        self, name: str, pieces: Iterable[Piece], state: dict[str, Any] | None
    ) -> None:
        """Write a temporary directory and rename it."""
        directories.make_directories(self.path)
        if not storage.is_remote(self.path):
            for remains in self.path.glob(".*.partial"):  # of a killed process
                directories.remove_tree(remains)
        with directories.new_directory(self.path / name, last=STATE_FILE) as temporary:
            temporary.mkdir()
            write_pieces(temporary / PIECES_FILE, pieces, name)
            if state is not None:
                text = seal({**state, OWNER: name})
                (temporary / STATE_FILE).write_text(text, encoding="utf-8")

    def _prune(self) -> None:
        """Remove checkpoints that are too old, and tables that no checkpoint needs.

        Tables may be damaged too, so a second checkpoint on the same tables is no
        second chance: the newest checkpoint on the previous tables stays too.
        """
        checkpoints = self.newest_first()
        remaining = checkpoints[: self._keep]
        tables = {tables_of(path) for path in remaining}
        if self._keep > 1 and len(tables) == 1:
            remaining += [
                path for path in checkpoints if tables_of(path) not in tables
            ][:1]
        for path in set(checkpoints) - set(remaining):
            directories.remove_tree(path)
        table_files = {tables_of(path) for path in remaining}
        for path in self.path.glob("tables-*"):
            if path.name not in table_files:
                directories.remove_tree(path)

    def restore(
        self,
        variables: SavedVariables,
        data_set: str | None = None,
        meaning: Meaning | None = None,
        same_rows: bool = True,
    ) -> dict[str, Any] | None:
        """Read the newest checkpoint that is not damaged.

        A damaged one is skipped, with a line that says so.

        Args:
            variables: The variables of a model of the same architecture.
            data_set: The fingerprint of the expected data set.
            meaning: The meaning of its ids and labels.
            same_rows: Whether the rows must be the same ones, as for resuming in the
                middle of a pass; otherwise the same meaning is enough.

        Returns:
            The state that was saved with it; `None` if there is no checkpoint.

        Raises:
            InputError: If all of them are damaged, or of another data set.
        """
        self._check_data_set(data_set, meaning, same_rows)
        state, damaged = self._read_newest(variables)
        if damaged and state is None:
            raise InputError(
                f"none of the checkpoints in {self.path} can be read: remove them to "
                "train from the start"
            )
        for path in damaged:  # otherwise it would count as a newest one to keep
            renamed = path.with_name(f"damaged-{path.name}")
            directories.remove_tree(renamed)
            with suppress(FileNotFoundError):  # another worker did it
                path.replace(renamed)
        return state

    def load_weights(
        self,
        model: keras.Model,
        data_set: str | None = None,
        meaning: Meaning | None = None,
    ) -> dict[str, Any]:
        """Read the newest undamaged checkpoint for predictions.

        Of the optimizer only that of a compiled model is read.

        Args:
            model: A model of the same architecture.
            data_set: As for `restore`.
            meaning: As for `restore`; if it is known, other rows are accepted.

        Returns:
            The state that was saved with them.

        Raises:
            InputError: If there is no checkpoint, none can be read, or they are of
                another data set.
        """
        is_compiled = getattr(model, "optimizer", None) is not None
        variables = SavedVariables(model, with_optimizer=is_compiled)
        self._check_data_set(data_set, meaning, same_rows=False)
        return self.read(variables)

    def read(self, variables: SavedVariables | CarriedVariables) -> dict[str, Any]:
        """Read the newest undamaged checkpoint of another run, which may be training.

        Nothing changes on the disk.

        Args:
            variables: Variables that take the values.

        Returns:
            The state that was saved with them.

        Raises:
            InputError: If there is no checkpoint, or none can be read.
        """
        state, damaged = self._read_newest(variables)
        while state is None and not all(path.exists() for path in damaged):
            # The run has replaced them by newer ones.
            state, damaged = self._read_newest(variables)
        if damaged and state is None:
            raise InputError(
                f"none of the checkpoints in {self.path} can be read: expected those "
                "of this model"
            )
        if state is None:
            raise InputError(f"{self.path} holds no checkpoint: did the training run?")
        return state

    def newest_step(self) -> int | None:
        """Return the step of the newest checkpoint, a damaged one included, if any."""
        names = [path.name for path in self.path.glob("*step-*")]
        return max((int(name.rpartition("-")[2]) for name in names), default=None)

    def identity(self) -> str | None:
        """Return a checksum that identifies the newest checkpoint; `None` without one.

        After a kill it shows whether the weights are still the same.
        """
        newest = next(iter(self.newest_first()), None)
        return None if newest is None else file_sha256(newest / STATE_FILE)

    def newest_state(self) -> dict[str, Any] | None:
        """Return the newest state that is not damaged, without its weights."""
        states = (state_of(path) for path in self.newest_first())
        return next((state for state in states if state), None)

    def _read_newest(
        self, variables: SavedVariables | CarriedVariables
    ) -> tuple[dict[str, Any] | None, list[Path]]:
        """Return the state of the newest undamaged one or `None`, and damaged ones."""
        damaged: list[Path] = []
        for path in self.newest_first():
            try:
                return read_step(path, variables), damaged
            except DAMAGE as error:
                damaged.append(path)
                if not path.exists():
                    continue  # the run that is training has removed it
                reason = str(error).partition("\n")[0]
                print(f"{path} is damaged ({reason}): trying the one before")
        return None, damaged

    def _check_data_set(
        self, data_set: str | None, meaning: Meaning | None, same_rows: bool
    ) -> None:
        """Distinguish another data set, whose tables have other sizes, from damage."""
        state = self.newest_state()
        if state is None:
            return
        saved_meaning = read_meaning(state["meaning"]) if "meaning" in state else None
        changes = []
        if saved_meaning and meaning:
            changes = differences(saved_meaning, meaning)
        if changes:
            raise InputError(
                f"{self.path} is of a run on another data set: {summarize(changes)}; "
                "prepare that one again, or give another --run_dir"
            )
        meanings = saved_meaning, meaning
        is_known = all(side is not None and side.is_known for side in meanings)
        if same_rows or not is_known:
            self._check_rows(state, data_set)
        if saved_meaning is None and meaning is not None:
            print(
                f"{self.path} was written by an earlier release and does not say what "
                "its ids mean: that it is the same here is not checked"
            )

    def _check_rows(self, state: dict[str, Any], data_set: str | None) -> None:
        if data_set is not None and state.get("data_set", data_set) != data_set:
            raise InputError(
                f"{self.path} is of a run on another data set, whose shards have other "
                "checksums: prepare that one again, or give another --run_dir"
            )
