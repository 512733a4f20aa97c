"""Answers to TF Serving's calls, for gRPC and REST alike."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import grpc
from tensorflow_serving.apis import inference_pb2, model_pb2

from tfdlrm.exporting.raw_columns import COUNTS
from tfdlrm.serving.batching import Batcher
from tfdlrm.serving.errors import ServingError, refuse
from tfdlrm.serving.large_work import in_thread_if_large
from tfdlrm.serving.limits import Limits
from tfdlrm.serving.logged_requests import Call
from tfdlrm.serving.metrics import Metrics
from tfdlrm.serving.models import Models
from tfdlrm.serving.readers import Readers
from tfdlrm.serving.request_log import RequestLog
from tfdlrm.serving.requests import (
    CLASSIFY,
    PREDICT,
    REGRESS,
    NamedArrays,
    check_method,
    check_predicts,
    in_order_of_inputs,
    inference_result,
    output_names,
)
from tfdlrm.serving.servable import Signature
from tfdlrm.serving.shadow import Shadow
from tfdlrm.serving.unknown_report import UnknownReport

T = TypeVar("T")

ReadInputs = Callable[[Signature], Awaitable[NamedArrays]]
"""A function of the protocol that reads a request's inputs for a signature."""

Write = Callable[[Signature, NamedArrays], T]
"""A function of the protocol that writes a signature's outputs as an answer."""


class Predictor:
    """The answers to requests of both protocols.

    Args:
        models: The models that are served.
        batcher: Queues that run signatures.
        limits: Limits on requests.
        metrics: Counters of requests and answers.
        checks_methods: Whether only classifiers classify, and only regressors regress.
        request_log: Log of a sampled share of the requests.
        shadow: Runs a share of the requests on another version too; `None` for none.
    """

    def __init__(
        self,
        models: Models,
        batcher: Batcher,
        limits: Limits,
        metrics: Metrics,
        checks_methods: bool,
        request_log: RequestLog,
        shadow: Shadow | None = None,
    ) -> None:
        self.models = models
        self.limits = limits
        self.metrics = metrics
        self.readers = Readers(limits)
        self._batcher = batcher
        self._checks_methods = checks_methods
        self._log = request_log
        self._shadow = shadow
        self._in_flight = 0

    @contextmanager
    def request(self, model: str, api: str, entrypoint: str) -> Iterator[None]:
        """Count a request, and refuse it when there are too many at a time.

        Args:
            model: Name in the request; unknown names are not counted, so that no
                client can fill the memory with them.
            api: Name of the call, such as `Predict`.
            entrypoint: `GRPC` or `REST`.

        Raises:
            ServingError: RESOURCE_EXHAUSTED.
        """
        start = time.perf_counter()
        status = grpc.StatusCode.OK
        self._in_flight += 1
        try:
            if self._in_flight > self.limits.requests:
                raise ServingError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"more than {self.limits.requests} requests at a time",
                )
            yield
        except ServingError as error:
            status = error.code
            raise
        except TimeoutError:
            status = grpc.StatusCode.DEADLINE_EXCEEDED
            raise
        except (asyncio.CancelledError, ConnectionError):
            status = grpc.StatusCode.CANCELLED
            raise
        except Exception:
            status = grpc.StatusCode.INTERNAL
            raise
        finally:
            self._in_flight -= 1
            if model in self.models:
                seconds = time.perf_counter() - start
                self.metrics.count_answer(model, api, entrypoint, status.name, seconds)

    async def _run(
        self,
        signature: Signature,
        inputs: NamedArrays,
        output_filter: Sequence[str] = (),
        report: UnknownReport | None = None,
    ) -> NamedArrays:
        """Check the arrays, run the signature and return the outputs of a filter."""
        names = output_names(signature, output_filter)
        arrays = in_order_of_inputs(signature, inputs)
        odd = signature.other_shapes(inputs)
        if odd:
            rows = signature.check_sizes(inputs, self.limits.rows)
        else:
            rows = signature.check(inputs, self.limits.rows)
        self.metrics.count_examples(signature.servable.name, rows)
        try:
            outputs = await self._batcher.run(signature, arrays, rows, not odd)
        except ServingError as error:
            if not odd:
                raise
            raise _with_shapes(error, signature, inputs, odd) from None
        named = dict(zip(signature.fetched, outputs, strict=True))
        # NumPy adds a hundred numbers in the time that writing one takes.
        num_counts = sum(named[count].size for count in COUNTS if count in named)
        size = num_counts // 100
        await in_thread_if_large(size, self._count_unknown, signature, named)
        if report is not None and not odd:
            run = partial(self._run_again, signature)
            await report.fill(signature, inputs, named, run)
        answer = {name: named[name] for name in names}
        if self._shadow is not None and not odd:
            self._shadow.follow(signature, inputs, answer)
        return answer

    async def _run_again(
        self, signature: Signature, inputs: NamedArrays, rows: int
    ) -> NamedArrays:
        """Run a signature on rows that no client sent, which are not counted."""
        arrays = in_order_of_inputs(signature, inputs)
        outputs = await self._batcher.run(signature, arrays, rows)
        return dict(zip(signature.fetched, outputs, strict=True))

    def _count_unknown(self, signature: Signature, outputs: NamedArrays) -> None:
        servable, monitor = signature.servable, signature.servable.monitor
        if not monitor.columns or not all(count in outputs for count in COUNTS):
            return
        unknown, values = (outputs[count].sum(axis=0) for count in COUNTS)
        monitor.add(unknown, values)
        self.metrics.count_values(servable.name, monitor.columns, unknown, values)

    async def predict(
        self,
        spec: model_pb2.ModelSpec,
        read: ReadInputs,
        write: Write[T],
        output_filter: Sequence[str] = (),
        report: UnknownReport | None = None,
    ) -> T:
        """Answer a request to predict, of either protocol.

        Args:
            spec: Model, version and signature that the request names.
            read: Function that reads the inputs.
            write: Function that writes the answer.
            output_filter: Names of the outputs to return; empty means all.
            report: Gets the unknown values before the answer is written.

        Raises:
            ServingError: If the request cannot be answered.
        """
        with self.models.use(spec) as servable:
            signature = servable.signature(spec.signature_name)
            check_predicts(signature)
            inputs = await read(signature)
            outputs = await self._run(signature, inputs, output_filter, report)
            if logging := self._log.draw(servable.name):
                call = Call(PREDICT, signature, inputs, outputs, output_filter)
                self._log.add(logging, [call])
            size = _size(outputs)
            return await in_thread_if_large(size, write, signature, outputs)

    async def infer(
        self,
        spec: model_pb2.ModelSpec,
        method: str,
        read: ReadInputs,
        write: Write[T],
        report: UnknownReport | None = None,
    ) -> T:
        """Answer a request to classify or to regress, of either protocol.

        Args:
            spec: Model, version and signature that the request names.
            method: `CLASSIFY` or `REGRESS`.
            read: Function that reads the examples.
            write: Function that writes the answer.
            report: Gets the unknown values before the answer is written.

        Raises:
            ServingError: If the request cannot be answered.
        """
        with self.models.use(spec) as servable:
            signature = servable.signature(spec.signature_name)
            call = await self._infer(signature, method, read, report)
            if logging := self._log.draw(servable.name):
                self._log.add(logging, [call])
            size = _size(call.outputs)
            return await in_thread_if_large(size, write, signature, call.outputs)

    async def multi_inference(
        self,
        request: inference_pb2.MultiInferenceRequest,
        read: ReadInputs,
    ) -> inference_pb2.MultiInferenceResponse:
        """Answer `PredictionService.MultiInference`: several signatures of one model.

        Args:
            request: Models, signatures and methods.
            read: Function that reads the examples; it is called for each signature.

        Raises:
            ServingError: If the request cannot be answered.
        """
        specs = [task.model_spec for task in request.tasks]
        if not specs:
            refuse("Inference request must have at least one task.")
        if any(spec.name != specs[0].name for spec in specs):
            refuse("All ModelSpecs in a MultiInferenceRequest must name one model.")
        if len({spec.signature_name for spec in specs}) < len(specs):
            refuse("Duplicate evaluation of signature in a MultiInferenceRequest.")
        with self.models.use(specs[0]) as servable:
            signatures = [servable.signature(spec.signature_name) for spec in specs]
            for task in request.tasks:
                if task.method_name not in (CLASSIFY, REGRESS):
                    raise ServingError(
                        grpc.StatusCode.UNIMPLEMENTED,
                        f"Unsupported signature method_name: {task.method_name}",
                    )
            # Wait for all of them before the version is released.
            answers = await asyncio.gather(
                *(
                    self._infer(signature, task.method_name, read)
                    for signature, task in zip(signatures, request.tasks, strict=True)
                ),
                return_exceptions=True,
            )
            calls, results = [], []
            for call in answers:
                if isinstance(call, BaseException):
                    raise call
                calls.append(call)
                write = partial(inference_result, call.method)
                result = await in_thread_if_large(
                    _size(call.outputs), write, call.signature, call.outputs
                )
                results.append(result)
            if logging := self._log.draw(servable.name):
                self._log.add(logging, calls, is_multi=True)
            return inference_pb2.MultiInferenceResponse(results=results)

    async def _infer(
        self,
        signature: Signature,
        method: str,
        read: ReadInputs,
        report: UnknownReport | None = None,
    ) -> Call:
        check_method(signature, method, self._checks_methods)
        inputs = await read(signature)
        outputs = await self._run(signature, inputs, report=report)
        return Call(method, signature, inputs, outputs)


def _with_shapes(
    error: ServingError, signature: Signature, inputs: NamedArrays, odd: Sequence[str]
) -> ServingError:
    """Return the error of a run whose inputs have shapes that are not declared."""
    if error.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED):
        return error  # of the server
    shapes = ", ".join(
        f"input {name} has the shape {list(inputs[name].shape)}, expected "
        f"{list(signature.inputs[name].shape or ())}"
        for name in odd
    )
    text = f"{shapes}; the model refuses it: {error.message}"
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, text)


def _size(arrays: NamedArrays) -> int:
    return sum(array.size for array in arrays.values())
