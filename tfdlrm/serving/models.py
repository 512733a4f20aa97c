"""All models that are served, and the thread that looks for new versions of them."""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import grpc
from tensorflow_serving.apis import model_pb2

from tfdlrm.base.errors import InputError
from tfdlrm.serving.changes import change_models, check_labels, why_nothing_loads
from tfdlrm.serving.daemon import start_daemon
from tfdlrm.serving.errors import ServingError, refuse
from tfdlrm.serving.loading import Loading
from tfdlrm.serving.log_settings import RequestLogging
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
        allows_missing_labels: Whether a label may name a version that is not served.
    """

    def __init__(
        self,
        settings: Sequence[ModelSettings],
        metrics: Metrics,
        takes_other_inputs: bool = False,
        loading: Loading | None = None,
        allows_missing_labels: bool = True,
    ) -> None:
        self._metrics = metrics
        self._takes_other_inputs = takes_other_inputs
        self._loading = loading or Loading()
        self._allows_missing_labels = allows_missing_labels
        # Replaced, never changed: others go through it meanwhile.
        self._models = {model.name: self._new(model) for model in settings}
        self._stop = threading.Event()
        self._changing = threading.Lock()

    def _new(self, settings: ModelSettings) -> Model:
        return Model(settings, self._metrics, self._takes_other_inputs, self._loading)

    def load(self) -> None:
        """Load all models for the first time.

        Raises:
            InputError: If no version of a model loads.
        """
        self._loading.for_models(_load, self._models.values())
        for model in self:
            allows_missing = self._allows_missing_labels
            check_labels(None, model.settings, model.available, allows_missing)

    def watch(self, seconds: float) -> None:
        """Look for new versions from now on, in a thread.

        Args:
            seconds: Time between two looks.
        """

        def look() -> None:
            while not self._stop.wait(seconds):
                with self._changing:
                    self._loading.for_models(_look, self._models.values())

        start_daemon(look, WATCHER)

    def reload(self, settings: Sequence[ModelSettings]) -> None:
        """Serve other models, versions and labels: all of them, or none.

        Requests are answered meanwhile, by the models and versions of before.

        Raises:
            InputError: If one cannot be served; the models of before still are.
        """
        with self._changing:
            before = self._models
            if [model.settings for model in before.values()] == list(settings):
                return
            self._models = change_models(
                before, settings, self._new, self._allows_missing_labels
            )
            for name, model in before.items():
                if self._models.get(name) is not model:
                    model.close()
            log.info("the models are now %s", ", ".join(self._models))

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def __contains__(self, name: str) -> bool:
        return name in self._models

    def settings_of(self, name: str) -> ModelSettings | None:
        """Return the settings of a model; `None` if it is not served."""
        model = self._models.get(name)
        return None if model is None else model.settings

    def logging_of(self, name: str) -> RequestLogging | None:
        """Return what to log of a model's requests; `None` for nothing."""
        settings = self.settings_of(name)
        return None if settings is None else settings.logging

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
        servable = self._acquire(spec)
        try:
            yield servable
        finally:
            servable.release()

    def _acquire(self, spec: model_pb2.ModelSpec) -> Servable:
        version = spec.version.value if spec.HasField("version") else None
        while True:
            model = self.model(spec.name)
            try:
                return model.acquire(version, spec.version_label)
            except ServingError:
                if self._models.get(spec.name) is model:
                    raise
                # It moved to another directory just now.


def _load(model: Model) -> None:
    """Load the versions of a model for the first time."""
    try:
        model.refresh()
    except OSError as error:
        raise InputError(
            f"{model.settings.base_path} cannot be read: {error}"
        ) from None
    if not model.available:
        raise InputError(why_nothing_loads(model, model.settings))


def _look(model: Model) -> None:
    """Look for new versions of a model."""
    try:
        model.refresh()
    except OSError as error:  # it may come back
        log.warning("%s cannot be read: %s", model.settings.base_path, error)
    except Exception:  # the next look may succeed
        log.exception("looking for versions of %s", model.settings.name)
