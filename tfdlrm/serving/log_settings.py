"""What to log of a model's requests: TF Serving's `logging_config`."""

from dataclasses import dataclass
from typing import Any

from tfdlrm.base.errors import InputError, require


@dataclass(frozen=True)
class RequestLogging:
    """A sampled share of a model's requests, and where their log goes.

    Args:
        rate: Share of the requests that are logged, from 0 to 1.
        prefix: What paths of the files begin with, such as `logs/` or `logs/clicks`.
    """

    rate: float
    prefix: str

    def __post_init__(self) -> None:
        name = "sampling_config.sampling_rate"
        require(0 < self.rate <= 1, name, self.rate, "a share above 0 and up to 1")
        name, expected = "log_collector_config.filename_prefix", "the begin of a path"
        is_local = bool(self.prefix) and "://" not in self.prefix
        require(is_local, name, repr(self.prefix), f"{expected} on this machine")


def logging_of(config: Any) -> RequestLogging | None:
    """Return what a `ModelConfig` says about logging; `None` if nothing is logged.

    Raises:
        InputError: If its `logging_config` is incomplete or wrong.
    """
    logging = config.logging_config
    if (
        not config.HasField("logging_config")
        or not logging.sampling_config.sampling_rate
    ):
        return None
    collector = logging.log_collector_config
    if collector.type not in ("", "tfrecord"):
        raise InputError(
            f"log_collector_config.type of {config.name} is {collector.type!r}, "
            "expected 'tfrecord': requests are logged to files of TFRecords"
        )
    rate = logging.sampling_config.sampling_rate
    return RequestLogging(rate, collector.filename_prefix)
