"""How a raw column of a model reads a value that JSON has; loads no TensorFlow."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Content = Literal["number", "integer", "category", "hash"]


@dataclass(frozen=True)
class RawColumn:
    """A column of the signatures that take raw rows, which they take as text.

    Args:
        content: What a value is: a `number`, one of Criteo's `integer`s or `hash`es, or
            a `category`.
        is_typed: Whether the column was prepared from typed values, not from text.
        joins_floats: Whether the category `7.0` is the same as `7`.
        is_bag: Whether a row may have any number of values.
        separator: Text between the values of a bag; `None` if they come as a list.
        booleans: False and true as the column has them; `None` if nobody knows.
    """

    content: Content
    is_typed: bool = False
    joins_floats: bool = False
    is_bag: bool = False
    separator: str | None = None
    booleans: tuple[str, str] | None = None

    @property
    def is_listed(self) -> bool:
        """Whether the model takes the values of a row as a list, not as one text."""
        return self.is_bag and self.separator is None


@dataclass(frozen=True)
class ExampleColumns:
    """What the features of a request's Examples are, where JSON has them.

    Args:
        columns: The raw columns of the model, by name.
    """

    columns: Mapping[str, RawColumn]
