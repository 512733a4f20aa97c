"""Inputs and outputs of signatures; loads no TensorFlow."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tfdlrm.serving.data_types import DataType
from tfdlrm.serving.errors import refuse
from tfdlrm.serving.raw_column import RawColumn


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a signature; size -1 may vary.

    Args:
        tensor: Name of the tensor in the graph.
        dtype: Type of its values.
        shape: Its shape; `None` for any.
        column: What a raw column holds, where the model says so: JSON may then have
            numbers and lists, which are written as text.
    """

    tensor: str
    dtype: DataType
    shape: tuple[int, ...] | None
    column: RawColumn | None = None

    @property
    def is_batched(self) -> bool:
        """Whether the first size is the number of rows."""
        return self.shape is not None and self.shape[:1] == (-1,)

    def accepts(self, shape: Sequence[int]) -> bool:
        """Return whether an array of this shape may be fed."""
        if self.shape is None:
            return True
        if len(shape) != len(self.shape):
            return False
        # A loop, not `all`, since every request comes by.
        for expected, size in zip(self.shape, shape, strict=True):
            if expected != -1 and expected != size:
                return False
        return True

    @cached_property
    def values_per_row(self) -> int | None:
        """Number of values behind the first size; `None` where it may vary."""
        if self.shape is None or -1 in self.shape[1:]:
            return None
        return math.prod(self.shape[1:])

    def check(self, name: str, shape: Sequence[int], max_rows: int) -> None:
        """Check the size of an array.

        Its shape is the model's business: many a graph takes more shapes than its
        signature declares, and reports the others itself.

        Args:
            name: Name of the input, for messages.
            shape: Shape of the array.
            max_rows: More rows, and more values than they have, are refused.

        Raises:
            ServingError: If the array is too large.
        """
        if len(shape) and shape[0] > max_rows:
            refuse(f"input {name} has {shape[0]} rows, expected <= {max_rows}")
        per_row = self.values_per_row
        if per_row is not None and math.prod(shape) > max_rows * per_row:
            refuse(
                f"input {name} has the shape {list(shape)}, expected "
                f"{list(self.shape or ())} with <= {max_rows} rows"
            )


Specs = Mapping[str, TensorSpec]
"""The inputs of a signature, by name."""


def only_input(specs: Specs) -> str:
    """Return the name of a signature's only input.

    Raises:
        ServingError: If it has several.
    """
    if len(specs) > 1:
        refuse(
            "plain values where an object is expected: the signature has the inputs "
            f"{', '.join(specs)}"
        )
    return next(iter(specs))
