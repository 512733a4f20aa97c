"""Checkpoints written while training goes on.

Large tables are written in pieces while their rows change, which alone would mix rows
of different steps. So the rows that change from then on are recorded, and the next
checkpoint holds those few rows as they are at its step: both together are the tables of
that step. Later checkpoints build on the same tables as long as few rows have changed.
"""

from collections.abc import Callable, Iterable, Iterator
from threading import Thread
from typing import Any

from tfdlrm.checkpoints.directory import CheckpointDirectory
from tfdlrm.checkpoints.entries import MAX_COPY_BYTES, Piece
from tfdlrm.checkpoints.variables import SavedVariables


class CheckpointWriter:
    """Writer of a run's checkpoints, one at a time, in a thread.

    Args:
        directory: The directory of the checkpoints.
        variables: The variables to write, with watched tables.
        state: The restored or the initial state.
    """

    def __init__(
        self,
        directory: CheckpointDirectory,
        variables: SavedVariables,
        state: dict[str, Any],
    ) -> None:
        self._directory = directory
        self._variables = variables
        self._tables = state.get("tables")
        self._saved_step = state["step"]
        self._thread: Thread | None = None
        self._error: Exception | None = None
        self._follows_tables = False
        # Copying smaller tables takes no longer than finding their changes.
        self._has_tables = variables.table_bytes > MAX_COPY_BYTES

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self.wait()

    @property
    def is_busy(self) -> bool:
        """Whether something is still being written."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def writes_tables(self) -> bool:
        """Whether tables are being written, which takes long."""
        return self.is_busy and self._has_tables and self._tables is None

    def poll(self) -> bool:
        """Whether to begin a checkpoint now, because its tables are written.

        Raises:
            OSError: If the disk refused the last write; any other exception of the last
                write is raised too.
        """
        self.wait()
        error, self._error = self._error, None
        if error is not None:
            raise error
        return self._follows_tables

    def wait(self) -> None:
        """Wait until nothing is being written."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def begin(self, step: int, state: dict[str, Any]) -> None:
        """Begin a checkpoint of this step, or the tables for one of a later step.

        Args:
            step: Training steps done.
            state: Other values to restore.

        Raises:
            OSError: If the disk refuses.
        """
        follows_tables, self._follows_tables = self._follows_tables, False
        if self._has_tables:
            has_many_changes = (
                self._tables is None or self._variables.changed_bytes() > MAX_COPY_BYTES
            )
            if has_many_changes and not follows_tables:
                self._begin_tables(step)
                return
            if has_many_changes:
                # The disk is slow. Training waits, but memory stays bounded.
                self._write_step(step, state, self._changed_pieces())
                return
        pieces = list(self._changed_pieces())
        self._start(lambda: self._write_step(step, state, pieces))

    def save(self, step: int, state: dict[str, Any], is_changed: bool = False) -> None:
        """Write a checkpoint of this step now, unless it exists.

        Args:
            step: Training steps done.
            state: Other values to restore.
            is_changed: Whether to replace an existing one.

        Raises:
            OSError: If the disk refuses.
        """
        self.wait()
        self._error = None  # this one replaces it
        self._follows_tables = False
        if is_changed or step != self._saved_step:
            self._write_step(step, state, self._changed_pieces())

    def _changed_pieces(self) -> Iterator[Piece]:
        """Return what differs from the tables on disk, or everything without such."""
        if self._has_tables and self._tables is not None:
            return self._variables.changed_pieces()
        return self._variables.all_pieces()

    def _write_step(
        self, step: int, state: dict[str, Any], pieces: Iterable[Piece]
    ) -> None:
        tables = self._tables if self._has_tables else None
        state = {**state, "shapes": self._variables.shapes, "tables": tables}
        self._directory.write_step(step, state, pieces)
        self._saved_step = step

    def _begin_tables(self, step: int) -> None:
        self._variables.forget_changes()
        self._tables = None

        def write() -> None:
            pieces = self._variables.table_pieces()
            self._tables = self._directory.write_tables(step, pieces)
            self._follows_tables = True

        self._start(write)

    def _start(self, write: Callable[[], None]) -> None:
        def run() -> None:
            try:
                write()
            except Exception as error:  # for the thread that trains to raise
                self._error = error

        self._thread = Thread(target=run, name="checkpoint")
        self._thread.start()
