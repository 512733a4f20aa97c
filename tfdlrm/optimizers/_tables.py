"""Which variables are embedding tables."""

from typing import Any


def is_table(variable: Any) -> bool:
    """Return whether ids look rows of a variable up, whatever its gradient is.

    Tables are those of `EmbeddingCollection`, and so of every layer of `tfdlrm.layers`
    that looks something up, and of `keras.layers.Embedding`.

    Args:
        variable: A Keras variable.
    """
    return bool(
        getattr(variable, "is_embedding_table", False)
        or variable.name.partition(":")[0] == "embeddings"
    )
