"""Ids by hashing the value; no vocabulary."""

import farmhash
import numpy as np
import polars as pl

from tfdlrm.data.schema import MISSING_ID, NUM_RESERVED_IDS


class HashTable:
    """From values to buckets; see `pipelines.ids.dialects.HashDialect`.

    Args:
        num_buckets: Number of ids besides the reserved ones.

    Example:

    >>> HashTable(10).ids(pl.Series([7, None, 25], dtype=pl.UInt32)).tolist()
    [9, 1, 7]
    """

    def __init__(self, num_buckets: int) -> None:
        self._num_buckets = num_buckets

    def ids(self, values: pl.Series) -> np.ndarray:
        """Return the id of each of `values`, as int32."""
        hashes = _fingerprints(values) if values.dtype == pl.String else values
        ids = (hashes % self._num_buckets).cast(pl.Int32) + NUM_RESERVED_IDS
        return ids.fill_null(MISSING_ID).to_numpy(writable=True)

    def are_unknown(self, values: pl.Series, ids: np.ndarray) -> np.ndarray:
        """Return False for all values: every value has a bucket."""
        del ids
        return np.zeros(len(values), bool)


def _fingerprints(texts: pl.Series) -> pl.Series:
    """Return the FarmHash fingerprint of each text, as UInt64; null for null."""
    distinct_texts = texts.drop_nulls().unique().alias("text")
    hashes = pl.Series(
        "hash", [farmhash.fingerprint64(text) for text in distinct_texts], pl.UInt64
    )
    with_hashes = (
        texts.alias("text")
        .to_frame()
        .join(
            pl.DataFrame([distinct_texts, hashes]),
            on="text",
            how="left",
            maintain_order="left",
        )
    )
    return with_hashes["hash"]
