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
"""More would only cost: Spark takes some milliseconds for each."""

_ARROW_RECORDS = "spark.sql.execution.arrow.maxRecordsPerBatch"


class Cluster:
    """What does the work, once a session is there.

    Args:
        session: The Spark session.
        is_local: Whether it runs on this machine alone.

    Attributes:
        session: The Spark session.
        workers_here: How many Python workers share this machine's memory; 1 on a
            cluster, where the memory budget is that of one worker.
    """

    def __init__(self, session: Any, is_local: bool) -> None:
        self.session = session
        parallelism = session.sparkContext.defaultParallelism
        self.workers_here: int = parallelism if is_local else 1

    def numbers(self, count: int) -> Any:
        """A data frame of the numbers below `count`, for as many tasks as is useful."""
        return self.session.range(0, count, 1, min(max(count, 1), _MAX_TASKS))

    def map(self, function: Callable[[int], Any], count: int) -> list[Any]:
        """`function` of each number below `count`, in order.

        Args:
            function: Done by Spark's workers; what it gives must be small.
            count: How many numbers.
        """
        mapped = self.numbers(count).mapInArrow(
            partial(_each, function), "number long, result binary"
        )
        results = {
            number: pickle.loads(result) for number, result in self.collect(mapped)
        }
        return [results[number] for number in range(count)]

    def collect(self, frame: Any) -> list[Any]:
        """The rows of a small data frame.

        Raises:
            OSError: If a worker met one, such as a full disk.
            InputError: If a worker met one, or found a library missing.
            DamagedFileError: If a worker met one.
        """
        from pyspark.errors import PythonException

        try:
            return frame.collect()
        except PythonException as error:
            _raise_as_here(str(error))
            raise

    def limit_records(self, records: int) -> None:
        """Set how many records the next data frames hand to Python at once."""
        self.session.conf.set(_ARROW_RECORDS, records)


def _each(function: Callable[[int], Any], batches: Iterator[Any]) -> Iterator[Any]:
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


def _raise_as_here(told: str) -> None:
    """Raise what a worker raised, where it is nobody's defect."""
    if found := re.search(r"^\w*Error: \[Errno (\d+)\] (.+?)(?:: '.*)?$", told, re.M):
        raise OSError(int(found[1]), found[2])
    if found := re.search(r"^tfdlrm\.base\.errors\.InputError: (.+)$", told, re.M):
        raise InputError(found[1])
    if found := re.search(r"^[\w.]+\.DamagedFileError: (.+)$", told, re.M):
        raise DamagedFileError(found[1])
    if found := re.search(r"^ModuleNotFoundError: (.+)$", told, re.M):
        raise InputError(
            f"a Spark worker has not what it needs: {found[1]}; expected "
            "requirements.txt and requirements-spark.txt installed on every machine "
            "for the Python that PYSPARK_PYTHON names"
        )


@contextmanager
def cluster(config: PrepareConfig) -> Iterator[Cluster]:
    """A session by the settings; one that is there already is used, and stays.

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
        session.sparkContext.addPyFile(str(_zipped()))
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
        # A task is one thread: there are as many of them as there are cores.
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
    told = subprocess.run(
        [java, "-version"], capture_output=True, text=True, check=False
    )
    found = re.search(r'version "(\d+)', told.stderr)
    if found is None or int(found[1]) < MIN_JAVA:
        version = f"Java {found[1]}" if found else "something else"
        raise InputError(f"the spark engine finds {version} at {java}, {needed}")


def _zipped() -> Path:
    """This project's Python files, so that workers need its libraries only.

    They are there as long as this process, since a session that stays may ask again.
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
