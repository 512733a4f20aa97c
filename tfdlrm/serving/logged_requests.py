"""A request and its answer as the `PredictionLog` that TF Serving defines."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tensorflow_serving.apis import (
    inference_pb2,
    input_pb2,
    predict_pb2,
    prediction_log_pb2,
)

from tfdlrm.serving.requests import (
    CLASSIFY,
    PREDICT,
    NamedArrays,
    example_response,
    inference_result,
    predict_response,
)
from tfdlrm.serving.servable import Signature
from tfdlrm.serving.tensors import fill_proto


@dataclass(frozen=True)
class Call:
    """A signature that was run for a request.

    Args:
        method: `PREDICT`, `CLASSIFY` or `REGRESS`.
        signature: The signature.
        inputs: The arrays of the request.
        outputs: The arrays of the answer.
        output_filter: Outputs that the request asked for; empty means all.
    """

    method: str
    signature: Signature
    inputs: NamedArrays
    outputs: NamedArrays
    output_filter: Sequence[str] = ()


@dataclass(frozen=True)
class LoggedRequest:
    """A sampled request.

    Args:
        calls: Its signatures; several for a `MultiInference`.
        rate: Share of the requests that are sampled.
        seconds: Time of the answer, in seconds since 1970.
        is_multi: Whether the request was a `MultiInference`.
    """

    calls: Sequence[Call] = field(repr=False)
    rate: float
    seconds: int
    is_multi: bool = False

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.calls[0].signature.servable.name

    @property
    def num_bytes(self) -> int:
        """Estimated memory of its arrays."""
        # A text is an object of its own behind the eight bytes of its place.
        return sum(
            array.nbytes * (8 if array.dtype.hasobject else 1)
            for call in self.calls
            for array in (*call.inputs.values(), *call.outputs.values())
        )

    def to_bytes(self) -> bytes:
        """Return the serialized `PredictionLog`.

        The request names model and signature, and no version, so that another version
        can answer it too; the answer names the version that gave it.
        """
        log = prediction_log_pb2.PredictionLog()
        first = self.calls[0]
        log.log_metadata.model_spec.name = self.model
        log.log_metadata.model_spec.signature_name = first.signature.name
        log.log_metadata.model_spec.version.value = first.signature.servable.version
        log.log_metadata.sampling_config.sampling_rate = self.rate
        log.log_metadata.timestamp_secs = self.seconds
        if self.is_multi:
            _fill_multi(log.multi_inference_log, self.calls)
        elif first.method == PREDICT:
            _fill_predict(log.predict_log, first)
        else:
            is_classify = first.method == CLASSIFY
            part = log.classify_log if is_classify else log.regress_log
            _fill_spec(part.request.model_spec, first)
            _fill_examples(part.request.input, first)
            answer = example_response(first.method, first.signature, first.outputs)
            part.response.CopyFrom(answer)
        return log.SerializeToString()


def _fill_predict(log: prediction_log_pb2.PredictLog, call: Call) -> None:
    request: predict_pb2.PredictRequest = log.request
    _fill_spec(request.model_spec, call)
    for name, array in call.inputs.items():
        fill_proto(request.inputs[name], array, call.signature.inputs[name].dtype)
    request.output_filter.extend(call.output_filter)
    log.response.CopyFrom(predict_response(call.signature, call.outputs))


def _fill_multi(
    log: prediction_log_pb2.MultiInferenceLog, calls: Sequence[Call]
) -> None:
    for call in calls:
        task: inference_pb2.InferenceTask = log.request.tasks.add()
        _fill_spec(task.model_spec, call)
        task.method_name = call.method
        result = inference_result(call.method, call.signature, call.outputs)
        log.response.results.add().CopyFrom(result)
    _fill_examples(log.request.input, calls[0])


def _fill_examples(request_input: input_pb2.Input, call: Call) -> None:
    (examples,) = call.inputs.values()
    for example in examples.tolist():
        request_input.example_list.examples.add().ParseFromString(example)


def _fill_spec(spec: object, call: Call) -> None:
    spec.name = call.signature.servable.name  # type: ignore[attr-defined]
    spec.signature_name = call.signature.name  # type: ignore[attr-defined]
