"""What `--help` prints, for every command."""

import re
import subprocess
import sys
from importlib import import_module

import pytest

from pipelines.prepare import PrepareCommand
from tests.support.processes import ROOT
from tfdlrm.base.setting_list import settings_of
from tfdlrm.client import SUBJECTS as CLIENT_SUBJECTS
from tfdlrm.client import ClientCommand
from tfdlrm.config import RollingConfig, TrainConfig
from tfdlrm.config.help_subjects import PREPARE, ROLLING, TRAIN
from tfdlrm.config.models import DLRMConfig, ModelConfig
from tfdlrm.serving.flags import SUBJECTS, ServeCommand

COMMANDS = sorted(
    f"{package}.{path.stem}"
    for package in ("tfdlrm", "pipelines")
    for path in (ROOT / package).glob("[a-z]*.py")
)
PYTHON_WORDS = re.compile(
    r"<class|typing|Optional|Union|Literal|NoneType|PosixPath|None\b|True\b|False\b"
    r"|tuple|\(\d+,|\btype:|\bint\b|\bstr\b"
)
MODELS = [member.name for member in ModelConfig.__args__]


def help_of(module, capsys, monkeypatch, *argv):
    monkeypatch.setattr(sys, "argv", [module, *argv, "--help"])
    with pytest.raises(SystemExit) as ended:
        import_module(module).main()
    assert ended.value.code in (0, None)
    return capsys.readouterr().out


@pytest.mark.parametrize("module", COMMANDS)
def test_help_is_plain_and_fits_a_terminal(module, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = help_of(module, capsys, monkeypatch)
    assert text.startswith(f"usage: python -m {module}")
    assert max(map(len, text.splitlines())) <= 80
    assert not PYTHON_WORDS.search(text)


def groups_of(text):
    """Return the options of each group, by its heading."""
    groups, heading = {}, None
    for line in text.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            heading = line[:-1]
        elif heading and (match := re.match(r"  --([\w.]+)", line)):
            groups.setdefault(heading, []).append(match[1])
    return groups


@pytest.mark.parametrize(
    "module", ["tfdlrm.train", "tfdlrm.plan", "tfdlrm.serve", "pipelines.prepare"]
)
def test_the_ten_that_people_use_come_first(module, capsys, monkeypatch):
    groups = groups_of(help_of(module, capsys, monkeypatch))
    assert len(groups) > 3
    assert next(iter(groups)) == "most used"
    assert len(groups["most used"]) == 10
    options = [name for names in groups.values() for name in names]
    assert len(set(options)) == len(options)


@pytest.mark.parametrize(
    ("config_class", "subjects"),
    [
        (TrainConfig, TRAIN),
        (RollingConfig, ROLLING),
        (PrepareCommand, PREPARE),
        (ServeCommand, SUBJECTS),
        (ClientCommand, CLIENT_SUBJECTS),
    ],
)
def test_each_option_has_a_subject_and_each_subject_its_options(config_class, subjects):
    chosen = {"model": DLRMConfig}
    settings = [setting.name for setting in settings_of(config_class, chosen)]
    patterns = [name for names in subjects.values() for name in names]
    for pattern in patterns:
        is_start = pattern[-1] in "._"
        assert any(
            name.startswith(pattern) if is_start else name == pattern
            for name in settings
        ), pattern
    starts = tuple(pattern for pattern in patterns if pattern[-1] in "._")
    rest = {
        name
        for name in settings
        if name not in patterns and not name.startswith(starts)
    }
    assert not rest


@pytest.mark.parametrize("argv", [(), ("--model.name", "dcn_v2")])
def test_all_models_are_listed(argv, capsys, monkeypatch):
    text = help_of("tfdlrm.train", capsys, monkeypatch, *argv)
    assert len(MODELS) > 6
    assert f"--model.name {{{','.join(MODELS)}}}" in text
    assert ("--model.rank N" in text) == bool(argv)


@pytest.mark.parametrize("name", ["", "cosine", "plateau"])
def test_a_schedule_has_its_settings_and_no_default(name, capsys, monkeypatch):
    argv = ["--optimizer.schedule", name] if name else []
    text = help_of("tfdlrm.train", capsys, monkeypatch, *argv)
    assert "--optimizer.schedule.name {cosine,piecewise,plateau}" in text
    words = " ".join(text.split())
    assert "Name of the schedule; null means none. --" in words
    assert ("--optimizer.schedule.final_share" in text) == (name == "cosine")
    assert ("--optimizer.schedule.min_rate" in text) == (name == "plateau")


def test_help_may_come_before_the_model_or_the_stream(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train", "--help", "--model.name=mf"])
    train = import_module("tfdlrm.train")
    with pytest.raises(SystemExit):
        train.main()
    text = capsys.readouterr().out
    assert "usage: python -m tfdlrm.train --model.user TEXT --model.item TEXT" in text
    monkeypatch.setattr(sys, "argv", ["train", "--help", "--stream", "kafka://h/t"])
    with pytest.raises(SystemExit):
        train.main()
    assert "--measure_every" in capsys.readouterr().out


def test_a_narrow_terminal_is_not_exceeded(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    text = help_of("pipelines.prepare", capsys, monkeypatch)
    descriptions = [line for line in text.splitlines() if line.startswith(" " * 20)]
    assert max(map(len, descriptions)) <= 60


def test_defaults_are_written_as_one_gives_them(capsys, monkeypatch):
    text = " ".join(help_of("tfdlrm.train", capsys, monkeypatch).split())
    assert "Default: [512,256,64]." in text
    assert "--tf32 {true,false}" in text and "never do. Default: false." in text
    assert "null. Default" not in text


def test_required_options_are_in_the_usage(capsys, monkeypatch):
    text = help_of("tfdlrm.predict", capsys, monkeypatch)
    usage = " ".join(text.partition("\n\n")[0].split())
    assert usage == (
        "usage: python -m tfdlrm.predict --model PATH --raw PATH --output_file PATH "
        "[options]"
    )


def test_help_loads_no_parser_and_no_tensorflow():
    code = (
        "import sys\nsys.argv = ['train', '--help']\n"
        "from tfdlrm.train import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print({'tensorflow', 'keras', 'jsonargparse', 'matplotlib'}"
        " & sys.modules.keys())"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert process.stdout.splitlines()[-1] == "set()", process.stderr
