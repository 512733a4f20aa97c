"""Remote paths: S3 on a server of moto's, a web server, and their absence.

Code that reaches S3 runs in processes of its own, since such a process aborts at its
ordinary end.
"""

import json
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import tensorflow as tf

from pipelines.prepare import prepare
from tests.support.prepared_runs import files_of
from tests.support.processes import ROOT, run_command_line
from tests.support.raw_rows import make_rows, write_rows
from tests.support.s3_server import environment, free_port, s3_server
from tfdlrm import train
from tfdlrm.base import local_copies, remote_path, storage
from tfdlrm.base.command_line import run_command
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.plan import PlanCommand, plan
from tfdlrm.training.run_directory import RunDirectory

needs_moto = pytest.mark.skipif(
    find_spec("moto") is None, reason="moto, an S3 server for tests, is not installed"
)
needs_tensorflow_io = pytest.mark.skipif(
    find_spec("tensorflow_io") is None, reason="tensorflow-io is not installed"
)

MODEL = (
    "--model.embedding_dim 4 --model.bottom_mlp_units '[8]' "
    "--model.top_mlp_units '[8]' --batch_size 64"
)

COPY = """
import sys
from tfdlrm.base import directories, exit_status, storage
source, target = map(storage.at, sys.argv[1:3])
directories.copy_tree(source, target)
exit_status.leave(0)
"""


@pytest.fixture
def without_tensorflow_io(monkeypatch):
    remote_path.load_tensorflow_io.cache_clear()
    yield monkeypatch
    remote_path.load_tensorflow_io.cache_clear()


def test_a_remote_path_keeps_its_address():
    for address in ("s3://bucket/a/b", Path("s3://bucket/a/b"), Path("s3:/bucket/a/b")):
        path = storage.at(address)
        assert storage.is_remote(path)
        assert str(path / "c") == f"{path}/c" == "s3://bucket/a/b/c"
        assert str(path.with_name("d")) == "s3://bucket/a/d"
    assert storage.at(path) is path
    assert str(storage.at("http://host:80/x.gz")) == "http://host:80/x.gz"


def test_a_local_path_stays_pathlibs_and_imports_nothing():
    line = (
        "import sys; from tfdlrm.base import storage; p = storage.at('a/b');"
        "print(type(p).__name__, 'tensorflow' in sys.modules)"
    )
    assert run_command_line(f'python -c "{line}"').stdout == "PosixPath False\n"


def test_without_tensorflow_io_the_first_remote_path_says_what_to_install(
    without_tensorflow_io,
):
    without_tensorflow_io.setitem(sys.modules, "tensorflow_io", None)
    with pytest.raises(
        InputError,
        match=r"s3:// needs tensorflow-io .*TensorFlow 2\.\d+\.\d+: pip install "
        r"tensorflow-io==0\.37\.1 tensorflow==2\.17\.1",
    ):
        FeatureSchema.load(Path("s3://bucket/data"))


def test_a_compiled_part_that_does_not_load_says_so(without_tensorflow_io):
    schemes = tf.io.gfile.get_registered_schemes
    without_tensorflow_io.setattr(
        tf.io.gfile,
        "get_registered_schemes",
        lambda: [scheme for scheme in schemes() if scheme != "s3"],
    )
    with pytest.raises(InputError, match="s3:// needs tensorflow-io with a TensorFlow"):
        RunDirectory(Path("s3://bucket/run")).load_config()


def test_a_library_that_does_not_load_is_said_in_one_line(
    without_tensorflow_io, tmp_path, capsys
):
    broken = tmp_path / "tensorflow_io"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise NotImplementedError('undefined symbol')")
    patch = without_tensorflow_io
    patch.syspath_prepend(tmp_path)
    for name in list(sys.modules):
        if name.partition(".")[0] == "tensorflow_io":
            patch.delitem(sys.modules, name)
    patch.setattr(sys, "argv", ["train", "--data_dir", "s3://bucket/data"])
    patch.setattr("tfdlrm.base.exit_status.leave", sys.exit)
    with pytest.raises(SystemExit) as ended:
        run_command(train.main)
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "")
    assert len(printed.err.splitlines()) == 1
    assert "s3:// needs tensorflow-io" in printed.err


@pytest.fixture(scope="module")
def s3():
    with s3_server() as variables:
        yield environment(variables)


@pytest.fixture(scope="module")
def uploaded(s3, data_dir, raw_file):
    """The data set and its raw file on S3."""
    raw = raw_file.parent / "only_raw"
    raw.mkdir(exist_ok=True)
    (raw / raw_file.name).write_bytes(raw_file.read_bytes())
    for source, target in ((data_dir, "data"), (raw, "raw")):
        result = run_command_line(
            f"{s3} python -c '{COPY}' {source} s3://clicks/{target}"
        )
        assert result.returncode == 0, result.stderr
    return raw_file.name


def is_served(s3, model, version):
    """Return whether the embedded server comes to serve a version of a model."""
    ports = free_port(), free_port()
    command = (
        f"{s3} PYTHONPATH={ROOT} exec {sys.executable} -m tfdlrm.serve {model} "
        f"--model_name m --port {ports[0]} --rest_api_port {ports[1]}"
    )
    server = subprocess.Popen(["bash", "-c", command], stderr=subprocess.DEVNULL)
    try:
        for _ in range(240):
            with suppress(OSError, AssertionError):
                url = f"http://127.0.0.1:{ports[1]}/v1/models/m"
                with urllib.request.urlopen(url, timeout=5) as answer:
                    (status,) = json.load(answer)["model_version_status"]
                assert (status["version"], status["state"]) == (version, "AVAILABLE")
                return True
            assert server.poll() is None
            time.sleep(0.25)
        return False
    finally:
        server.terminate()
        server.wait()


@pytest.mark.slow
@needs_moto
@needs_tensorflow_io
def test_a_data_set_on_s3_is_extended_there(s3, tmp_path):
    for number in range(2):
        write_rows(tmp_path / f"day{number}", make_rows(200, seed=number))
    for place in ("s3://clicks/extended", str(tmp_path)):
        extend = f"--extend {place}/set0 --forget_days 1"
        for number, settings in enumerate(["--min_frequency 2", extend]):
            output = f"--output {place}/set{number}"
            result = run_command_line(
                f"{s3} python -m pipelines.prepare --raw day{number} {output} "
                f"{settings}",
                cwd=tmp_path,
            )
            assert result.returncode == 0, result.stderr
    copy = f"{s3} python -c '{COPY}' s3://clicks/extended/set1 {tmp_path}/copy"
    assert run_command_line(copy).returncode == 0
    assert files_of(tmp_path / "copy") == files_of(tmp_path / "set1")


@pytest.mark.slow
@needs_moto
@needs_tensorflow_io
def test_a_run_on_s3_from_the_data_to_the_scores(s3, uploaded, tmp_path):
    def run(command, status=0):
        result = run_command_line(f"{s3} python -m {command}", cwd=tmp_path)
        assert result.returncode == status, result.stderr
        assert "pure virtual" not in result.stderr
        return result.stdout if status == 0 else result.stderr

    train = (
        f"tfdlrm.train --data_dir s3://clicks/data {MODEL} --checkpoints.steps 40 "
        "--evaluations_per_epoch 2"
    )
    complete_run = run(
        f"{train} --run_dir s3://clicks/whole --export_dir s3://clicks/whole_m"
    )
    assert "Report: s3://clicks/whole/report.md" in complete_run
    assert "Model:  s3://clicks/whole_m/1" in complete_run

    stopped = (
        f"{train} --run_dir s3://clicks/stopped --export_dir s3://clicks/stopped_m"
    )
    killer = (
        "import os, signal, sys, tfdlrm.checkpoints.directory as c, tfdlrm.train as t;"
        "save = c.CheckpointDirectory.write_step;"
        "c.CheckpointDirectory.write_step = lambda *a: "
        "(save(*a), os.kill(os.getpid(), signal.SIGKILL));"
        "from tfdlrm.base.command_line import run_command; run_command(t.main)"
    )
    options = stopped.partition(" ")[2]
    killed = run_command_line(f'{s3} python -c "{killer}" {options}', cwd=tmp_path)
    assert killed.returncode == 137 or killed.returncode == -9
    assert "Going on after step 40 of s3://clicks/stopped" in run(stopped)

    for name in ("whole", "stopped"):
        model, output = f"s3://clicks/{name}_m", f"{name}.csv"
        run(
            f"tfdlrm.predict --model {model} --raw s3://clicks/raw/{uploaded} "
            f"--output_file {output}"
        )
    scores = (tmp_path / "whole.csv").read_bytes()
    assert scores == (tmp_path / "stopped.csv").read_bytes()
    assert scores.count(b"\n") == 6_001

    assert "Model: s3://clicks/whole_m/2" in run(
        "tfdlrm.export --run_dir s3://clicks/whole --export_dir s3://clicks/whole_m"
    )
    run(
        "tfdlrm.evaluate --model s3://clicks/whole_m --data_dir s3://clicks/data "
        "--output_file measures.json"
    )
    measured = json.loads((tmp_path / "measures.json").read_text())
    result = run_command_line(
        f"{s3} python -c '{COPY}' s3://clicks/whole {tmp_path}/run"
    )
    assert result.returncode == 0
    measures = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert measured["test"]["auc"] == pytest.approx(measures["test"]["auc"], rel=1e-6)
    assert (tmp_path / "run" / "report.md").is_file()
    assert list((tmp_path / "run" / "checkpoints").glob("step-*/state.json"))

    assert is_served(s3, "s3://clicks/whole_m", version="2")
    refused = run(
        "tfdlrm.evaluate --model s3://clicks/x --data_dir s3://clicks/data", 2
    )
    assert "s3://clicks/x holds no SavedModel" in refused
    assert not (tmp_path / "s3:").exists()
    refused = run(f"{train} --run_dir s3://clicks/whole", 2)
    assert "run_dir s3://clicks/whole is in use already" in refused

    for source, path in (("whole", "s3://clicks/whole"), ("whole_m", "whole_m/2")):
        output = run(
            f"{train} --init_from s3://clicks/{source} --export_dir s3://clicks/next_m "
            f"--run_dir s3://clicks/after_{source}"
        )
        assert f"{path}, " in output.partition("Beginning with the weights of ")[2]


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("pipelines.synthetic --rows 10 --output_file s3://b/rows.tsv", "output_file"),
        (
            "pipelines.random_data --vocabulary_sizes 3 --rows 9 --output_file s3://b/rows",
            "output_file",
        ),
        ("pipelines.prepare --raw {raw} --engine spark --output s3://b/data", "output"),
        ("tfdlrm.compare --data_dir data --output s3://b/compared", "output"),
        ("tfdlrm.importance --model m --data_dir d --output s3://b/i", "output"),
        ("tfdlrm.export --run_dir run --graph s3://b/graph", "graph"),
        ("tfdlrm.export --run_dir run --deployment s3://b/files", "deployment"),
    ],
)
def test_what_is_for_this_machine_is_not_written_elsewhere(
    command, name, raw_file, monkeypatch
):
    module, *arguments = command.format(raw=raw_file).split()
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    with pytest.raises(InputError) as refused:
        import_module(module).main()
    assert str(refused.value).startswith(f"{name} is s3://b/")
    assert "\n" not in str(refused.value)


def test_a_run_on_s3_is_planned_without_its_free_space(data_dir):
    text = plan(PlanCommand(data_dir=data_dir, run_dir=storage.at("s3://b/run")))
    assert "A checkpoint is" in text
    assert "Free there" not in text


@pytest.mark.slow
@needs_moto
@needs_tensorflow_io
def test_a_data_set_is_prepared_on_s3_once_and_is_whole(s3, raw_file):
    def run(command, status=0):
        result = run_command_line(f"{s3} python -m {command}")
        assert result.returncode == status, result.stderr
        return result.stdout if status == 0 else result.stderr

    prepare = f"pipelines.prepare --raw {raw_file} --output s3://clicks/prepared"
    assert "next: python -m tfdlrm.train --data_dir s3://clicks/prepared" in run(
        prepare
    )
    assert "is already prepared from these files" in run(prepare)
    assert "days was null, is 5" in run(f"{prepare} --days 5", status=2)
    report = run("pipelines.verify s3://clicks/prepared")
    assert "s3://clicks/prepared is whole: 6,000 rows" in report


def test_what_is_removed_from_a_local_copy_is_removed_at_home(tmp_path):
    home = tmp_path / "run"
    for name in ("checkpoints/step-1", "events/old", "config.yaml"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(name)
    with local_copies.mirrored(home, leave_out="checkpoints") as local:
        (local / "events" / "old").unlink()
        (local / "events" / "new").write_text("new")
    files = (path for path in home.rglob("*") if path.is_file())
    assert sorted(str(path.relative_to(home)) for path in files) == [
        "checkpoints/step-1",
        "config.yaml",
        "events/new",
    ]


@pytest.fixture
def web(raw_file):
    """The address of a web server on the directory of the raw rows."""

    class Ranges(SimpleHTTPRequestHandler):
        """A handler that, unlike Python's, answers requests for a part of a file."""

        def do_GET(self):
            path = Path(self.translate_path(self.path))
            if "Range" not in self.headers or not path.is_file():
                super().do_GET()
                return
            text = path.read_bytes()
            first_byte, last_byte = (
                self.headers["Range"].removeprefix("bytes=").split("-")
            )
            part = text[int(first_byte) : int(last_byte) + 1]
            self.send_response(206)
            self.send_header("Content-Length", str(len(part)))
            end = int(first_byte) + len(part) - 1
            self.send_header("Content-Range", f"bytes {first_byte}-{end}/{len(text)}")
            self.end_headers()
            self.wfile.write(part)

        def log_message(self, *_):
            pass

    handler = partial(Ranges, directory=raw_file.parent)
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@needs_tensorflow_io
def test_raw_rows_from_a_web_server_make_the_same_data_set(
    web, raw_file, data_dir, tmp_path, monkeypatch
):
    monkeypatch.setattr(remote_path, "_LOADED", [])  # else commands end the process
    raw = storage.at(f"{web}/{raw_file.name}")
    schema = prepare([raw], tmp_path / "data", PrepareConfig(min_frequency=3))
    assert schema.shards == FeatureSchema.load(data_dir).shards
    with pytest.raises(InputError) as refused:
        prepare([storage.at(f"{web}/none.tsv")], tmp_path / "none", PrepareConfig())
    assert f"{web}/none.tsv cannot be read" in str(refused.value)
    assert "\n" not in str(refused.value)
