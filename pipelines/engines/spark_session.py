"""A Spark session, with this project's code on every machine of it."""

import atexit
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tfdlrm.base.errors import InputError
from tfdlrm.base.kept_files import DamagedFileError
from tfdlrm.config import PrepareConfig

MIN_JAVA = 17

_MAX_TASKS = 4096
"""Spark takes some milliseconds a task, so that more tasks would only cost."""

_ARROW_RECORDS = "spark.sql.execution.arrow.maxRecordsPerBatch"


class Cluster:
    """The workers of a Spark session.

    Args:
        session: The Spark session.
        is_local: Whether it runs on this machine alone.

    Attributes:
        session: The Spark session.
        parallelism: How many tasks run at once.
        workers_here: How many Python workers share this machine's memory; 1 on a
            cluster, where the memory budget is that of one worker.
    """

    def __init__(self, session: Any, is_local: bool) -> None:
        self.session = session
        self.parallelism: int = session.sparkContext.defaultParallelism
        self.workers_here: int = self.parallelism if is_local else 1

    def numbers(self, count: int) -> Any:
        """Return a data frame of the numbers below `count`, cut into tasks."""
        return self.session.range(0, count, 1, min(max(count, 1), _MAX_TASKS))

    def map(self, function: Callable[[int], Any], count: int) -> list[Any]:
        """Return `function` of each number below `count`, in order.

        Args:
            function: Called by Spark's workers; its results must be small.
            count: How many numbers.
        """
        mapped = self.numbers(count).mapInArrow(
            partial(_call, function), "number long, result binary"
        )
        results = {
            number: pickle.loads(result) for number, result in self.collect(mapped)
        }
        return [results[number] for number in range(count)]

    def collect(self, frame: Any) -> list[Any]:
        """Return the rows of a small data frame.

        Raises:
            OSError: If a worker raised one, such as for a full disk.
            InputError: If a worker raised one, or lacks a library.
            DamagedFileError: If a worker raised one.
        """
        from pyspark.errors import PythonException

        try:
            return frame.collect()
        except PythonException as error:
            _raise_error_of(str(error))
            raise

    def limit_records(self, records: int) -> None:
        """Set how many records the next data frames hand to Python at once."""
        self.session.conf.set(_ARROW_RECORDS, records)


def _call(function: Callable[[int], Any], batches: Iterator[Any]) -> Iterator[Any]:
    import pyarrow as pa

    for batch in batches:
        for number in batch.column(0).to_pylist():
            result = pickle.dumps(function(number))
            yield pa.RecordBatch.from_pydict(
                {
                    "number": pa.array([number], pa.int64()),
                    "result": pa.array([result], pa.binary()),
                }
            )


def _raise_error_of(traceback: str) -> None:
    """Raise the error of a worker's traceback, if it is one that users can fix."""
    if match := re.search(
        r"^\w*Error: \[Errno (\d+)\] (.+?)(?:: '.*)?$", traceback, re.M
    ):
        raise OSError(int(match[1]), match[2])
    if match := re.search(r"^tfdlrm\.base\.errors\.InputError: (.+)$", traceback, re.M):
        raise InputError(match[1])
    if match := re.search(r"^[\w.]+\.DamagedFileError: (.+)$", traceback, re.M):
        raise DamagedFileError(match[1])
    if match := re.search(r"^ModuleNotFoundError: (.+)$", traceback, re.M):
        raise InputError(
            f"a Spark worker lacks a library: {match[1]}; expected "
            "requirements.txt and requirements-spark.txt installed on every machine "
            "for the Python that PYSPARK_PYTHON names"
        )


@contextmanager
def cluster(config: PrepareConfig) -> Iterator[Cluster]:
    """Yield a cluster by the settings; an active session is used and stays open.

    Raises:
        InputError: If pyspark or Java is missing, or Spark does not start.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise InputError(
            "the spark engine needs pyspark, which is not installed: "
            "pip install -r requirements-spark.txt"
        ) from None
    active = SparkSession.getActiveSession()
    session = active or _start(SparkSession.builder, config)
    try:
        session.sparkContext.addPyFile(str(_zip_project()))
        is_local = str(session.sparkContext.master).startswith("local")
        yield Cluster(session, is_local)
    finally:
        if active is None:
            session.stop()


def _start(builder: Any, config: PrepareConfig) -> Any:
    _check_java()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    settings = {
        "spark.app.name": "tfdlrm prepare",
        "spark.log.level": "ERROR",
        "spark.ui.showConsoleProgress": "false",
        # A task is one thread, and there is a task for each core.
        "spark.executorEnv.POLARS_MAX_THREADS": "1",
        # Two copies of a task would write the same file.
        "spark.speculation": "false",
    }
    if config.master is not None:
        settings["spark.master"] = config.master
        if config.master.startswith("local"):
            settings["spark.driver.host"] = "localhost"
            settings["spark.driver.bindAddress"] = "127.0.0.1"
            settings["spark.ui.enabled"] = "false"
    for name, value in settings.items():
        builder = builder.config(name, value)
    try:
        return builder.getOrCreate()
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise InputError(
            f"no Spark session on master {config.master or 'of its configuration'}: "
            f"{reason[0] if reason else type(error).__name__}; expected a master such "
            "as local[2], spark://host:7077 or yarn"
        ) from error


def _check_java() -> None:
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else "java"
    needed = f"expected Java {MIN_JAVA} or later: install it, or set JAVA_HOME"
    if shutil.which(java) is None:
        raise InputError(f"the spark engine needs Java and finds no {java}, {needed}")
    process = subprocess.run(
        [java, "-version"], capture_output=True, text=True, check=False
    )
    match = re.search(r'version "(\d+)', process.stderr)
    if match is None or int(match[1]) < MIN_JAVA:
        version = f"Java {match[1]}" if match else "something else"
        raise InputError(f"the spark engine finds {version} at {java}, {needed}")


def _zip_project() -> Path:
    """Zip this project's Python files, so that workers need only its libraries.

    The file lasts as long as this process, since a session that stays may ask again.
    """
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / f"{folder.name}.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        for package in ("pipelines", "tfdlrm"):
            root = Path(__file__).parents[2] / package
            for file in sorted(root.rglob("*.py")):
                zipped.write(file, file.relative_to(root.parent))
    return path
