"""The models that are served: versions come, are swapped in, and go."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from tensorflow_serving.apis import get_model_status_pb2, model_pb2

from tfdlrm.base.errors import InputError
from tfdlrm.exporting.versions import is_whole, versions_in
from tfdlrm.serving.errors import ServingError, refuse
from tfdlrm.serving.metrics import Metrics
from tfdlrm.serving.other_inputs import OtherInputsError, refuse_other_inputs
from tfdlrm.serving.policies import ModelSettings, fingerprint
from tfdlrm.serving.servable import Servable
from tfdlrm.serving.warmup import warm_up

log = logging.getLogger("tfdlrm.serving")

State = get_model_status_pb2.ModelVersionStatus.State

MAX_RETRIES = 5
RETRY_SECONDS = 60.0
"""TF Serving's `max_num_load_retries` and `load_retry_interval_micros`."""

WATCHER = "versions"
"""Name of the thread that looks for new versions."""


@dataclass(frozen=True)
class VersionStatus:
    """What became of a version.

    Args:
        state: TF Serving's.
        error: Why it ended, if it was not asked to.
        files: Fingerprint of a version that did not load.
        tries: How often it was tried with these files.
        tried_at: When it was tried last, by the monotonic clock.
    """

    state: int
    error: ServingError | None = None
    files: tuple[tuple[str, int, int], ...] = ()
    tries: int = 0
    tried_at: float = 0.0


class Model:
    """One model and its versions; read in one thread while another one swaps."""

    def __init__(
        self, settings: ModelSettings, metrics: Metrics, takes_other_inputs: bool
    ) -> None:
        self.settings = settings
        self._metrics = metrics
        # A version that is asked for by its number is the one that is meant.
        self._is_any_good = takes_other_inputs or settings.policy.kind == "specific"
        self._loaded: dict[int, Servable] = {}
        self._lock = threading.Lock()
        self.statuses: dict[int, VersionStatus] = {}

    @property
    def available(self) -> list[int]:
        """Versions that are served, the newest first."""
        return sorted(self._loaded, reverse=True)

    @contextmanager
    def use(self, version: int | None, label: str) -> Iterator[Servable]:
        """Keep a version in memory while it answers.

        Args:
            version: Its number; `None` for the newest, or that of the label.
            label: Its label, or empty.

        Raises:
            ServingError: NOT_FOUND if it is not served.
        """
        name = self.settings.name
        if label:
            if label not in self.settings.labels:
                refuse(f"Unrecognized servable version label: {label}")
            version = self.settings.labels[label]
        if version == 0 and not self.statuses.get(0):
            version = None  # OpenVINO's clients mean the newest one
        with self._lock:
            wanted = max(self._loaded, default=-1) if version is None else version
            servable = self._loaded.get(wanted)
            if servable is not None:
                servable.acquire()
        if servable is None:
            which = (
                f"Latest({name})" if version is None else f"Specific({name}, {version})"
            )
            raise ServingError(
                grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {which}"
            )
        try:
            yield servable
        finally:
            servable.release()

    def refresh(self) -> None:
        """Load what is new, and only then unload what is not wanted any more."""
        there = versions_in(self.settings.base_path)
        if not there:
            return  # better an old model than none
        good = [each for each in there if not self._is_broken(each, there[each])]
        wanted = self.settings.policy.choose(good)
        # A version that does not load leaves its place to the next one. It is not tried
        # again before the next look: its files may be arriving just now.
        while missing := [each for each in wanted if each not in self._loaded]:
            if not self._load(missing[0], there[missing[0]]):
                good.remove(missing[0])
                wanted = self.settings.policy.choose(good)
        if wanted:
            for version in set(self._loaded) - set(wanted):
                self._unload(version)

    def _is_broken(self, version: int, path: Path) -> bool:
        status = self.statuses.get(version)
        if version in self._loaded or status is None or status.error is None:
            return False
        # It may have been the memory or the disk of the moment.
        is_time = time.monotonic() >= status.tried_at + RETRY_SECONDS
        if is_time and status.tries <= MAX_RETRIES:
            return False
        return status.files == fingerprint(path)

    def _load(self, version: int, path: Path) -> bool:
        before, files = self.statuses.get(version), fingerprint(path)
        tries = 1
        if before is not None and before.files == files:
            tries += before.tries
        self.statuses[version] = VersionStatus(State.LOADING)
        start = time.perf_counter()
        servable = None
        try:
            servable = Servable(self.settings.name, version, path)
            newest = max(self._loaded, default=version)
            if newest < version and not self._is_any_good:
                refuse_other_inputs(self._loaded[newest], servable)
            warm_up(servable)
        except ServingError as error:
            if isinstance(error, OtherInputsError):
                tries += MAX_RETRIES  # time changes nothing
            log.warning("%s is not served: %s", path, error.message)
            if servable is not None:
                servable.retire()
            # Without the traceback, whose frames hold what was loaded.
            told = ServingError(error.code, error.message)
            self.statuses[version] = VersionStatus(
                State.END, told, files, tries, time.monotonic()
            )
            self._metrics.loaded(str(path), "fail", time.perf_counter() - start)
            return False
        seconds = time.perf_counter() - start
        self._metrics.loaded(str(path), "success", seconds)
        with self._lock:
            self._loaded[version] = servable
        self.statuses[version] = VersionStatus(State.AVAILABLE)
        log.info(
            "%s version %d is served after %.1f s, on %s",
            servable.name,
            version,
            seconds,
            servable.device,
        )
        return True

    def _unload(self, version: int) -> None:
        with self._lock:
            servable = self._loaded.pop(version)
        self.statuses[version] = VersionStatus(State.END)
        servable.retire()
        log.info("%s version %d is not served any more", servable.name, version)


class Models:
    """All models, watched by a thread of their own.

    Args:
        settings: The models.
        metrics: Counts what is loaded.
        takes_other_inputs: Whether a version may take over from one with other inputs.
    """

    def __init__(
        self,
        settings: Sequence[ModelSettings],
        metrics: Metrics,
        takes_other_inputs: bool = False,
    ) -> None:
        self._metrics = metrics
        self._models = {
            each.name: Model(each, metrics, takes_other_inputs) for each in settings
        }
        self._stop = threading.Event()

    def load(self) -> None:
        """Load all models for the first time.

        Raises:
            InputError: If there is one that has no version that loads.
        """
        for model in self._models.values():
            try:
                model.refresh()
            except OSError as error:
                raise InputError(
                    f"{model.settings.base_path} cannot be read: {error}"
                ) from None
            if not model.available:
                raise InputError(_why_nothing_loads(model))

    def watch(self, seconds: float) -> None:
        """Look for new versions, again and again.

        Args:
            seconds: Time between two looks.
        """

        def look() -> None:
            while not self._stop.wait(seconds):
                for model in list(self._models.values()):
                    try:
                        model.refresh()
                    except OSError as error:  # it may be away for a moment
                        log.warning(
                            "%s cannot be read: %s", model.settings.base_path, error
                        )
                    except Exception:  # the next look may have more luck
                        log.exception("looking for versions of %s", model.settings.name)

        threading.Thread(target=look, name=WATCHER, daemon=True).start()

    def close(self) -> None:
        """Watch no more."""
        self._stop.set()

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def __contains__(self, name: str) -> bool:
        return name in self._models

    def model(self, name: str) -> Model:
        """A model by its name.

        Raises:
            ServingError: If there is none.
        """
        if not name:
            refuse("ModelSpec has no name specified.")
        found = self._models.get(name)
        if found is None:
            raise ServingError(
                grpc.StatusCode.NOT_FOUND,
                f"Servable not found for request: Latest({name})",
            )
        return found

    @contextmanager
    def use(self, spec: model_pb2.ModelSpec) -> Iterator[Servable]:
        """Keep the version that a request is for in memory while it answers."""
        version = spec.version.value if spec.HasField("version") else None
        with self.model(spec.name).use(version, spec.version_label) as servable:
            yield servable


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
