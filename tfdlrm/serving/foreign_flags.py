"""Flags of `tensorflow_model_server` that have no meaning for this server.

Loads no TensorFlow, since the command line is read before it.
"""

from collections.abc import Sequence

_TPU = "there is no TPU"
_LITERT = "there are as many LiteRT interpreters as requests run at a time"
_XLA = "TensorFlow compiles what a model asks it to compile"

WITHOUT_VALUE = {
    "enable_per_model_batching_parameters": "all models share one batching file",
    "enable_serialization_as_tensor_content": "answers have a field for each type",
    "remove_unused_fields_from_bundle_metagraph": "clients get all of the signatures",
    "skip_initialize_tpu": _TPU,
    "use_alts_credentials": "gRPC has no ALTS here; use --ssl_config_file",
    "use_saved_model": "all models are SavedModels",
    "xla_cpu_compilation_enabled": _XLA,
    "xla_gpu_compilation_enabled": _XLA,
}
"""Switches, each with the reason."""

WITH_VALUE = {
    "mixed_precision": "a model computes in the types that it was exported with",
    "num_tflite_interpreters_per_pool": _LITERT,
    "num_tflite_pools": _LITERT,
    "platform_config_file": "there is one platform, TensorFlow",
    "thread_pool_factory_config_file": "TensorFlow has its own threads",
}
"""Other flags, each with the reason."""

_OF_ONE_MODEL = dict.fromkeys(
    ("model_base_path", "model_name"), "--model_config_file names the models"
)
"""Flags that TF Serving's container always has, and its server then ignores."""

_MAY_BE_EMPTY = (
    "batching_parameters_file",
    "grpc_socket_path",
    "model_config_file",
    "monitoring_config_file",
    "tensorflow_session_config_file",
)
"""Flags that scripts give without a value where they want none.

Without --ssl_config_file there would be no TLS, so it is not among them.
"""


def take_foreign(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take the flags that have no meaning here out of a command line.

    Args:
        words: The arguments, with `--flag=value` and `--flag value`.

    Returns:
        The other arguments, and a line for the log about each flag.

    Example:

    >>> take_foreign(["models/m", "--mixed_precision", "bfloat16", "--port=1"])[0]
    ['models/m', '--port=1']
    """
    reasons = {**WITHOUT_VALUE, **WITH_VALUE}
    empty = [f"--{name}=" for name in _MAY_BE_EMPTY]
    if any(
        word.partition("=")[0] == "--model_config_file" and word not in empty
        for word in words
    ):
        reasons.update(_OF_ONE_MODEL)
    kept: list[str] = []
    lines: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in empty:
            lines[word] = f"{word} has no effect here: it is empty"
            continue
        name, equals, _ = word.removeprefix("--").partition("=")
        if not word.startswith("--") or name not in reasons:
            kept.append(word)
            continue
        if not equals and rest and _is_value(name, rest[0]):
            rest.pop(0)
        lines[name] = f"--{name} has no effect here: {reasons[name]}"
    return kept, list(lines.values())


def _is_value(name: str, word: str) -> bool:
    if name in WITHOUT_VALUE:
        return word in ("true", "false")
    return not word.startswith("--")
