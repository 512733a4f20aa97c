"""From requests to arrays, and from arrays to responses, whatever the transport."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    input_pb2,
    predict_pb2,
    regression_pb2,
)

from tfdlrm.serving.errors import refuse
from tfdlrm.serving.proto_requests import input_examples, tensor_inputs
from tfdlrm.serving.servable import Arrays, Signature
from tfdlrm.serving.tensors import fill_proto

PREDICT = tf.saved_model.PREDICT_METHOD_NAME
CLASSIFY = tf.saved_model.CLASSIFY_METHOD_NAME
REGRESS = tf.saved_model.REGRESS_METHOD_NAME

NamedArrays = dict[str, np.ndarray]


def check_predicts(signature: Signature) -> None:
    """Refuse to predict with what is no model's function."""
    if signature.method not in (PREDICT, CLASSIFY, REGRESS):
        refuse(
            "Expected prediction signature method_name to be one of "
            f"{{{PREDICT}, {CLASSIFY}, {REGRESS}}}. Was: {signature.method}"
        )


def predict_inputs(
    signature: Signature, request: predict_pb2.PredictRequest, max_rows: int
) -> NamedArrays:
    """Return the arrays of a `PredictRequest`.

    Raises:
        ServingError: If they are not what the signature takes.
    """
    check_predicts(signature)
    return tensor_inputs(request.inputs, signature.inputs, max_rows)


def output_names(signature: Signature, wanted: Sequence[str]) -> list[str]:
    """Return the outputs that a request asks for; all of them if it names none."""
    for name in wanted:
        if name not in signature.outputs:
            refuse(
                f"output tensor alias not found in signature: {name} Outputs expected "
                f"to be in the set {{{','.join(signature.outputs)}}}."
            )
    if len(set(wanted)) < len(wanted):
        refuse(f"duplicate output tensor alias: {', '.join(wanted)}")
    return list(wanted) or list(signature.outputs)


def predict_response(
    signature: Signature, outputs: NamedArrays
) -> predict_pb2.PredictResponse:
    """Return the `PredictResponse` of these outputs."""
    response = predict_pb2.PredictResponse()
    fill_spec(response.model_spec, signature)
    for name, array in outputs.items():
        fill_proto(response.outputs[name], array, signature.outputs[name].dtype)
    return response


def example_inputs(
    signature: Signature, request_input: input_pb2.Input, max_rows: int
) -> NamedArrays:
    """Return the one input of a classifier or a regressor: serialized examples.

    Raises:
        ServingError: If there are none, or the signature has other inputs.
    """
    return as_only_input(signature, input_examples(request_input, max_rows))


def as_only_input(signature: Signature, examples: list[bytes]) -> NamedArrays:
    """Serialized examples as the only input of a signature.

    Raises:
        ServingError: If the signature has other inputs.
    """
    (spec,) = signature.inputs.values() if len(signature.inputs) == 1 else (None,)
    if spec is None or not spec.dtype.is_text:
        refuse(f"signature {signature.name} does not take serialized tf.Examples")
    array = np.empty(len(examples), object)
    array[:] = examples
    return dict.fromkeys(signature.inputs, array)


def check_method(signature: Signature, expected: str) -> None:
    """Refuse to classify with a regressor, and so on."""
    if signature.method != expected:
        kind = "classification" if expected == CLASSIFY else "regression"
        refuse(
            f"Expected {kind} signature method_name to be {expected}. "
            f"Was: {signature.method}"
        )


def classification(
    signature: Signature, outputs: NamedArrays
) -> classification_pb2.ClassificationResult:
    """Return the classes of every example with their scores.

    Raises:
        ServingError: If the signature's outputs are not a classifier's.
    """
    classes, scores = outputs.get("classes"), outputs.get("scores")
    given = [array for array in (classes, scores) if array is not None]
    if not given or any(each.shape != given[0].shape for each in given):
        refuse(f"signature {signature.name} lacks classes and scores of one shape")
    if given[0].ndim != 2:
        refuse(f"classes of {signature.name} have {given[0].ndim} dimensions, not 2")
    result = classification_pb2.ClassificationResult()
    for row in range(len(given[0])):
        added = result.classifications.add()
        for column in range(given[0].shape[1]):
            each = added.classes.add()
            if classes is not None:
                each.label = _text(classes[row, column])
            if scores is not None:
                each.score = float(scores[row, column])
    return result


def regression(
    signature: Signature, outputs: NamedArrays
) -> regression_pb2.RegressionResult:
    """Return one value for every example.

    Raises:
        ServingError: If the signature's output is not a regressor's.
    """
    values = outputs.get("outputs")
    if (
        values is None
        or values.ndim not in (1, 2)
        or values.shape[1:] not in ((), (1,))
    ):
        refuse(f"signature {signature.name} lacks outputs of the shape (batch, 1)")
    result = regression_pb2.RegressionResult()
    for value in values.ravel().tolist():
        result.regressions.add().value = value
    return result


def inference_result(
    signature: Signature, outputs: NamedArrays
) -> inference_pb2.InferenceResult:
    """Return the part of a `MultiInferenceResponse` that is one signature's."""
    result = inference_pb2.InferenceResult()
    fill_spec(result.model_spec, signature)
    if signature.method == CLASSIFY:
        result.classification_result.CopyFrom(classification(signature, outputs))
    else:
        result.regression_result.CopyFrom(regression(signature, outputs))
    return result


def fill_spec(spec: Any, signature: Signature) -> None:
    """Say which version answers."""
    spec.name = signature.servable.name
    spec.signature_name = signature.name
    spec.version.value = signature.servable.version


def ordered(signature: Signature, inputs: NamedArrays) -> Arrays:
    """Return the arrays in the order that the signature's callable takes."""
    return [inputs[name] for name in signature.inputs]


def _text(value: Any) -> str:
    text = value if isinstance(value, bytes) else str(value).encode()
    return text.decode("utf-8", "replace")
