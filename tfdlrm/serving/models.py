"""All models that are served, and the thread that looks for new versions of them."""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import grpc
from tensorflow_serving.apis import model_pb2

from tfdlrm.base.errors import InputError
from tfdlrm.exporting.versions import is_whole
from tfdlrm.serving.errors import ServingError, refuse
from tfdlrm.serving.loading import Loading
from tfdlrm.serving.metrics import Metrics
from tfdlrm.serving.model_versions import Model
from tfdlrm.serving.policies import ModelSettings
from tfdlrm.serving.servable import Servable

log = logging.getLogger("tfdlrm.serving")

WATCHER = "versions"
"""Name of the thread that looks for new versions."""


class Models:
    """All models, watched by a thread.

    Args:
        settings: Settings of each model.
        metrics: Counters of loaded versions.
        takes_other_inputs: Whether a version may take over from one with other inputs.
        loading: How versions are loaded; the usual way where `None`.
    """

    def __init__(
        self,
        settings: Sequence[ModelSettings],
        metrics: Metrics,
        takes_other_inputs: bool = False,
        loading: Loading | None = None,
    ) -> None:
        self._loading = loading or Loading()
        self._models = {
            model.name: Model(model, metrics, takes_other_inputs, self._loading)
            for model in settings
        }
        self._stop = threading.Event()

    def load(self) -> None:
        """Load all models for the first time.

        Raises:
            InputError: If no version of a model loads.
        """
        self._loading.for_models(_load, self._models.values())

    def watch(self, seconds: float) -> None:
        """Look for new versions from now on, in a thread.

        Args:
            seconds: Time between two looks.
        """

        def look() -> None:
            while not self._stop.wait(seconds):
                self._loading.for_models(_look, self._models.values())

        threading.Thread(target=look, name=WATCHER, daemon=True).start()

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def __contains__(self, name: str) -> bool:
        return name in self._models

    def model(self, name: str) -> Model:
        """Return the model of a name.

        Raises:
            ServingError: If no model has it.
        """
        if not name:
            refuse("ModelSpec has no name specified.")
        model = self._models.get(name)
        if model is None:
            raise ServingError(
                grpc.StatusCode.NOT_FOUND,
                f"Servable not found for request: Latest({name})",
            )
        return model

    @contextmanager
    def use(self, spec: model_pb2.ModelSpec) -> Iterator[Servable]:
        """Keep the version that a request names in memory while it answers."""
        version = spec.version.value if spec.HasField("version") else None
        with self.model(spec.name).use(version, spec.version_label) as servable:
            yield servable


def _load(model: Model) -> None:
    """Load the versions of a model for the first time."""
    try:
        model.refresh()
    except OSError as error:
        raise InputError(
            f"{model.settings.base_path} cannot be read: {error}"
        ) from None
    if not model.available:
        raise InputError(_why_nothing_loads(model))


def _look(model: Model) -> None:
    """Look for new versions of a model."""
    try:
        model.refresh()
    except OSError as error:  # it may come back
        log.warning("%s cannot be read: %s", model.settings.base_path, error)
    except Exception:  # the next look may succeed
        log.exception("looking for versions of %s", model.settings.name)


def _why_nothing_loads(model: Model) -> str:
    path = model.settings.base_path
    if is_whole(path):
        return (
            f"{path} is a version of a model, expected the directory of its versions: "
            f"{path.resolve().parent}"
        )
    errors = [
        f"{path / str(version)}: {status.error.message}"
        for version, status in sorted(model.statuses.items(), reverse=True)
        if status.error is not None
    ]
    if errors:
        return f"no version of {model.settings.name} loads; {errors[0]}"
    return (
        f"{path} has no version of a model to serve: expected a directory such as "
        f"{path}/1, written by tfdlrm.train or tfdlrm.export"
    )
