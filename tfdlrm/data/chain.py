"""The chain of data sets that a data set extends, as its schema records it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ChainLink:
    """A data set that a later one extends.

    Args:
        meaning: Fingerprint of the meaning of its ids, numbers and labels; see
            `tfdlrm.data.meaning`.
        data_set: Fingerprint of its rows; `None` if an exported model does not know.
        days: Number of days of its log.
        num_ids: Number of ids of each categorical column.
    """

    meaning: str
    data_set: str | None
    days: int
    num_ids: dict[str, int]

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "ChainLink":
        """Read a link from the JSON of a schema.

        Raises:
            KeyError, TypeError, AttributeError: If `fields` are something else.
        """
        num_ids = {name: int(number) for name, number in fields["num_ids"].items()}
        return cls(**{**fields, "num_ids": num_ids})
