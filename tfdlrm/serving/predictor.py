"""TF Serving's calls, without a transport: one method for each."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from tfdlrm.exporting.raw_columns import COUNTS
from tfdlrm.serving.batching import Batcher
from tfdlrm.serving.errors import ServingError, refuse
from tfdlrm.serving.limits import Limits
from tfdlrm.serving.metrics import Metrics
from tfdlrm.serving.models import Model, Models, VersionStatus
from tfdlrm.serving.readers import Readers
from tfdlrm.serving.requests import (
    CLASSIFY,
    REGRESS,
    NamedArrays,
    check_method,
    check_predicts,
    classification,
    example_inputs,
    fill_spec,
    inference_result,
    ordered,
    output_names,
    predict_inputs,
    predict_response,
    regression,
)
from tfdlrm.serving.servable import Signature

T = TypeVar("T")

ReadInputs = Callable[[Signature], Awaitable[NamedArrays]]
"""Reads the inputs of a request that does not hold them itself."""


INLINE_VALUES = 4096
"""Answers of more values are written in a thread."""


async def beside(size: int, function: Callable[..., T], *arguments: Any) -> T:
    """Call a function, in a thread where it takes long.

    Args:
        size: Number of values that it goes through.
        function: What to call.
        *arguments: What to call it with.
    """
    if size <= INLINE_VALUES:
        return function(*arguments)
    return await asyncio.to_thread(function, *arguments)


class Predictor:
    """Answers requests.

    Args:
        models: What there is.
        batcher: Runs the signatures.
        limits: What a request may ask for.
        metrics: Counts requests and answers.
    """

    def __init__(
        self, models: Models, batcher: Batcher, limits: Limits, metrics: Metrics
    ) -> None:
        self.models = models
        self.limits = limits
        self.metrics = metrics
        self.readers = Readers(limits)
        self._batcher = batcher
        self._in_flight = 0

    @contextmanager
    def request(self, model: str, api: str, entrypoint: str) -> Iterator[None]:
        """Count a request, and refuse it when there are too many at a time.

        Args:
            model: Name that the request gives; unknown ones are not counted, so that
                nobody can fill the memory with them.
            api: Such as `Predict`.
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
                self.metrics.answered(model, api, entrypoint, status.name, seconds)

    async def run(
        self, signature: Signature, inputs: NamedArrays, wanted: Sequence[str] = ()
    ) -> NamedArrays:
        """Check the arrays, run them and give the outputs that are wanted."""
        names = output_names(signature, wanted)
        rows = signature.check(inputs, self.limits.rows)
        self.metrics.examples(signature.servable.name, rows)
        arrays = ordered(signature, inputs)
        outputs = await self._batcher.run(signature, arrays, rows)
        named = dict(zip(signature.fetched, outputs, strict=True))
        # NumPy adds up a hundred numbers while an answer takes one.
        num_counts = sum(named[count].size for count in COUNTS if count in named)
        await beside(num_counts // 100, self._count_unknown, signature, named)
        return {name: named[name] for name in names}

    def _count_unknown(self, signature: Signature, outputs: NamedArrays) -> None:
        servable, monitor = signature.servable, signature.servable.monitor
        if not monitor.columns or not all(count in outputs for count in COUNTS):
            return
        unknown, values = (outputs[count].sum(axis=0) for count in COUNTS)
        monitor.add(unknown, values)
        self.metrics.looked_up(servable.name, monitor.columns, unknown, values)

    async def predict(
        self, request: predict_pb2.PredictRequest, read: ReadInputs | None = None
    ) -> predict_pb2.PredictResponse:
        """`PredictionService.Predict`."""
        with self.models.use(request.model_spec) as servable:
            signature = servable.signature(request.model_spec.signature_name)
            if read is None:
                inputs = predict_inputs(signature, request, self.limits.rows)
            else:
                check_predicts(signature)
                inputs = await read(signature)
            outputs = await self.run(signature, inputs, request.output_filter)
            size = _size(outputs)
            return await beside(size, predict_response, signature, outputs)

    async def classify(
        self,
        request: classification_pb2.ClassificationRequest,
        read: ReadInputs | None = None,
    ) -> classification_pb2.ClassificationResponse:
        """`PredictionService.Classify`."""
        with self.models.use(request.model_spec) as servable:
            signature = servable.signature(request.model_spec.signature_name)
            outputs = await self._examples(signature, request, CLASSIFY, read)
            response = classification_pb2.ClassificationResponse()
            fill_spec(response.model_spec, signature)
            result = await beside(_size(outputs), classification, signature, outputs)
            response.result.CopyFrom(result)
            return response

    async def regress(
        self, request: regression_pb2.RegressionRequest, read: ReadInputs | None = None
    ) -> regression_pb2.RegressionResponse:
        """`PredictionService.Regress`."""
        with self.models.use(request.model_spec) as servable:
            signature = servable.signature(request.model_spec.signature_name)
            outputs = await self._examples(signature, request, REGRESS, read)
            response = regression_pb2.RegressionResponse()
            fill_spec(response.model_spec, signature)
            result = await beside(_size(outputs), regression, signature, outputs)
            response.result.CopyFrom(result)
            return response

    async def multi_inference(
        self,
        request: inference_pb2.MultiInferenceRequest,
        read: ReadInputs | None = None,
    ) -> inference_pb2.MultiInferenceResponse:
        """`PredictionService.MultiInference`: several signatures of one model."""
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
            # All of them to their end, before the version is let go.
            outputs = await asyncio.gather(
                *(
                    self._examples(signature, request, task.method_name, read)
                    for signature, task in zip(signatures, request.tasks, strict=True)
                ),
                return_exceptions=True,
            )
            results = []
            for signature, output in zip(signatures, outputs, strict=True):
                if isinstance(output, BaseException):
                    raise output
                size = _size(output)
                results.append(await beside(size, inference_result, signature, output))
            return inference_pb2.MultiInferenceResponse(results=results)

    async def _examples(
        self,
        signature: Signature,
        request: Any,
        method: str,
        read: ReadInputs | None,
    ) -> NamedArrays:
        check_method(signature, method)
        if read is None:
            inputs = example_inputs(signature, request.input, self.limits.rows)
        else:
            inputs = await read(signature)
        return await self.run(signature, inputs)

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """`PredictionService.GetModelMetadata`."""
        if not request.metadata_field:
            refuse("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != "signature_def":
                refuse(f"Metadata field {field} is not supported")
        with self.models.use(request.model_spec) as servable:
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.model_spec.name = servable.name
            response.model_spec.version.value = servable.version
            definitions = get_model_metadata_pb2.SignatureDefMap(
                signature_def=servable.meta_graph.signature_def
            )
            response.metadata["signature_def"].Pack(definitions)
            return response

    def status(
        self, spec: model_pb2.ModelSpec
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """`ModelService.GetModelStatus`."""
        model = self.models.model(spec.name)
        statuses = dict(model.statuses)
        if spec.version.value or spec.version_label:  # none is 0 or not given
            version = _version(model, spec)
            if version not in statuses:
                raise ServingError(
                    grpc.StatusCode.NOT_FOUND,
                    f"Could not find version {version} of model {spec.name}",
                )
            statuses = {version: statuses[version]}
        response = get_model_status_pb2.GetModelStatusResponse()
        for version, status in sorted(statuses.items(), reverse=True):
            _add_status(response, version, status)
        return response


def _size(arrays: NamedArrays) -> int:
    return sum(array.size for array in arrays.values())


def _version(model: Model, spec: model_pb2.ModelSpec) -> int:
    if not spec.version_label:
        return spec.version.value
    return model.labelled(spec.version_label)


def _add_status(
    response: get_model_status_pb2.GetModelStatusResponse,
    version: int,
    status: VersionStatus,
) -> None:
    added = response.model_version_status.add(version=version, state=status.state)
    if status.error is not None:
        added.status.error_code = status.error.code.value[0]
        added.status.error_message = status.error.message
    else:
        added.status.SetInParent()  # that of no error, which clients look at
