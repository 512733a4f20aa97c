"""The weights that early stopping keeps: one file that ends with its checksum."""

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfdlrm.base import local_copies, storage
from tfdlrm.base.checksums import file_sha256
from tfdlrm.base.errors import InputError
from tfdlrm.checkpoints.carry import CarriedVariables
from tfdlrm.checkpoints.entries import PIECE_BYTES, Piece
from tfdlrm.checkpoints.variable import StoredVariable
from tfdlrm.checkpoints.variables import SavedVariables
from tfdlrm.layers._fused_tables import FusedTables
from tfdlrm.optimizers._parts import parts_of
from tfdlrm.training.run_directory import RunDirectory

# HDF5 ignores what follows its own end. A separate file could be of other weights after
# a kill between the two.
_TRAILER = re.compile(rb"\nsha256 ([0-9a-f]{64})\n")
_TRAILER_BYTES = 73
_READ_BYTES = 2**22


def write_best_weights(model: keras.Model, run: RunDirectory) -> None:
    """Write the weights of a model, replacing earlier ones.

    Raises:
        OSError: If the disk refuses.
    """
    target = run.best_weights_file
    with storage.whole(target, suffix=".weights.h5") as temporary:
        with _tables_in_pieces(model):
            model.save_weights(temporary)
        checksum = file_sha256(temporary)
        with temporary.open("ab") as file:
            file.write(f"\nsha256 {checksum}\n".encode())


def load_best_weights(model: keras.Model, run: RunDirectory) -> None:
    """Load the best weights of a run into a model.

    Raises:
        InputError: If they are missing, damaged, or of another model.
    """
    path = check_best_weights(run)
    with _readable(run), _tables_in_pieces(model):
        model.load_weights(path)


def read_best_weights(
    model: keras.Model, run: RunDirectory, variables: CarriedVariables
) -> None:
    """Read the best weights of a run, with the optimizer's state of their step.

    Args:
        model: A compiled model of the run's architecture, whose tables may have other
            rows; its weights change.
        run: The run.
        variables: Variables that take the values, by the names of those of `model`.

    Raises:
        InputError: If they are missing, damaged, or of another model.
    """
    path = check_best_weights(run)
    passed_on: set[str] = set()

    def pass_on(stored: list[StoredVariable], store: Any) -> None:
        group = _group_of(store, len(stored))
        for number, variable in enumerate(stored):
            values, name = group[str(number)], variable.name
            _check_shape(values, tuple(variables.shapes[name]))
            passed_on.add(name)
            if not values.shape:
                variables.assign(Piece(name, values[()]))
                continue
            step = max(1, PIECE_BYTES // max(1, values.nbytes // len(values)))
            for start in range(0, len(values), step):
                rows = range(start, min(start + step, len(values)))
                variables.assign(Piece(name, values[rows.start : rows.stop], rows))

    with _readable(run):
        with _tables_in_pieces(model, pass_on):
            model.load_weights(path)
        for piece in SavedVariables(model).all_pieces():
            if piece.name not in passed_on:
                variables.assign(piece)


@contextmanager
def _readable(run: RunDirectory) -> Iterator[None]:
    """Say in one line that the best weights cannot be read inside the block."""
    try:
        yield
    except Exception as error:  # the file may be damaged in any way
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"{run.best_weights_file} cannot be read ({reason}): expected the best "
            "weights of this run; put back a copy of the file, or train again with "
            "another --run_dir"
        ) from None


def load_kept_weights(
    model: keras.Model, run: RunDirectory, stops_early: bool, state: dict[str, Any]
) -> None:
    """Load the best weights of a run into a model, if the run keeps them.

    Args:
        model: The model, with the weights of a checkpoint.
        run: The run.
        stops_early: Whether the run has early stopping.
        state: The state of the checkpoint.

    Raises:
        InputError: If they are expected and missing, or damaged.
    """
    splits = [point["split"] for point in state.get("points", [])]
    if run.best_weights_file.is_file() or (stops_early and "validation" in splits):
        load_best_weights(model, run)


def check_best_weights(run: RunDirectory) -> Path:
    """Compare the best weights of a run with their checksum.

    Returns:
        The file, on this machine.

    Raises:
        InputError: If it is missing or damaged.
    """
    target = run.best_weights_file
    if not target.is_file():
        raise InputError(
            f"{target} is missing, expected the weights of the best step: put it back, "
            "or train again with another --run_dir"
        )
    path = local_copies.local_copy(target)
    actual, expected = _checksums(path)
    if expected is None:
        print(f"{target} holds no checksum of its own: it cannot be checked for damage")
    elif actual != expected:
        raise InputError(
            f"{target} is damaged: its SHA-256 is {actual}, expected {expected}; put "
            "back a copy of the file, or train again with another --run_dir"
        )
    return path


@contextmanager
def _tables_in_pieces(
    model: keras.Model,
    load: Callable[[list[StoredVariable], Any], None] | None = None,
) -> Iterator[None]:
    """Let Keras save and load tables and their state in pieces, inside the block.

    By itself Keras copies each of them on the device of the table.

    Args:
        model: The model.
        load: Takes the variables of a layer or optimizer and their values in Keras'
            file; `None` assigns the values.
    """
    optimizers = [optimizer for optimizer in _optimizers(model) if optimizer.built]
    variables = SavedVariables(model, with_optimizer=bool(optimizers))
    owners = {
        layer: layer.tables
        for layer in model._flatten_layers()
        if isinstance(layer, FusedTables)
    }
    owners |= {optimizer: optimizer.variables for optimizer in optimizers}
    for owner, owned in owners.items():
        stored = [variables.holder_of(variable) for variable in owned]
        owner.save_own_variables = partial(_save, stored)
        owner.load_own_variables = partial(load or _load, stored)
    try:
        yield
    finally:
        for owner in owners:  # the methods of the class are used again
            del owner.save_own_variables, owner.load_own_variables


def _optimizers(model: keras.Model) -> list[Any]:
    """Return the optimizers that step, and the one that scales the loss."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        return []
    scaling = [optimizer] if hasattr(optimizer, "inner_optimizer") else []
    return [*scaling, *parts_of(optimizer)]


def _save(variables: list[StoredVariable], store: Any) -> None:
    """Write the variables of a layer or optimizer to Keras' file, as Keras would."""
    for number, variable in enumerate(variables):
        name = str(number)
        if variable.fits_a_piece:
            store[name] = variable.whole().values
            continue
        store[name] = np.empty(0)  # Keras creates the group with the first variable
        group = store._h5_entry_group
        del group[name]
        values = group.create_dataset(name, variable.shape, variable.dtype)
        for piece in variable.pieces(range(variable.shape[0])):
            assert isinstance(piece.rows, range)
            values[piece.rows.start : piece.rows.stop] = piece.values


def _load(variables: list[StoredVariable], store: Any) -> None:
    group = _group_of(store, len(variables))
    for number, variable in enumerate(variables):
        values = group[str(number)]  # read from the file where it is sliced
        _check_shape(values, variable.shape)
        rows = None if variable.fits_a_piece else range(variable.shape[0])
        variable.assign(Piece("", values if rows else values[()], rows))


def _group_of(store: Any, num_variables: int) -> Any:
    """Return the group of Keras' file with the variables of a layer or optimizer."""
    group = store._h5_entry_group
    if len(group) != num_variables:
        raise ValueError(f"{len(group)} variables, expected {num_variables}")
    return group


def _check_shape(values: Any, expected: tuple[int, ...]) -> None:
    if values.shape != expected:
        raise ValueError(f"shape {values.shape}, expected {expected}")


def _checksums(path: Path) -> tuple[str, str | None]:
    """Return the checksum of the weights in a file, and the one at its end.

    The second is `None` if an earlier release wrote the file.
    """
    num_bytes = path.stat().st_size - _TRAILER_BYTES
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while num_bytes > 0 and (contents := file.read(min(_READ_BYTES, num_bytes))):
            digest.update(contents)
            num_bytes -= len(contents)
        trailer = _TRAILER.fullmatch(file.read())
    return digest.hexdigest(), trailer[1].decode() if trailer else None
