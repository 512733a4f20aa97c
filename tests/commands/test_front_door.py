"""What `import tfdlrm` offers."""

import inspect
import subprocess
import sys
from importlib import import_module

import pytest

import tfdlrm
from tests.support.processes import ROOT
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig, TrainConfig
from tfdlrm.config.models import DLRMConfig

CALLABLE = ("train", "evaluate")

TYPED_EXAMPLE = """
from pathlib import Path
import keras
import tfdlrm

tfdlrm.prepare("clicks.csv", "data/clicks", columns="columns.yaml")
config = tfdlrm.TrainConfig(data_dir=Path("data/clicks"), epochs=2)
version = tfdlrm.train(config, callbacks=[keras.callbacks.TerminateOnNaN()])
assert version is not None
measures = tfdlrm.evaluate(version, "data/clicks")
reveal_type(version)
reveal_type(measures["test"])
tfdlrm.train(3)
"""


def test_every_public_name_is_there():
    assert set(tfdlrm.__all__) <= set(dir(tfdlrm))
    for name in tfdlrm.__all__:
        assert getattr(tfdlrm, name) is not None


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'trains'"):
        _ = tfdlrm.trains


@pytest.mark.parametrize("name", CALLABLE)
def test_a_command_is_a_module_and_a_function(name, monkeypatch):
    module = import_module(f"tfdlrm.{name}")
    assert getattr(tfdlrm, name) is module
    monkeypatch.setattr(f"tfdlrm.{name}.{name}", lambda *args, **kwargs: (args, kwargs))
    assert getattr(tfdlrm, name)(1, raw=2) == ((1,), {"raw": 2})


def test_its_signature_is_that_of_the_function():
    assert [*inspect.signature(tfdlrm.train).parameters] == ["config", "callbacks"]
    assert "data_dir" in inspect.signature(tfdlrm.evaluate).parameters


@pytest.mark.parametrize("name", CALLABLE)
@pytest.mark.parametrize(
    "imports",
    [
        "import tfdlrm; f = tfdlrm.{0}; from tfdlrm.{0} import {0} as g",
        "from tfdlrm.{0} import {0} as g; import tfdlrm; f = tfdlrm.{0}",
        "import tfdlrm.{0}; f = tfdlrm.{0}; g = tfdlrm.{0}.{0}",
        "from tfdlrm import {0} as f; from tfdlrm.{0} import {0} as g",
    ],
)
def test_both_orders_of_import_work(name, imports, monkeypatch):
    for module in ("tfdlrm", f"tfdlrm.{name}"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    names = {}
    exec(imports.format(name), names)
    assert callable(names["f"])
    assert inspect.isfunction(names["g"])
    assert names["f"].main  # still the module


def test_importing_is_quick_and_loads_no_tensorflow():
    loads = "import sys, tfdlrm; tfdlrm.TrainConfig; print(*sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", loads], capture_output=True, text=True, cwd=ROOT
    )
    modules = output.stdout.split()
    assert "tfdlrm.config" in modules
    assert not {"tensorflow", "keras", "polars", "pandas"} & set(modules)


def test_paths_of_settings_may_be_texts():
    config = TrainConfig(raw="clicks.csv", prepare=PrepareConfig(columns="a.yaml"))
    expected = "clicks.csv", "a.yaml"
    assert (str(config.raw.name), config.prepare.columns.name) == expected
    assert str(TrainConfig(data_dir="s3://bucket/a").data_dir) == "s3://bucket/a"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": "3"}, "epochs is '3', expected a whole number$"),
        ({"epochs": True}, "epochs is True, expected a whole number$"),
        ({"model": "dlrm"}, r"model is 'dlrm', expected DLRMConfig\(…\), "),
        ({"prepare": {"days": 2}}, r"prepare is .*, expected PrepareConfig\(…\)$"),
        ({"raw": 3}, "raw is 3, expected a path or None$"),
        ({"strategy": "two"}, "strategy is 'two', expected 'default', 'mirrored' or "),
        ({"profile_steps": 3}, "profile_steps is 3, expected a tuple or None$"),
    ],
)
def test_a_setting_of_another_type_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        TrainConfig(**settings)
    with pytest.raises(InputError, match="embedding_dim is '8', expected a whole"):
        DLRMConfig(embedding_dim="8")


def test_a_run_needs_a_configuration():
    with pytest.raises(InputError, match=r"config is \{'epochs': 2\}, expected tfdlrm"):
        tfdlrm.train({"epochs": 2})


@pytest.mark.slow
def test_a_type_checker_knows_what_the_functions_return(tmp_path):
    pytest.importorskip("mypy")
    example = tmp_path / "example.py"
    example.write_text(TYPED_EXAMPLE)
    output = subprocess.run(
        [sys.executable, "-m", "mypy", "--follow-imports=silent", str(example)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    ).stdout
    lines = [line for line in output.splitlines() if "example.py" in line]
    messages = [line.partition(": ")[2] for line in lines]
    assert messages == [
        'note: Revealed type is "pathlib.Path"',
        'note: Revealed type is "dict[str, Any]"',
        'error: Argument 1 to "train" has incompatible type "int"; '
        'expected "TrainConfig"  [arg-type]',
    ], output
