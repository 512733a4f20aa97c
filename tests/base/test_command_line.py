import re
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from pipelines.prepare import PrepareCommand
from tests.support.processes import run_command_line
from tfdlrm.base.command_line import gives, parse, run_command, to_yaml
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig, TrainConfig
from tfdlrm.predict import PredictCommand

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


def train_config(*argv):
    return parse(TrainConfig, "tfdlrm.train", list(argv))


def test_a_dotted_override_wins_over_the_file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("model: {embedding_dim: 8, dropout: 0.5}\nbatch_size: 64\n")
    config = train_config("--config", str(path), "--model.embedding_dim", "4")
    assert config.model.embedding_dim == 4
    assert config.model.dropout == 0.5
    assert config.batch_size == 64


@pytest.mark.parametrize(
    "argv", ["--model.top_mlp_units 3,2", "--model.top_mlp_units=[3,2]"]
)
def test_a_list_is_written_with_brackets_or_without(argv):
    assert train_config(*argv.split()).model.top_mlp_units == (3, 2)
    assert train_config("--profile_steps", "3,5").profile_steps == (3, 5)


def test_a_list_that_may_be_absent_may_be_null():
    assert train_config("--profile_steps", "null").profile_steps is None
    assert train_config("--profile_steps=null").profile_steps is None


def test_a_setting_is_seen_among_the_arguments_and_in_files(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("stream: kafka://host/clicks\n")
    assert gives(["--stream", "a"], "stream") and gives(["--stream=a"], "stream")
    assert gives(["--config", str(path)], "stream")
    assert not gives(["--data_dir", "stream"], "stream")


def test_files_in_a_row_are_read_as_they_are():
    argv = ["--raw", "a.tsv", "b.tsv", "--output", "data"]
    command = parse(PrepareCommand, "pipelines.prepare", argv, several="raw")
    assert command.raw == (Path("a.tsv"), Path("b.tsv"))


def test_the_yaml_of_a_configuration_reads_back(tmp_path):
    config = train_config("--data_dir", "x", "--model.top_mlp_units", "[3,2]")
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config))
    assert train_config("--config", str(path)) == config


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_shipped_configuration_is_valid(path):
    train_config("--config", str(path))
    assert path.read_text().startswith("# python -m tfdlrm.train --config configs/")


def test_quickstart_is_what_happens_without_a_configuration():
    path = next(path for path in CONFIGS if path.name == "quickstart.yaml")
    assert train_config("--config", str(path)) == TrainConfig()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--colour", "red"], "--colour"),
        (["--model.embeding_dim", "8"], "embeding_dim"),
        (["--batch_size", "many"], "batch_size"),
        (["--optimizer.name", "adamax"], "adamax"),
        (["--batch_size", "0"], "batch_size is 0, expected >= 1"),
        (["--model.dropout", "1"], "dropout is 1"),
        (["--model.top_mlp_units", "[8,-1]"], "top_mlp_units"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(argv, message):
    with pytest.raises(InputError) as error:
        train_config(*argv)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_key_in_a_file_is_refused(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("model: {depth: 3}\n")
    with pytest.raises(InputError, match="depth"):
        train_config("--config", str(path))


def test_the_status_tells_bad_input_from_a_defect(capsys):
    def fail(error):
        raise error

    with pytest.raises(SystemExit) as leave:
        run_command(lambda: fail(InputError("rows are square")))
    assert leave.value.code == 2
    assert capsys.readouterr().err == "error: rows are square\n"
    with pytest.raises(SystemExit) as leave:
        run_command(lambda: fail(KeyboardInterrupt()))
    assert leave.value.code == 130
    with pytest.raises(SystemExit) as leave:
        run_command(lambda: fail(SystemExit("2 measurements failed")))
    assert leave.value.code == 1
    assert "2 measurements failed" in capsys.readouterr().err
    with pytest.raises(SystemExit) as leave:
        run_command(lambda: fail(PermissionError(13, "Permission denied", "a.csv")))
    assert leave.value.code == 2
    assert capsys.readouterr().err == "error: a.csv: Permission denied; fix that\n"
    with pytest.raises(FileNotFoundError):
        run_command(lambda: fail(FileNotFoundError(2, "No such file", "a.csv")))
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: fail(ZeroDivisionError()))
    with pytest.raises(SystemExit) as leave:
        run_command(lambda: None)
    assert leave.value.code == 0


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("tfdlrm.train --data_dir nowhere", "holds no schema.json"),
        ("tfdlrm.train --raw nowhere.tsv", "nowhere.tsv"),
        ("tfdlrm.evaluate --model m --data_dir nowhere", "holds no schema.json"),
        ("tfdlrm.evaluate", "model"),
        ("tfdlrm.importance --model m --data_dir nowhere", "holds no schema.json"),
        ("tfdlrm.export --run_dir nowhere", "holds no config.yaml"),
        ("tfdlrm.predict --model m --raw nowhere.tsv --output_file x", "no SavedModel"),
        ("pipelines.prepare --raw nowhere.tsv --output x", "nowhere.tsv"),
    ],
)
def test_bad_input_ends_with_status_2_and_one_line(
    command, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tfdlrm.base.exit_status.leave", sys.exit)
    module, *arguments = command.split()
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    with pytest.raises(SystemExit) as ended:
        run_command(import_module(module).main)
    assert ended.value.code == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert errors.startswith("error: ")
    assert message in errors
    assert list(tmp_path.iterdir()) == []


def test_a_command_in_a_process_of_its_own_ends_with_status_2(tmp_path):
    result = run_command_line("python -m tfdlrm.evaluate", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: ")


def test_print_config_is_yaml_that_config_takes(tmp_path):
    result = run_command_line("python -m tfdlrm.train --batch_size 32 --print_config")
    assert yaml.safe_load(result.stdout)["batch_size"] == 32
    path = tmp_path / "config.yaml"
    path.write_text(result.stdout)
    assert train_config("--config", str(path)) == TrainConfig(batch_size=32)


@pytest.mark.parametrize(
    ("argv", "meant"),
    [
        ("--epoch 3", "--epochs"),
        ("--epoch=3", "--epochs"),
        ("--model.embeding_dim 4", "--model.embedding_dim"),
        ("--learning_rate 0.1", "--optimizer.learning_rate"),
        ("--run-dir runs/first", "--run_dir"),
        ("--row clicks.tsv", "--raw"),
        ("--seed 3 --batchsize 4", "--batch_size"),
        ("--optimizer adagrad", "--optimizer.name"),
        ("--optimizer.name adagard", "adagrad"),
        ("--model.name dlmr", "dlrm"),
        ("--strategy miror", "mirrored"),
        ("--model.name dcn --model.num_cross 3", "--model.num_cross_layers"),
    ],
)
def test_the_nearest_option_or_value_is_named(argv, meant):
    with pytest.raises(InputError, match=f"; did you mean {meant}\\?"):
        train_config(*argv.split())


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("epoch: 3", "epochs"),
        ("optimizer: {learning_rat: 0.1}", "optimizer.learning_rate"),
        ("model: {name: dcn, dep_units: [3]}", "model.deep_units"),
        ("checkpoint: {steps: 4}", "checkpoints.steps"),
        ("precision: mixed_bfloat", "mixed_bfloat16"),
    ],
)
def test_the_nearest_key_of_a_file_is_named(tmp_path, text, meant):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(InputError, match=f"; did you mean {meant}\\?"):
        train_config("--config", str(tmp_path / "config.yaml"))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--batch_size.rows 1", "itself is a whole number"),
        ("--optimizer.name.x 1", "itself is one of sgd, adagrad"),
    ],
)
def test_a_setting_below_a_plain_one_is_refused_in_words(argv, message):
    option, _, name = argv.split()[0].removeprefix("--").rpartition(".")
    with pytest.raises(
        InputError, match=f"^{option} has no setting {name}: "
    ) as error_info:
        train_config(*argv.split())
    assert message in str(error_info.value)


@pytest.mark.parametrize(
    "argv",
    [
        ("--data_dir", ""),
        ("--export_dir=",),
        ("--prepare.columns", ""),
        ("--seed", "3", "--run_dir", "", "--epochs", "2"),
    ],
)
def test_an_empty_path_is_not_the_present_directory(argv):
    with pytest.raises(InputError, match=r"^--[a-z_.]+ is empty, expected a path"):
        train_config(*argv)


def test_an_empty_file_name_among_several_is_refused():
    with pytest.raises(InputError, match=r"^--raw is empty, expected a path"):
        parse(PrepareCommand, "pipelines.prepare", ["--raw", "a", ""], several="raw")


def test_paths_with_an_equals_sign_are_paths():
    config = train_config("--data_dir", "day=", "--run_dir=a=")
    assert (config.data_dir, config.run_dir) == (Path("day="), Path("a="))


def test_nothing_is_named_that_is_not_near():
    with pytest.raises(InputError) as raised:
        train_config("--xyzzy", "3")
    assert "did you mean" not in str(raised.value)


def test_a_value_of_another_type_is_told_in_words():
    with pytest.raises(InputError, match="epochs is 'three', expected a whole number"):
        train_config("--epochs", "three")
    expected = "early_stopping is 'soon', expected a whole number or null"
    with pytest.raises(InputError, match=expected):
        train_config("--early_stopping", "soon")


def test_a_choice_that_may_be_absent_names_what_there_is():
    expected = r"dialect is 'hsh', expected one of .*, hash, or null; did you mean hash"
    with pytest.raises(InputError, match=expected):
        train_config("--prepare.dialect", "hsh")


def test_settings_that_nobody_gave_do_not_contradict_others():
    hashed = train_config("--prepare.dialect", "hash").prepare
    assert (hashed.hash_buckets, hashed.min_frequency) == (100_000, None)
    extending = train_config("--prepare.extend", "data/day1").prepare
    assert (extending.dialect, extending.min_frequency) == (None, None)
    assert train_config().prepare == PrepareConfig()
    assert train_config().prepare.min_frequency == 10


def test_an_error_cannot_act_on_the_terminal(capsys):
    def fail():
        raise InputError("column \x1b[2J\nof two lines")

    with pytest.raises(SystemExit) as raised:
        run_command(fail)
    assert raised.value.code == 2
    assert capsys.readouterr().err == "error: column \\x1b[2J\\nof two lines\n"


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (b"", "holds no settings"),
        (b"# nothing\n", "holds no settings"),
        (b"- epochs\n", "holds no settings"),
        (b"\0\0\0", "cannot be read as YAML"),
        (b"\xffepochs: 2\n", "cannot be read as YAML"),
        (b'epochs: "2\n', "cannot be read as YAML"),
    ],
)
@pytest.mark.parametrize("written", ["--config={}", "--config {}"])
def test_a_damaged_file_of_settings_is_named(tmp_path, contents, reason, written):
    path = tmp_path / "settings.yaml"
    path.write_bytes(contents)
    with pytest.raises(InputError, match=f"^{path} {reason}") as refused:
        parse(TrainConfig, "tfdlrm.train", written.format(path).split())
    assert "\n" not in str(refused.value)


def test_a_switch_may_stand_alone():
    assert train_config("--allow_one_class").allow_one_class
    assert train_config("--allow_one_class", "--seed", "1").allow_one_class
    assert train_config("--allow_one_class", "true").allow_one_class
    assert not train_config("--allow_one_class=false").allow_one_class
    assert not train_config("--seed", "1").allow_one_class


PYTHON_WORDS = re.compile(
    r"<class|typing|Optional|Union|Literal|NoneType|NestedArg|PosixPath|None|True|False"
    r"|Parser key|tuple|\(\d+,"
)


@pytest.mark.slow_variants
@pytest.mark.parametrize("value", ["null", "true", "[-1,x]"])
@pytest.mark.parametrize(
    "name",
    [
        "epochs",
        "early_stopping",
        "precision",
        "profile_steps",
        "run_dir",
        "prepare.dialect",
        "model.top_mlp_units",
        "model",
    ],
)
def test_no_value_is_refused_in_words_of_python(name, value, tmp_path):
    path = tmp_path / "settings.yaml"
    section, _, key = name.rpartition(".")
    path.write_text(f"{section}: {{{key}: {value}}}" if section else f"{key}: {value}")
    for argv in ([f"--{name}", value], ["--config", str(path)]):
        try:
            train_config(*argv)
        except InputError as error:
            assert not PYTHON_WORDS.search(str(error))
            assert "\n" not in str(error)


def test_null_is_refused_where_it_has_no_meaning(tmp_path):
    path = tmp_path / "settings.yaml"
    for text, message in (
        ("epochs: null", "epochs is null, expected a whole number"),
        ("prepare:", "prepare is null, expected settings such as prepare.dialect"),
        (
            "optimizer: {learning_rate: ~}",
            "optimizer.learning_rate is null, expected a",
        ),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=f"^{message}"):
            train_config("--config", str(path))
    path.write_text("early_stopping:\n")
    assert train_config("--config", str(path)) == TrainConfig()


def test_a_number_in_place_of_a_path_is_told_to_be_quoted(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("raw: [a]\noutput: 2024\n")
    with pytest.raises(
        InputError, match=r"output is a number, expected a path; .* quo"
    ):
        parse(PrepareCommand, "m", ["--config", str(path)], several="raw")


@pytest.mark.parametrize(
    ("argv", "meant"),
    [
        ("--lr 0.1", "--optimizer.learning_rate"),
        ("--columns c.yaml", "--prepare.columns"),
        ("--embedding_dim 4", "--model.embedding_dim"),
        ("--input clicks.csv", "--raw"),
        ("--output_dir models", "--export_dir"),
        ("--optimizer.name adam", "lazy_adam"),
        ("--precision bfloat16", "mixed_bfloat16"),
        ("--optimzer.name sgd", "--optimizer.name"),
    ],
)
def test_names_of_other_programs_lead_to_ours(argv, meant):
    with pytest.raises(InputError, match=f"; did you mean {meant}\\?"):
        train_config(*argv.split())


def test_an_output_directory_and_a_file_are_told_apart():
    for config_class, option in (
        (PrepareCommand, "--output"),
        (PredictCommand, "--output_file"),
    ):
        with pytest.raises(InputError, match=f"; did you mean {option}\\?"):
            parse(config_class, "m", ["--output_dir", "x"], several=())


def test_a_setting_of_another_model_leads_to_that_model(tmp_path):
    message = "it is a setting with --model.name dcn_v2"
    with pytest.raises(InputError, match=message):
        train_config("--model.rank", "3")
    path = tmp_path / "settings.yaml"
    path.write_text("model: {rank: 3}")
    with pytest.raises(InputError, match=message):
        train_config("--config", str(path))


def test_a_file_without_its_option_is_told_which_one():
    with pytest.raises(InputError, match=r"did you mean --raw clicks\.csv\?"):
        train_config("clicks.csv")


def test_a_list_with_blanks_is_told_of_commas():
    with pytest.raises(InputError, match="values of a list are separated by commas"):
        train_config("--model.top_mlp_units", "[8]", "4")


def test_an_error_in_a_section_has_its_name():
    with pytest.raises(InputError, match=r"^prepare\.days is -1, expected >= 1"):
        train_config("--prepare.days", "-1")


def test_yaml_that_is_broken_is_told_by_line_and_column(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("epochs: 2\nmodel: {name: dlrm\n")
    with pytest.raises(InputError, match="as YAML: line 3, column 1: expected"):
        train_config("--config", str(path))


@pytest.mark.parametrize(
    ("argument", "names"),
    [
        ("user, item", ("user", "item")),
        ("7,yes,1e3", ("7", "yes", "1e3")),
        ('"a,b",c: d', ("a,b", "c: d")),
        ('["a,b", c]', ("a,b", "c")),
        ('wei"rd é', ('wei"rd é',)),
    ],
)
def test_names_in_a_list_stay_text(argument, names):
    argv = ["--model", "m", "--raw", "r", "--output_file", "o"]
    for arguments in (["--keep", argument], [f"--keep={argument}"]):
        assert parse(PredictCommand, "predict", [*argv, *arguments]).keep == names


@pytest.mark.parametrize("text", ["epochs: 2\nepochs: 3\n", "model: {a: 1, a: 2}"])
def test_a_key_that_is_there_twice_is_refused(text, tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"line \d: \w+ is there twice, expected once"):
        train_config("--config", str(path))


def test_what_is_missing_is_told_by_its_options():
    with pytest.raises(InputError, match=r"^--raw, --output_file are missing"):
        parse(PredictCommand, "m", ["--model", "m"])
    with pytest.raises(InputError, match=r"^--output_file is missing"):
        parse(PredictCommand, "m", ["--model", "m", "--raw", "r"])
