"""Weights, optimizer state and progress on disk: whole or not there at all.

A checkpoint `step-N` holds everything of a small model. Of large tables it may hold
only the rows that changed since the directory `tables-M` that it names was begun, which
has all rows: the ones that changed while that was written are in the checkpoint anyway.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import keras

from tfdlrm.base import storage
from tfdlrm.base.checksums import file_sha256, seal, unseal
from tfdlrm.base.errors import InputError
from tfdlrm.checkpoints.entries import DamagedError, Piece, read_pieces, write_pieces
from tfdlrm.checkpoints.variables import SavedVariables
from tfdlrm.data.meaning import Meaning, read_meaning
from tfdlrm.data.meaning_differences import differences, summarize

STATE_FILE = "state.json"
PIECES_FILE = "variables.pieces"

_OWNER = "checkpoint"
"""Entry of a state with the name of its checkpoint: that of another one, copied there,
would send weights on from a step that they are not of."""

_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, DamagedError)
"""What reading a checkpoint of an earlier release, without a checksum, may raise."""


class CheckpointDirectory:
    """The checkpoints of one run, each a directory `step-N`.

    Args:
        path: The directory; it need not exist.
        keep: How many of the newest to keep.
    """

    def __init__(self, path: Path, keep: int = 1) -> None:
        self.path = storage.at(path)
        self._keep = keep

    def newest_first(self) -> list[Path]:
        """Return the directories of the checkpoints."""
        checkpoints = sorted(self.path.glob("step-*"), reverse=True)
        if not storage.is_remote(self.path):
            return checkpoints
        return [path for path in checkpoints if (path / STATE_FILE).is_file()]

    def write_tables(self, step: int, pieces: Iterable[Piece]) -> str:
        """Write all rows of the tables.

        Args:
            step: Training steps done when it begins.
            pieces: The rows.

        Returns:
            The name that a checkpoint gives as `tables`.

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
            state: What else is to be restored, as JSON has it; with `shapes`, those of
                all variables, and `tables`, what `write_tables` gave or `None`.
            pieces: Everything that is not in those tables.

        Raises:
            OSError: If the disk refuses; the checkpoints before are untouched.
        """
        self._write(f"step-{step:010d}", pieces, state)
        self._prune()

    def _write(
        self, name: str, pieces: Iterable[Piece], state: dict[str, Any] | None
    ) -> None:
        """Write a directory aside and give it its name."""
        storage.make_directories(self.path)
        if not storage.is_remote(self.path):
            for left_behind in self.path.glob(".*.partial"):  # by a killed process
                storage.remove_tree(left_behind)
        with storage.new_directory(self.path / name, last=STATE_FILE) as temporary:
            temporary.mkdir()
            write_pieces(temporary / PIECES_FILE, pieces, name)
            if state is not None:
                text = seal({**state, _OWNER: name})
                (temporary / STATE_FILE).write_text(text, encoding="utf-8")

    def _prune(self) -> None:
        """Remove checkpoints that are too old, and tables that none needs.

        Tables may be damaged as well, so that a second checkpoint of the same ones is
        no second chance: the newest of the tables before stays too.
        """
        checkpoints = self.newest_first()
        retained = checkpoints[: self._keep]
        tables = {_tables_of(path) for path in retained}
        if self._keep > 1 and len(tables) == 1:
            retained += [
                path for path in checkpoints if _tables_of(path) not in tables
            ][:1]
        for path in set(checkpoints) - set(retained):
            storage.remove_tree(path)
        table_files = {_tables_of(path) for path in retained}
        for path in self.path.glob("tables-*"):
            if path.name not in table_files:
                storage.remove_tree(path)

    def restore(
        self,
        variables: SavedVariables,
        data_set: str | None = None,
        meaning: Meaning | None = None,
        same_rows: bool = True,
    ) -> dict[str, Any] | None:
        """Read the newest checkpoint that is whole.

        A damaged one is passed over, with a line that says so.

        Args:
            variables: Those of a model of the same architecture.
            data_set: The fingerprint of the data set that they have to be of.
            meaning: What its ids and labels mean.
            same_rows: Whether the rows have to be the same ones, as for going on in the
                middle of a pass; otherwise the meaning is enough.

        Returns:
            The state that was saved with it; `None` if there is no checkpoint at all.

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
        for path in damaged:  # else it would count as one of those to keep
            damaged_path = path.with_name(f"damaged-{path.name}")
            storage.remove_tree(damaged_path)
            with suppress(FileNotFoundError):  # another worker did it
                path.replace(damaged_path)
        return state

    def load_weights(
        self,
        model: keras.Model,
        data_set: str | None = None,
        meaning: Meaning | None = None,
    ) -> dict[str, Any]:
        """Read the weights of the newest checkpoint that is whole, for predictions.

        Args:
            model: A model of the same architecture.
            data_set: As for `restore`.
            meaning: As for `restore`; where it is known, other rows are fine.

        Returns:
            The state that was saved with them.

        Raises:
            InputError: If there is no checkpoint, or none can be read, or they are of
                another data set.
        """
        variables = SavedVariables(model, with_optimizer=False)
        self._check_data_set(data_set, meaning, same_rows=False)
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
        """Return what distinguishes the newest checkpoint from any other, if any.

        After a kill it shows whether the weights are still those of before.
        """
        newest = next(iter(self.newest_first()), None)
        return None if newest is None else file_sha256(newest / STATE_FILE)

    def _read_newest(
        self, variables: SavedVariables
    ) -> tuple[dict[str, Any] | None, list[Path]]:
        """Return the state of the newest intact checkpoint, and newer damaged ones."""
        damaged: list[Path] = []
        for path in self.newest_first():
            try:
                return _read(path, variables), damaged
            except _DAMAGE as error:
                reason = str(error).partition("\n")[0]
                print(f"{path} is damaged ({reason}): trying the one before")
                damaged.append(path)
        return None, damaged

    def _check_data_set(
        self, data_set: str | None, meaning: Meaning | None, same_rows: bool
    ) -> None:
        """Distinguish another data set, whose tables have other sizes, from damage."""
        states = (_state_of(path) for path in self.newest_first())
        state = next((state for state in states if state), None)
        if state is None:
            return
        saved_meaning = read_meaning(state["meaning"]) if "meaning" in state else None
        changes = (
            differences(saved_meaning, meaning) if saved_meaning and meaning else []
        )
        if changes:
            raise InputError(
                f"{self.path} is of a run on another data set: {summarize(changes)}; "
                "prepare that one again, or give another --run_dir"
            )
        is_known = all(
            one_meaning is not None and one_meaning.is_known
            for one_meaning in (saved_meaning, meaning)
        )
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


def _state_of(path: Path) -> dict[str, Any] | None:
    """Return the state that a checkpoint holds; `None` if it is damaged."""
    try:
        return unseal((path / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _tables_of(path: Path) -> str | None:
    """Return the tables that a checkpoint builds on; its own name if it needs none."""
    state = _state_of(path)
    return None if state is None else state.get("tables") or path.name


def _read(path: Path, variables: SavedVariables) -> dict[str, Any]:
    """Read a checkpoint into `variables`; returns its state."""
    state = unseal((path / STATE_FILE).read_text(encoding="utf-8"))
    owner = state.pop(_OWNER, path.name)
    if owner != path.name:
        raise DamagedError(f"{STATE_FILE} is that of {owner}")
    for name, shape in variables.shapes.items():
        saved = state["shapes"].get(name)
        if saved != shape:
            raise DamagedError(f"{name} has shape {saved} there, {shape} in this model")
    variables.forget_changes()
    if state["tables"] is not None:
        tables = path.parent / state["tables"]
        for piece in read_pieces(tables / PIECES_FILE, tables.name):
            variables.assign(piece)
    for piece in read_pieces(path / PIECES_FILE, path.name):
        variables.assign(piece, is_change=True)
    return state
