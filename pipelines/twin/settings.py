"""Settings of the Criteo twin."""

from dataclasses import dataclass

from pipelines.twin.features import KAGGLE_VOCABULARY_SIZES
from tfdlrm.base.errors import require


@dataclass(frozen=True)
class Twin:
    """Settings of the Criteo twin; the same settings make the same bytes.

    Args:
        rows: Number of rows.
        seed: Seed of the features, the planted truth and the rows.
        vocabulary_scale: Factor of Criteo Kaggle's published vocabulary sizes.
        days: Number of equal parts, in the order of the rows, whose planted effects
            drift from one part to the next.
        drift: How much they drift, from 0, not at all, to 1, new effects every day.
        turnover: Share of the values of each categorical feature with 100 values or
            more that leave every day, and whose places new values take.
    """

    rows: int
    seed: int = 0
    vocabulary_scale: float = 1.0
    days: int = 1
    drift: float = 0.0
    turnover: float = 0.0

    def __post_init__(self) -> None:
        require(self.rows >= 1, "rows", self.rows, ">= 1")
        require(self.seed >= 0, "seed", self.seed, ">= 0")
        scale = self.vocabulary_scale
        require(0 < scale < float("inf"), "vocabulary_scale", scale, "> 0")
        require(1 <= self.days <= self.rows, "days", self.days, "from 1 to rows")
        for name in ("drift", "turnover"):
            value = getattr(self, name)
            require(0 <= value <= 1, name, value, "from 0 to 1")
            changes = self.days > 1 or value == 0
            require(changes, name, value, "0 with days 1: raise --days")
        num_values = max(KAGGLE_VOCABULARY_SIZES) * scale * self.turnover * self.days
        expected = "less: there are 2**32 hashes, too few for the values of all days"
        require(num_values < 2**31, "turnover", self.turnover, expected)

    @property
    def day_starts(self) -> list[int]:
        """First row of each day, and the number of all rows at the end."""
        size, remainder = divmod(self.rows, self.days)
        return [day * size + min(day, remainder) for day in range(self.days + 1)]
