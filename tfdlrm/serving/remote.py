"""A model behind TF Serving or the embedded server, whatever the protocol."""

import random
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tfdlrm.base.errors import InputError
from tfdlrm.exporting.raw_columns import (
    COUNTS,
    COVERAGE_SIGNATURE,
    RAW_SIGNATURE,
    UNKNOWN_SIGNATURE,
)

T = TypeVar("T")

Columns = Mapping[str, Sequence[bytes] | Sequence[Sequence[bytes]]]
"""Fields of raw rows, by column; of a column of lists, as many fields of each row."""

Inputs = Columns | Mapping[str, Sequence[int]]

FIRST_WAIT_SECONDS = 0.1


class PassingError(Exception):
    """A failure that another try may avoid."""


@dataclass(frozen=True)
class Scores:
    """A server's answer to raw rows.

    Args:
        probabilities: Shape `(rows,)`.
        unknown: Number of unknown values of each categorical column, shape
            `(rows, columns)`; `None` where the model does not count them.
        values: Number of all values of each column, missing ones included.
    """

    probabilities: np.ndarray
    unknown: np.ndarray | None = None
    values: np.ndarray | None = None


class RemoteModel(ABC):
    """A model behind a server that scores raw rows."""

    _num_counted = 0
    """Categorical columns whose unknown values the model counts; `columns` sets it."""

    @abstractmethod
    def columns(self) -> list[str]:
        """Return the names of the columns that the model takes; call this first."""

    def coverage(self) -> dict[str, float]:
        """Return the usual share of unknown values of each column that is counted.

        The share is -1 where it is not known.
        """
        if not self._num_counted:
            return {}
        indices = list(range(self._num_counted))
        outputs = self._predict(COVERAGE_SIGNATURE, {"number": indices})
        names = [_decode(name) for name in outputs["name"].ravel()]
        shares = outputs["unknown_share"].ravel().tolist()
        return dict(zip(names, shares, strict=True))

    def score(self, rows: Columns) -> Scores:
        """Score rows; unknown values are counted where the model counts them."""
        counts = self._num_counted > 0
        signature = UNKNOWN_SIGNATURE if counts else RAW_SIGNATURE
        outputs = self._predict(signature, rows)
        num_rows = len(next(iter(rows.values())))
        shape = num_rows, self._num_counted
        try:
            return Scores(
                np.asarray(outputs["probability"], np.float32).reshape(num_rows),
                *(outputs[name].reshape(shape) for name in COUNTS if counts),
            )
        except (KeyError, TypeError, ValueError):
            raise InputError(
                f"the server's answer to {num_rows} rows has no output probability of "
                "one number a row: is the model one of tfdlrm's, and this a server of "
                "models?"
            ) from None

    @abstractmethod
    def _predict(self, signature: str, inputs: Inputs) -> dict[str, np.ndarray]:
        """Return the outputs of a signature; empty where the answer has none."""


def with_retries(call: Callable[[], T], retries: int, where: str) -> T:
    """Call until it works, waiting longer each time.

    Args:
        call: Function that raises `PassingError` where another try may help.
        retries: Number of further tries.
        where: Name of the server, for the message.

    Raises:
        InputError: If the last try fails too.
    """
    for attempt in range(retries + 1):
        try:
            return call()
        except PassingError as error:
            if attempt == retries:
                raise InputError(
                    f"{where} gives no answer after {retries + 1} tries: {error}"
                ) from None
            # At random times, so that clients do not all come at once again.
            time.sleep(FIRST_WAIT_SECONDS * 2**attempt * random.uniform(0.5, 1))
    raise AssertionError("unreachable")


def refusal(reason: str) -> InputError:
    """Return the error of a request that a server refuses for good."""
    hint = ""
    if "Servable not found" in reason:
        hint = "; give --model_name, the name of a model that the server serves"
    return InputError(f"the server refuses: {reason}{hint}")


def one_line(text: str) -> str:
    """Return a server's message as one line, cut where it is very long."""
    return " ".join(text.split())[:500]


def tls_context(tls: Sequence[Path]) -> ssl.SSLContext:
    """Return the context of a client.

    Args:
        tls: PEM files: authority, client's certificate and key, or the first alone.

    Raises:
        InputError: If a file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=tls[0])
        if len(tls) > 1:
            # Without a password argument it asks for one.
            context.load_cert_chain(tls[1], tls[2], password="")
    except OSError as error:
        raise InputError(
            f"TLS files {', '.join(map(str, tls))} cannot be used: {error}; expected "
            "PEM of an authority, a certificate and its key without a passphrase"
        ) from None
    return context


def _decode(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
