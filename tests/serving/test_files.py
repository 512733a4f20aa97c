"""TF Serving's configuration files."""

import re
import sys
from pathlib import Path

import pytest

from tfdlrm import serve
from tfdlrm.base import exit_status
from tfdlrm.base.command_line import run_command
from tfdlrm.base.errors import InputError
from tfdlrm.serve import ServeCommand, settings
from tfdlrm.serving.batching import BatchingParameters
from tfdlrm.serving.text_protos import read_batching_parameters

MODELS = """
model_config_list {
  config {
    name: "dlrm"
    base_path: "/models/dlrm"
    model_platform: "tensorflow"
    model_version_policy { specific { versions: 3 versions: 7 } }
    version_labels { key: "stable" value: 3 }
    version_labels { key: "canary" value: 7 }
  }
  config { name: "wide" base_path: "/models/wide" model_version_policy { all {} } }
  config {
    name: "two" base_path: "/models/two"
    model_version_policy { latest { num_versions: 2 } }
  }
  config { name: "one" base_path: "/models/one" model_platform: "tensorflow" }
}
"""


def test_a_model_config_names_models_policies_and_labels(tmp_path):
    file = tmp_path / "models.config"
    file.write_text(MODELS)
    dlrm, wide, two, single = settings(ServeCommand(model_config_file=file)).models
    assert (dlrm.name, str(dlrm.base_path)) == ("dlrm", "/models/dlrm")
    assert dlrm.labels == {"stable": 3, "canary": 7}
    versions = [1, 3, 7, 9]
    chosen = [model.policy.choose(versions) for model in (dlrm, wide, two, single)]
    assert chosen == [[7, 3], [9, 7, 3, 1], [9, 7], [9]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model_config_list {}", "has no model"),
        ("custom_model_config {}", "has no model_config_list"),
        ("models {}", "is no ModelServerConfig"),
        ("model_config_list { config { name: '../x' } }", "'../x', expected a name"),
        ("model_config_list { config { name: 'a' model_platform: 'c' } }", "platform"),
        (
            "model_config_list { config { name: 'a' } config { name: 'a' } }",
            "the name a twice",
        ),
    ],
)
def test_a_model_config_that_says_nothing_to_serve_is_refused(tmp_path, text, message):
    file = tmp_path / "models.config"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        settings(ServeCommand(model_config_file=file))


def test_batching_parameters_are_read(tmp_path):
    file = tmp_path / "batching_parameters.txt"
    file.write_text(
        "max_batch_size { value: 128 }\n"
        "batch_timeout_micros { value: 1500 }\n"
        "num_batch_threads { value: 2 }\n"
        "allowed_batch_sizes: 32\nallowed_batch_sizes: 128\n"
        "pad_variable_length_inputs: true\n"
        'thread_pool_name { value: "threads" }\n'
    )
    parameters = read_batching_parameters(file)
    assert parameters == BatchingParameters(
        max_batch_size=128,
        batch_timeout_micros=1500,
        num_batch_threads=2,
        allowed_batch_sizes=(32, 128),
    )
    assert [parameters.padded_rows(rows) for rows in (0, 1, 32, 33, 500)] == [
        0,
        32,
        32,
        128,
        500,
    ]
    file.write_text("allowed_batch_sizes: 32")
    with pytest.raises(InputError, match="end with max_batch_size, 1024"):
        read_batching_parameters(file)
    file.write_text(
        "max_batch_size { value: 4096 }\nmax_execution_batch_size { value: 256 }\n"
        "enable_large_batch_splitting { value: true }\nallowed_batch_sizes: 256\n"
    )
    assert read_batching_parameters(file).max_batch_size == 256


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", None),
        ("prometheus_config { enable: true }", "/monitoring/prometheus/metrics"),
        ('prometheus_config { enable: true path: "/metrics" }', "/metrics"),
    ],
)
def test_monitoring_says_where_the_metrics_are(tmp_path, text, path):
    file = tmp_path / "monitoring.txt"
    file.write_text(text)
    command = ServeCommand(model_base_path=tmp_path, monitoring_config_file=file)
    assert settings(command).metrics_path == path


@pytest.mark.parametrize(
    "path", ["metrics", "/", "/openapi.json", "/v1/models/x", "/V1/", "/a b", "/a?b"]
)
def test_metrics_are_at_a_page_of_their_own(tmp_path, path):
    file = tmp_path / "monitoring.txt"
    file.write_text(f'prometheus_config {{ enable: true path: "{path}" }}')
    with pytest.raises(InputError, match=r"has the path .*, expected one such as /mon"):
        settings(ServeCommand(tmp_path, monitoring_config_file=file))


@pytest.mark.parametrize(
    "idle",
    [
        {"model_name": "x", "model_config_file": Path("models.config")},
        {"batching_parameters_file": Path("batching.txt"), "enable_batching": False},
        {"monitoring_config_file": Path("monitoring.txt"), "rest_api_port": 0},
    ],
)
def test_settings_without_effect_are_refused(tmp_path, idle):
    base = None if "model_config_file" in idle else tmp_path
    with pytest.raises(InputError, match="has no effect with --"):
        ServeCommand(base, **idle)


@pytest.mark.parametrize(
    "text", ["model_config_list {", "model_config_list: 3", "improper", "x: 'a\nb'"]
)
def test_scripts_find_the_words_about_a_config_that_does_not_parse(
    tmp_path, monkeypatch, capsys, text
):
    file = tmp_path / "models.config"
    file.write_text(text)
    argv = ["serve", f"--model_config_file={file}", "--port=1"]
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(exit_status, "leave", sys.exit)
    with pytest.raises(SystemExit) as ended:
        run_command(serve.main)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    words = "Error parsing text-format tensorflow.serving.ModelServerConfig: "
    assert words in line and str(file) in line
    assert re.search(rf"{words}\d+:\d+", line)
