"""A version whose file `model.tflite` an interpreter of LiteRT runs."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfdlrm.base.device_names import cpu
from tfdlrm.exporting.litert import FILE_NAME, interpreter_class
from tfdlrm.serving.litert_signatures import read_signatures
from tfdlrm.serving.meta_graphs import is_servable, tensor_specs
from tfdlrm.serving.servable import Arrays, Servable, Signature


def has_litert(version: Path) -> bool:
    """Return whether a version has a model for LiteRT."""
    return (version / FILE_NAME).is_file()


@dataclass(eq=False)
class _Interpreter:
    """An interpreter, which runs one request at a time.

    Args:
        interpreter: LiteRT's interpreter.
        shapes: Shapes of the inputs, by their indices, for which it has memory.
    """

    interpreter: Any
    shapes: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def run(
        self, inputs: Mapping[int, np.ndarray], outputs: list[int]
    ) -> list[np.ndarray]:
        """Return the outputs of a model of one signature."""
        is_ready = bool(self.shapes)
        for index, array in inputs.items():
            if self.shapes.get(index) != array.shape:
                is_ready = False
                self.interpreter.resize_tensor_input(index, array.shape)
                self.shapes[index] = array.shape
        if not is_ready:
            self.interpreter.allocate_tensors()
        for index, array in inputs.items():
            self.interpreter.set_tensor(index, array)
        self.interpreter.invoke()
        return [self.interpreter.get_tensor(index) for index in outputs]


class _Interpreters:
    """As many interpreters of a model as run at the same time."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._new = interpreter_class()
        self._idle: list[_Interpreter] = []
        self._lock = threading.Lock()

    def new(self) -> Any:
        """Return a further interpreter."""
        # Several threads wait for each other by spinning: where the cores have other
        # work, a run takes a thousand times as long.
        return self._new(model_content=self._content, num_threads=1)

    def run(self, function: Callable[[_Interpreter], Arrays]) -> Arrays:
        """Call a function with an interpreter that nobody else uses.

        Raises:
            tf.errors.InvalidArgumentError: If the model refuses its inputs.
        """
        with self._lock:
            interpreter = self._idle.pop() if self._idle else None
        if interpreter is None:
            interpreter = _Interpreter(self.new())
        try:
            outputs = function(interpreter)
        except (RuntimeError, ValueError) as error:
            # The interpreter is not used again: its memory fits no inputs.
            reason = " ".join(str(error).split())
            raise tf.errors.InvalidArgumentError(None, None, reason) from None
        with self._lock:
            self._idle.append(interpreter)
        return outputs


class LiteServable(Servable):
    """A loaded version, as `Servable`, that LiteRT runs on the CPU."""

    def _open(self) -> None:
        content = (self.path / FILE_NAME).read_bytes()
        interpreters = _Interpreters(content)
        interpreter = interpreters.new()
        definitions = read_signatures(interpreter, content)
        for name, definition in definitions.items():
            self.meta_graph.signature_def[name].CopyFrom(definition)
        indices = {
            details["name"]: details["index"]
            for details in (
                *interpreter.get_input_details(),
                *interpreter.get_output_details(),
            )
        }
        # Each of several signatures has inputs and outputs of its own.
        has_runners = len(interpreter.get_signature_list()) > 1
        for name, definition in definitions.items():
            if not is_servable(definition):
                continue
            signature = Signature(
                name,
                definition.method_name,
                tensor_specs(definition.inputs),
                tensor_specs(definition.outputs),
                self,
                None,
            )
            signature.run = (
                _run_by_name(interpreters, signature)
                if has_runners
                else _run_by_index(interpreters, signature, indices)
            )
            self.signatures[name] = signature

    def _close(self) -> None:
        self.signatures = {}

    @property
    def device(self) -> str:
        """The device that it computes on, in words."""
        return f"{cpu()}, by LiteRT"


def _run_by_index(
    interpreters: _Interpreters, signature: Signature, indices: Mapping[str, int]
) -> Callable[..., Arrays]:
    inputs = [indices[spec.tensor] for spec in signature.inputs.values()]
    outputs = [indices[spec.tensor] for spec in signature.outputs.values()]

    def run(*arrays: np.ndarray) -> Arrays:
        values = dict(zip(inputs, arrays, strict=True))
        return interpreters.run(lambda one: one.run(values, outputs))

    return run


def _run_by_name(
    interpreters: _Interpreters, signature: Signature
) -> Callable[..., Arrays]:
    def run(*arrays: np.ndarray) -> Arrays:
        values = dict(zip(signature.inputs, arrays, strict=True))

        def call(one: _Interpreter) -> Arrays:
            runner = one.interpreter.get_signature_runner(signature.name)
            outputs = runner(**values)
            return [outputs[name] for name in signature.outputs]

        return interpreters.run(call)

    return run
