"""One model: its versions are loaded, swapped in and unloaded."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from tensorflow_serving.apis import get_model_status_pb2

from tfdlrm.exporting.versions import versions_in
from tfdlrm.serving.errors import ServingError, refuse
from tfdlrm.serving.litert import LiteServable, has_litert
from tfdlrm.serving.loading import Loading, drop_file_caches
from tfdlrm.serving.metrics import Metrics
from tfdlrm.serving.other_inputs import OtherInputsError, refuse_other_inputs
from tfdlrm.serving.policies import ModelSettings, fingerprint
from tfdlrm.serving.servable import Servable
from tfdlrm.serving.warmup import warm_up

log = logging.getLogger("tfdlrm.serving")

State = get_model_status_pb2.ModelVersionStatus.State


@dataclass(frozen=True)
class VersionStatus:
    """State of a version, and why it is not served.

    Args:
        state: TF Serving's number.
        error: Reason for which the version did not load; `None` if it was unloaded.
        files: Fingerprint of a version that did not load.
        tries: Number of tries with these files.
        tried_at: Time of the last try, by the monotonic clock.
    """

    state: int
    error: ServingError | None = None
    files: tuple[tuple[str, int, int], ...] = ()
    tries: int = 0
    tried_at: float = 0.0


@dataclass
class Prepared:
    """Versions of a model that are loaded and not served yet.

    Args:
        chosen: Numbers of all versions to serve, the newest first.
        new: Those of them that were loaded for this.
    """

    chosen: list[int] = field(default_factory=list)
    new: dict[int, Servable] = field(default_factory=dict)


class Model:
    """One model and its versions; one thread reads while another one swaps."""

    def __init__(
        self,
        settings: ModelSettings,
        metrics: Metrics,
        takes_other_inputs: bool,
        loading: Loading,
    ) -> None:
        self.settings = settings
        self._metrics = metrics
        self._loading = loading
        self._takes_other_inputs = takes_other_inputs
        self._loaded: dict[int, Servable] = {}
        self._lock = threading.Lock()
        self.statuses: dict[int, VersionStatus] = {}

    @property
    def available(self) -> list[int]:
        """Numbers of the versions that are served, the newest first."""
        return sorted(self._loaded, reverse=True)

    def version_of_label(self, label: str) -> int:
        """Return the number of the version that has a label.

        Raises:
            ServingError: If no version has it.
        """
        version = self.settings.labels.get(label)
        if version is None:
            refuse(f"Unrecognized servable version label: {label}")
        return version

    def acquire(self, version: int | None, label: str) -> Servable:
        """Return a version, which stays in memory until it is released.

        Args:
            version: Number of the version; `None` for the newest, or for the label.
            label: Label of the version, or an empty string.

        Raises:
            ServingError: NOT_FOUND if it is not served.
        """
        name = self.settings.name
        # Labels and versions change together.
        with self._lock:
            if label:
                version = self.version_of_label(label)
            if version == 0 and not self.statuses.get(0):
                version = None  # OpenVINO's clients mean the newest version
            number = max(self._loaded, default=-1) if version is None else version
            servable = self._loaded.get(number)
            if servable is not None:
                servable.acquire()
        if servable is None:
            missing = (
                f"Latest({name})" if version is None else f"Specific({name}, {version})"
            )
            raise ServingError(
                grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {missing}"
            )
        return servable

    @contextmanager
    def use(self, version: int | None, label: str) -> Iterator[Servable]:
        """Keep a version in memory while it answers; see `acquire`."""
        servable = self.acquire(version, label)
        try:
            yield servable
        finally:
            servable.release()

    def refresh(self) -> None:
        """Load new versions, and only then unload those that are no longer wanted."""
        self.adopt(self.settings, self.prepare(self.settings))

    def prepare(self, settings: ModelSettings) -> "Prepared":
        """Load the versions that settings choose, without serving them yet.

        Args:
            settings: Settings of the same directory.

        Raises:
            OSError: If the directory cannot be read.
        """
        prepared = Prepared()
        paths = versions_in(settings.base_path)
        usable = [
            version
            for version, path in paths.items()
            if not self._is_broken(version, path)
        ]
        # A version that does not load is replaced by the next one. It is not tried
        # again before the next look, as its files may be arriving just now.
        while True:
            prepared.chosen = settings.policy.choose(usable)
            there = self._loaded.keys() | prepared.new.keys()
            version = next((v for v in prepared.chosen if v not in there), None)
            if version is None:
                return prepared
            servable = self._load(version, paths[version], settings, prepared)
            if servable is None:
                usable.remove(version)
            else:
                prepared.new[version] = servable

    def adopt(self, settings: ModelSettings, prepared: "Prepared") -> None:
        """Serve prepared versions under settings, and unload the others.

        If there are none, the versions before stay: better an old model than none.
        """
        chosen = prepared.chosen
        with self._lock:
            self.settings = settings
            self._loaded.update(prepared.new)
            unwanted = set(self._loaded) - set(chosen) if chosen else set()
            retired = [self._loaded.pop(version) for version in unwanted]
        for version, servable in prepared.new.items():
            self.statuses[version] = VersionStatus(State.AVAILABLE)
            log.info(
                "%s version %d, %s, is served after %.1f s, on %s",
                servable.name,
                version,
                servable.path,
                servable.load_seconds,
                servable.device,
            )
        for servable in retired:
            self._retire(servable)

    def discard(self, prepared: "Prepared") -> None:
        """Unload prepared versions, which are not to be served after all."""
        for servable in prepared.new.values():
            self._retire(servable)

    def close(self) -> None:
        """Serve no version any more; those in use answer first."""
        with self._lock:
            retired = list(self._loaded.values())
            self._loaded = {}
        for servable in retired:
            self._retire(servable)

    def _retire(self, servable: Servable) -> None:
        self.statuses[servable.version] = VersionStatus(State.END)
        servable.retire()
        log.info(
            "%s version %d is not served any more", servable.name, servable.version
        )

    def _is_broken(self, version: int, path: Path) -> bool:
        status = self.statuses.get(version)
        if version in self._loaded or status is None or status.error is None:
            return False
        # The reason may have passed, such as a full memory or disk.
        loading = self._loading
        is_time = time.monotonic() >= status.tried_at + loading.retry_seconds
        if is_time and status.tries <= loading.max_retries:
            return False
        return status.files == fingerprint(path)

    def _load(
        self, version: int, path: Path, settings: ModelSettings, prepared: "Prepared"
    ) -> Servable | None:
        status, files = self.statuses.get(version), fingerprint(path)
        tries = 1
        if status is not None and status.files == files:
            tries += status.tries
        self.statuses[version] = VersionStatus(State.LOADING)
        start = time.perf_counter()
        servable = None
        try:
            is_litert = self._loading.prefers_litert and has_litert(path)
            servable_class = LiteServable if is_litert else Servable
            servable = servable_class(settings.name, version, path, self._loading)
            self._check_inputs(servable, settings, prepared)
            warm_up(servable, self._loading.warm_up_runs)
        except ServingError as error:
            if isinstance(error, OtherInputsError):
                tries += self._loading.max_retries  # waiting does not help
            log.warning("%s is not served: %s", path, error.message)
            if servable is not None:
                servable.retire()
            # Without the traceback, whose frames hold what was loaded.
            reason = ServingError(error.code, error.message)
            self.statuses[version] = VersionStatus(
                State.END, reason, files, tries, time.monotonic()
            )
            self._metrics.count_load(str(path), "fail", time.perf_counter() - start)
            return None
        if self._loading.drops_file_caches:
            drop_file_caches(path)
        servable.load_seconds = time.perf_counter() - start
        self._metrics.count_load(str(path), "success", servable.load_seconds)
        return servable

    def _check_inputs(
        self, servable: Servable, settings: ModelSettings, prepared: "Prepared"
    ) -> None:
        # Versions that the policy names by their numbers are meant.
        if self._takes_other_inputs or settings.policy.kind == "specific":
            return
        before = {**self._loaded, **prepared.new}
        newest = max(before, default=servable.version)
        if newest < servable.version:
            refuse_other_inputs(before[newest], servable)
