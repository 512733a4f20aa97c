"""One checkpoint on disk, a directory `step-N`."""

from pathlib import Path
from typing import Any

from tfdlrm.base.checksums import unseal
from tfdlrm.base.errors import InputError
from tfdlrm.checkpoints.carry import CarriedVariables
from tfdlrm.checkpoints.entries import DamagedError, read_pieces
from tfdlrm.checkpoints.variables import SavedVariables

STATE_FILE = "state.json"
PIECES_FILE = "variables.pieces"

OWNER = "checkpoint"
"""Entry of a state with the name of its checkpoint. A state copied from another one
would resume the weights at a wrong step."""

DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, DamagedError)
"""Errors from reading a damaged checkpoint of an earlier release without checksum."""


def state_of(path: Path) -> dict[str, Any] | None:
    """Return the state of a checkpoint; `None` if it is damaged."""
    try:
        return unseal((path / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def tables_of(path: Path) -> str | None:
    """Return the tables that a checkpoint builds on; its own name if it needs none."""
    state = state_of(path)
    return None if state is None else state.get("tables") or path.name


def read_checkpoint(
    path: Path, variables: SavedVariables | CarriedVariables
) -> dict[str, Any]:
    """Read one checkpoint, and no other if it is damaged.

    Args:
        path: The directory `step-N`.
        variables: Variables that take the values.

    Returns:
        The state that was saved with them.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        return read_step(path, variables)
    except DAMAGE as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{path} is damaged ({reason}): give the run, whose newest undamaged "
            "checkpoint is then taken, or another checkpoint"
        ) from None


def read_step(
    path: Path, variables: SavedVariables | CarriedVariables
) -> dict[str, Any]:
    """Read a checkpoint into `variables` and return its state.

    Raises:
        OSError, ValueError, KeyError, TypeError, AttributeError, DamagedError: If it is
            damaged; `variables` may have some values.
    """
    state = unseal((path / STATE_FILE).read_text(encoding="utf-8"))
    owner = state.pop(OWNER, path.name)
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
