"""Files that start TF Serving's own server."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import yaml
from google.protobuf.text_encoding import CEscape

from tfdlrm.base import storage
from tfdlrm.base.errors import InputError

IMAGE = "tensorflow/serving:2.17.0"
"""Matches the TensorFlow that exports: an older server may lack an operation."""

MODELS_FILE = "models.config"
COMPOSE_FILE = "compose.yaml"
CONFIG_TARGET = "/config"
MODELS_TARGET = "/models"

BATCHING = """\
# Requests that arrive together are scored together; no request waits for a later one.
# A request of more than max_execution_batch_size rows is split; one of more than
# max_batch_size rows is refused.
max_batch_size { value: 65536 }
enable_large_batch_splitting { value: true }
max_execution_batch_size { value: 1024 }
batch_timeout_micros { value: 0 }
max_enqueued_batches { value: 1000 }
# About the number of cores.
num_batch_threads { value: 4 }
# Bags of ids must not be padded by the server: it does not know which id means padding.
pad_variable_length_inputs: false
"""

MONITORING = """\
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""

FILES = {"batching_parameters.txt": BATCHING, "monitoring.config": MONITORING}


def check_deployment(directory: Path, export_dir: Path) -> None:
    """Refuse a directory whose server has another model of the same name.

    Args:
        directory: The directory of the files; it need not exist.
        export_dir: Directory of the model's versions.

    Raises:
        InputError: If it has, or what is in it cannot be read.
    """
    _sources(directory, export_dir)


def write_deployment(directory: Path, export_dir: Path) -> None:
    """Write the files that start TF Serving in a container, or add a model to them.

    Args:
        directory: The directory of the files. This model is added to the models that
            `models.config` and `compose.yaml` name already. The other files are written
            only if they are missing, so that tuned settings stay.
        export_dir: Directory of the model's versions; its name is the model's name.

    Raises:
        InputError: If the directory cannot be written, what is in it cannot be read, or
            another directory has the name of the model there.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        sources = _sources(directory, export_dir)
        storage.replace_text(directory / MODELS_FILE, _models_config(sorted(sources)))
        storage.replace_text(directory / COMPOSE_FILE, _compose(sources))
        for name, content in FILES.items():
            if not (directory / name).exists():
                storage.replace_text(directory / name, content)
    except OSError as error:
        raise InputError(
            f"deployment {directory} cannot be written: {error.strerror}"
        ) from None


def _sources(directory: Path, export_dir: Path) -> dict[str, str]:
    """Return the directory of each model of a deployment, with that of another one."""
    sources = _read_sources(directory / COMPOSE_FILE)
    name, source = export_dir.resolve().name, os.path.relpath(export_dir, directory)
    if sources.setdefault(name, source) != source:
        raise InputError(
            f"deployment {directory} serves {directory / sources[name]} as {name}, "
            f"expected a name of its own for {export_dir}: rename one of them, or give "
            "another directory"
        )
    return sources


def _models_config(names: list[str]) -> str:
    """Return one `ModelConfig` a model, in the text format of protocol buffers."""
    models = "".join(
        f"""\
  config {{
    name: "{CEscape(name, as_utf8=True)}"
    base_path: "{CEscape(_target(name), as_utf8=True)}"
    model_platform: "tensorflow"
  }}
"""
        for name in names
    )
    return f"model_config_list {{\n{models}}}\n"


def _compose(sources: dict[str, str]) -> str:
    models: list[dict[str, Any]] = [
        _mount(source, _target(name)) for name, source in sources.items()
    ]
    service = {
        "image": IMAGE,
        "command": [
            f"--model_config_file={CONFIG_TARGET}/{MODELS_FILE}",
            "--model_config_file_poll_wait_seconds=60",
            "--enable_batching",
            f"--batching_parameters_file={CONFIG_TARGET}/batching_parameters.txt",
            f"--monitoring_config_file={CONFIG_TARGET}/monitoring.config",
        ],
        "ports": ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"],
        "volumes": [_mount(".", CONFIG_TARGET), *models],
        "restart": "unless-stopped",
    }
    text = yaml.safe_dump(
        {"services": {"tensorflow_serving": service}}, sort_keys=False
    )
    return f"# docker compose up: gRPC on port 8500, REST on port 8501.\n{text}"


def _target(name: str) -> str:
    """Return the directory of a model in the container, with special characters quoted.

    TF Serving finds no weights below a path that it takes for a pattern.
    """
    return f"{MODELS_TARGET}/{quote(name)}"


def _mount(source: str, target: str) -> dict[str, Any]:
    # In a Compose file a single `$` begins the name of a variable.
    source, target = source.replace("$", "$$"), target.replace("$", "$$")
    return {"type": "bind", "source": source, "target": target, "read_only": True}


def _read_sources(compose: Path) -> dict[str, str]:
    """Return the models that a Compose file mounts, with their directories."""
    if not compose.is_file():
        return {}
    try:
        content = yaml.safe_load(compose.read_text(encoding="utf-8"))
        volumes = content["services"]["tensorflow_serving"]["volumes"]
        sources = {volume["target"]: volume["source"] for volume in volumes}
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError):
        raise InputError(
            f"{compose} is not as tfdlrm.export wrote it: move it away, or give "
            "another directory"
        ) from None
    prefix = f"{MODELS_TARGET}/"
    return {
        unquote(target.removeprefix(prefix)): source.replace("$$", "$")
        for target, source in sources.items()
        if target.startswith(prefix)
    }
