"""Shared set-up: before anything imports TensorFlow."""

import gc
import io
import os
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from datetime import date
from functools import cache

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# Tests are for a CPU, whatever the machine has; GPU_TESTS=1 is for those marked `gpu`.
os.environ.update(
    {"NVIDIA_TF32_OVERRIDE": "0", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    if os.environ.get("GPU_TESTS") == "1"
    else {"CUDA_VISIBLE_DEVICES": "-1"}
)
# TFRS, an oracle in some tests, refuses to be imported without it.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

from pathlib import Path

import pytest

from tests.support.made_once import made_once

STARTED = time.monotonic()
NO_TIME = "minutes given by --minutes are over"

# A command, which instruments the code for itself alone.
collect_ignore = ["fuzz_rows.py"]


def pytest_configure(config: pytest.Config) -> None:
    """Prepare the libraries where tests run.

    The process that only distributes tests to workers loads none of them.
    """
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    if getattr(config.option, "numprocesses", None) and not is_worker:
        return
    # Tracing makes many objects that live on. With Python's own threshold of 700 a
    # fifteenth of all time is spent looking for garbage.
    gc.set_threshold(20_000)
    import hypothesis
    import tensorflow as tf

    # Two devices, so that MirroredStrategy has something to mirror.
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * 2,
    )
    # A busy machine makes any example late.
    hypothesis.settings.register_profile("patient", deadline=None)
    hypothesis.settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--minutes", type=float, help="leave out tests that have not begun by then"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    # Tests of a file share what takes long to make; with `load` each worker makes it.
    if getattr(config.option, "numprocesses", None) and config.option.dist == "no":
        config.option.dist = "worksteal"


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark all variants of a test as slow but the first, where the test says so."""
    callspec = getattr(item, "callspec", None)
    if item.get_closest_marker("slow_variants") and any(callspec.indices.values()):
        item.add_marker(pytest.mark.slow)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    # The tests that there was no time for today come first on another of three days.
    if config.getoption("minutes") is not None:
        first = date.today().toordinal() % 3 * len(items) // 3
        items[:] = items[first:] + items[:first]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the tests that were left out for lack of time."""
    left_out = [
        report.nodeid
        for report in terminalreporter.getreports("skipped")
        if NO_TIME in str(report.longrepr)
    ]
    if left_out:
        terminalreporter.section(f"left out for lack of time: {len(left_out)}")
        terminalreporter.write_line("\n".join(left_out))


def pytest_runtest_setup(item: pytest.Item) -> None:
    import keras
    import tensorflow as tf

    if item.get_closest_marker("gpu"):
        if os.environ.get("GPU_TESTS") != "1":
            pytest.skip("GPUs are hidden from tests unless GPU_TESTS=1 asks for them")
        if not tf.config.list_physical_devices("GPU"):
            pytest.skip("TensorFlow sees no GPU here")
    minutes = item.config.getoption("minutes")
    if minutes is not None and time.monotonic() - STARTED > 60 * minutes:
        pytest.skip(f"{minutes:g} {NO_TIME}")
    # Weights that a test does not seed itself are the same in every run.
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="module")
def settled_heap() -> None:
    """Exclude objects that earlier files left in use from looking for garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_the_disk() -> Iterator[None]:
    """Leave out waiting for the disk, which tests of power cuts watch themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def no_pictures() -> Iterator[None]:
    """Leave out the pictures of data sets and of runs."""
    from tests.support import pictures

    with pytest.MonkeyPatch.context() as patch:
        pictures.leave_out(patch)
        yield


@pytest.fixture(autouse=True, scope="session")
def no_simple_models() -> Iterator[None]:
    """Leave out the simple models that every run is held against."""
    from tfdlrm.runs import simple_models

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simple_models, "show_simple_models", lambda *args: ({}, ""))
        yield


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch, no_pictures: None) -> None:
    """Draw pictures in this test."""
    from tests.support import pictures

    pictures.draw(monkeypatch)


@pytest.fixture(scope="module")
def loaded_once() -> Iterator[None]:
    """Load each version once for all commands of a file, which call it in turn."""
    from tfdlrm.exporting import scorer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scorer, "load_scorer", cache(scorer.load_scorer))
        yield


SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def golden() -> Path:
    """Directory of the reference implementation's recorded numbers."""
    if not (SHARED / "golden").is_dir():
        pytest.skip("the reference implementation's recorded numbers are not here")
    return SHARED / "golden"


@pytest.fixture(scope="session")
def kaggle_rows() -> Path:
    """Real Criteo rows, which may not be redistributed."""
    path = SHARED / "data" / "criteo_kaggle_53k.tsv.gz"
    if not path.is_file():
        pytest.skip("real Criteo rows are not here")
    return path


@pytest.fixture(scope="session")
def fake_gpus(pytestconfig: pytest.Config) -> Path:
    """Directory of libraries that make GPUs of memory."""
    from tests.support.fake_gpu import machine

    try:
        return machine.build(pytestconfig.cache.mkdir("fake_gpu"))
    except machine.UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def raw_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6,000 synthetic raw rows."""
    from pipelines import synthetic

    def write(directory: Path) -> None:
        synthetic.write_raw(directory / "clicks.tsv", num_rows=6_000, seed=1)

    return made_once(tmp_path_factory, "raw", write) / "clicks.tsv"


@pytest.fixture(scope="session")
def data_dir(raw_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set prepared from `raw_file`."""
    from pipelines.prepare import prepare
    from tfdlrm.config import PrepareConfig

    def write(directory: Path) -> None:
        prepare([raw_file], directory, PrepareConfig(min_frequency=3))

    return made_once(tmp_path_factory, "prepared", write)


@pytest.fixture(scope="session")
def small_config(data_dir, tmp_path_factory):
    """Settings of a short training run of a small model."""
    from tfdlrm.config import TrainConfig
    from tfdlrm.config.models import DLRMConfig

    directory = made_once(tmp_path_factory, "trained", lambda directory: None)
    return TrainConfig(
        data_dir=data_dir,
        model=DLRMConfig(embedding_dim=8, bottom_mlp_units=(16,), top_mlp_units=(16,)),
        batch_size=64,
        evaluations_per_epoch=1,
        run_dir=directory / "run",
        export_dir=directory / "clicks",
    )


@pytest.fixture(scope="session")
def exported(small_config, tmp_path_factory):
    """The version that this run exports."""
    from tfdlrm.train import train

    def run(directory):
        (directory / "path").write_text(str(train(small_config)))

    return Path((made_once(tmp_path_factory, "exported", run) / "path").read_text())


@pytest.fixture(scope="session")
def int8_exported(exported, small_config, tmp_path_factory):
    """The same run with int8 tables, and the command's output."""
    from tfdlrm.base.command_line import parse
    from tfdlrm.export import ExportCommand, export

    def run(directory):
        options = {
            "run_dir": small_config.run_dir,
            "export_dir": directory / "clicks",
            "quantize": "int8",
            "deployment": directory / "deployment",
        }
        argv = [f"--{name}={value}" for name, value in options.items()]
        output, errors = io.StringIO(), io.StringIO()
        with redirect_stdout(output), redirect_stderr(errors):
            export(parse(ExportCommand, "tfdlrm.export", argv))
        assert errors.getvalue() == ""
        (directory / "output").write_text(output.getvalue())

    directory = made_once(tmp_path_factory, "int8", run)
    return directory / "clicks" / "1", (directory / "output").read_text()
