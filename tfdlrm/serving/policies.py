"""Models to serve, and the choice of their versions."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tensorflow_serving.config import model_server_config_pb2

from tfdlrm.base import storage
from tfdlrm.base.errors import InputError, require
from tfdlrm.serving.log_settings import RequestLogging, logging_of

Kind = Literal["latest", "all", "specific"]


@dataclass(frozen=True)
class VersionPolicy:
    """TF Serving's `model_version_policy`.

    Args:
        kind: Whether to serve the newest `count` versions, all, or `versions`.
        count: Number of newest versions.
        versions: Numbers of specific versions.
    """

    kind: Kind = "latest"
    count: int = 1
    versions: tuple[int, ...] = ()

    def choose(self, available: Collection[int]) -> list[int]:
        """Return the versions to serve, the newest first.

        Example:

        >>> VersionPolicy("latest", count=2).choose([1, 10, 2])
        [10, 2]
        """
        newest_first = sorted(available, reverse=True)
        if self.kind == "all":
            return newest_first
        if self.kind == "specific":
            return [version for version in newest_first if version in self.versions]
        return newest_first[: self.count]


@dataclass(frozen=True)
class ModelSettings:
    """A model to serve.

    Args:
        name: Name that clients use.
        base_path: Directory of its versions.
        policy: Choice of versions to serve.
        labels: Versions by label.
        logging: What to log of its requests; `None` for nothing.
    """

    name: str
    base_path: Path
    policy: VersionPolicy = VersionPolicy()
    labels: Mapping[str, int] = field(default_factory=dict)
    logging: RequestLogging | None = None

    def __post_init__(self) -> None:
        # Names are parts of paths and of metrics.
        is_good = bool(self.name) and not set(self.name) & set("/:?#%\\\"'<>|*\n")
        expected = "a name without / : ? # % or quotes"
        require(is_good, "model_name", repr(self.name), expected)


def from_config(
    config: model_server_config_pb2.ModelServerConfig, path: Path | str
) -> list[ModelSettings]:
    """Return the models of a `--model_config_file`.

    Args:
        config: What the file holds.
        path: The file, or what else the config comes from, for messages.

    Raises:
        InputError: If the description of a model is incomplete or wrong.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise InputError(f"{path} has no model_config_list")
    models = [_model(entry, path) for entry in config.model_config_list.config]
    names = [model.name for model in models]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated or not models:
        problem = f"the name {repeated[0]} twice" if repeated else "no model"
        raise InputError(f"{path} has {problem}")
    return models


def _model(
    config: model_server_config_pb2.ModelConfig, path: Path | str
) -> ModelSettings:
    if config.model_platform not in ("", "tensorflow"):
        raise InputError(
            f"{path}: model_platform of {config.name} is {config.model_platform!r}, "
            "expected 'tensorflow'"
        )
    proto = config.model_version_policy
    kind: Kind = proto.WhichOneof("policy_choice") or "latest"
    policy = VersionPolicy(
        kind,
        proto.latest.num_versions or 1,
        tuple(proto.specific.versions),
    )
    if kind == "specific" and not policy.versions:
        raise InputError(f"{path}: {config.name} has a specific policy of no versions")
    try:
        return ModelSettings(
            config.name,
            storage.at(config.base_path),
            policy,
            dict(config.version_labels),
            logging_of(config),
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def fingerprint(version: Path) -> tuple[tuple[str, int, int], ...]:
    """Return names, sizes and times of a version's files, to notice changes."""
    files = []
    for path in sorted(version.rglob("*")):
        try:
            status = path.stat()
        except OSError:  # being written or removed
            continue
        files.append((str(path), status.st_size, status.st_mtime_ns))
    return tuple(files)
