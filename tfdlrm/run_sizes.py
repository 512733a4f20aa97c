"""Amounts that the memory of a training run depends on."""

PIECE_BYTES = 1 << 24
"""About what one piece of a table takes in a checkpoint."""

MAX_COPY_BYTES = 1 << 28
"""What may be copied in memory to be written later; where more has changed, the tables
are written anew."""

CURVE_VALIDATION_ROWS = 200_000
"""Validation rows behind a point of the curves; the final measures use all of them."""
