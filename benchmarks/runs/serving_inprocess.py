"""Run the same model in this process, without a server."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tfdlrm.base.command_line import parse, run_command

Run = Callable[[np.ndarray, np.ndarray], Any]

WARM_UP_CALLS = 20


@dataclass(frozen=True)
class InProcessCommand:
    """Call a model in this process, one call after another, and print the times.

    Args:
        system: `session` is the server's own way to run a SavedModel.
        model: SavedModel's version directory, or the file of another format.
        rows: File with the arrays dense_features and categorical_features.
        batch_size: Rows a call.
        seconds: Measure for this long.
    """

    system: Literal["session", "onnxruntime", "litert"]
    model: Path
    rows: Path
    batch_size: int = 1
    seconds: float = 5.0


def load(system: str, model: Path, batch_size: int) -> Run:
    """Return a function from dense features and ids to probabilities."""
    if system == "session":
        from tfdlrm.serving.servable import Servable

        signature = Servable("model", 1, model).signature("")
        assert list(signature.inputs) == ["categorical_features", "dense_features"]
        return lambda dense, ids: signature.run(ids, dense)
    if system == "onnxruntime":
        import onnxruntime

        session = onnxruntime.InferenceSession(model)
        return lambda dense, ids: session.run(
            ["probability"], {"dense_features": dense, "categorical_features": ids}
        )
    return _load_litert(model, batch_size)


def _load_litert(model: Path, batch_size: int) -> Run:
    import tensorflow as tf

    # Several threads wait for each other by spinning: where the cores have other work,
    # a run takes a thousand times as long.
    interpreter = tf.lite.Interpreter(str(model), num_threads=1)
    inputs = {
        detail["name"].split(":")[0].removeprefix("serving_default_"): detail["index"]
        for detail in interpreter.get_input_details()
    }
    for detail in interpreter.get_input_details():
        shape = [batch_size, *detail["shape"][1:]]
        interpreter.resize_tensor_input(detail["index"], shape)
    interpreter.allocate_tensors()
    (output,) = interpreter.get_output_details()

    def run(dense: np.ndarray, ids: np.ndarray) -> Any:
        interpreter.set_tensor(inputs["dense_features"], dense)
        interpreter.set_tensor(inputs["categorical_features"], ids)
        interpreter.invoke()
        return [interpreter.get_tensor(output["index"])]

    return run


def main() -> None:
    command = parse(InProcessCommand, "benchmarks.runs.serving_inprocess")
    run = load(command.system, command.model, command.batch_size)
    with np.load(command.rows) as file:
        dense, ids = file["dense_features"], file["categorical_features"]
        expected = file["expected"]
    size = command.batch_size
    parts = [slice(i, i + size) for i in range(0, len(dense) - size + 1, size)]
    calls = [(dense[part], ids[part]) for part in parts]
    for part, call in zip(parts, calls, strict=True):
        np.testing.assert_allclose(run(*call)[0].ravel(), expected[part], atol=1e-5)
    for i in range(WARM_UP_CALLS):
        run(*calls[i % len(calls)])
    times: list[float] = []
    end = time.perf_counter() + command.seconds
    while (start := time.perf_counter()) < end:
        run(*calls[len(times) % len(calls)])
        times.append(time.perf_counter() - start)
    p50, p99, p999 = (np.percentile(times, [50, 99, 99.9]) * 1000).tolist()
    result = {
        "answers": len(times),
        "wrong": 0,
        "per_second": len(times) / sum(times),
        "p50_ms": p50,
        "p99_ms": p99,
        "p999_ms": p999,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    run_command(main)
