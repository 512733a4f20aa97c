"""Convert gRPC's requests to arrays, and arrays to its responses."""

from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    input_pb2,
    predict_pb2,
    regression_pb2,
)

from tfdlrm.serving.data_types import text_array
from tfdlrm.serving.errors import ServingError, refuse
from tfdlrm.serving.proto_requests import input_examples, tensor_inputs
from tfdlrm.serving.servable import Arrays, Signature
from tfdlrm.serving.tensors import fill_proto

PREDICT = tf.saved_model.PREDICT_METHOD_NAME
CLASSIFY = tf.saved_model.CLASSIFY_METHOD_NAME
REGRESS = tf.saved_model.REGRESS_METHOD_NAME

NamedArrays = dict[str, np.ndarray]


def check_predicts(signature: Signature) -> None:
    """Check that a signature can predict; classifiers and regressors can too.

    Raises:
        ServingError: INTERNAL, as in TF Serving, if it has another method.
    """
    if signature.method not in (PREDICT, CLASSIFY, REGRESS):
        raise ServingError(
            grpc.StatusCode.INTERNAL,
            "Expected prediction signature method_name to be one of "
            f"{{{PREDICT}, {CLASSIFY}, {REGRESS}}}. Was: {signature.method}",
        )


def predict_inputs(
    signature: Signature, request: predict_pb2.PredictRequest, max_rows: int
) -> NamedArrays:
    """Return the arrays of a `PredictRequest`.

    Raises:
        ServingError: If they are not what the signature takes.
    """
    return tensor_inputs(request.inputs, signature.inputs, max_rows)


def output_names(signature: Signature, output_filter: Sequence[str]) -> list[str]:
    """Return the names of the outputs to return; all if a request names none."""
    for name in output_filter:
        if name not in signature.outputs:
            refuse(
                f"output tensor alias not found in signature: {name} Outputs expected "
                f"to be in the set {{{','.join(signature.outputs)}}}."
            )
    if len(set(output_filter)) < len(output_filter):
        refuse(f"duplicate output tensor alias: {', '.join(output_filter)}")
    return list(output_filter) or list(signature.outputs)


def predict_response(
    signature: Signature, outputs: NamedArrays
) -> predict_pb2.PredictResponse:
    """Return the `PredictResponse` of these outputs."""
    response = predict_pb2.PredictResponse()
    _fill_spec(response.model_spec, signature)
    for name, array in outputs.items():
        fill_proto(response.outputs[name], array, signature.outputs[name].dtype)
    return response


def example_inputs(
    signature: Signature, request_input: input_pb2.Input, max_rows: int
) -> NamedArrays:
    """Return serialized examples as the input of a classifier or a regressor.

    Raises:
        ServingError: If there are none, or the signature has other inputs.
    """
    return as_only_input(signature, input_examples(request_input, max_rows))


def as_only_input(signature: Signature, examples: list[bytes]) -> NamedArrays:
    """Return serialized examples as the only input of a signature.

    Raises:
        ServingError: If the signature has other inputs.
    """
    if not _takes_examples(signature):
        others = filter(_takes_examples, signature.servable.signatures.values())
        names = ", ".join(sorted(other.name for other in others))
        hint = f'; name another one as "signature_name": {names}' if names else ""
        refuse(f"signature {signature.name} does not take serialized tf.Examples{hint}")
    return dict.fromkeys(signature.inputs, text_array(examples))


def _takes_examples(signature: Signature) -> bool:
    specs = [*signature.inputs.values()]
    return len(specs) == 1 and specs[0].dtype.is_text and specs[0].column is None


def check_method(signature: Signature, expected: str, is_strict: bool) -> None:
    """Check the method of a signature, such as that it does not regress.

    Args:
        signature: The signature.
        expected: `CLASSIFY` or `REGRESS`.
        is_strict: Whether a signature to predict is refused too. TensorFlow 2 saves
            classifiers and regressors as such.

    Raises:
        ServingError: If the signature has another method.
    """
    if signature.method == expected or (signature.method == PREDICT and not is_strict):
        return
    task = "classification" if expected == CLASSIFY else "regression"
    refuse(
        f"Expected {task} signature method_name to be {expected}. "
        f"Was: {signature.method}"
    )


def example_response(method: str, signature: Signature, outputs: NamedArrays) -> Any:
    """Return a `ClassificationResponse`, or a `RegressionResponse`.

    Args:
        method: `CLASSIFY` or `REGRESS`.
        signature: The signature that was run.
        outputs: Its outputs.

    Raises:
        ServingError: If the outputs are not those of a classifier or a regressor.
    """
    response = (
        classification_pb2.ClassificationResponse()
        if method == CLASSIFY
        else regression_pb2.RegressionResponse()
    )
    _fill_spec(response.model_spec, signature)
    _fill_result(response.result, method, signature, outputs)
    return response


def inference_result(
    method: str, signature: Signature, outputs: NamedArrays
) -> inference_pb2.InferenceResult:
    """Return the part of a `MultiInferenceResponse` that belongs to a signature.

    Raises:
        ServingError: If the outputs are not those of a classifier or a regressor.
    """
    inference = inference_pb2.InferenceResult()
    _fill_spec(inference.model_spec, signature)
    result = (
        inference.classification_result
        if method == CLASSIFY
        else inference.regression_result
    )
    _fill_result(result, method, signature, outputs)
    return inference


def _fill_result(
    result: Any, method: str, signature: Signature, outputs: NamedArrays
) -> None:
    result.SetInParent()  # present even without rows
    if method == CLASSIFY:
        _fill_classes(result, signature, outputs)
    else:
        _fill_values(result, signature, outputs)


def _fill_classes(
    result: classification_pb2.ClassificationResult,
    signature: Signature,
    outputs: NamedArrays,
) -> None:
    """Write the classes of every example with their scores."""
    classes, scores = outputs.get("classes"), outputs.get("scores")
    arrays = [array for array in (classes, scores) if array is not None]
    if not arrays or any(array.shape != arrays[0].shape for array in arrays):
        refuse(f"signature {signature.name} lacks classes and scores of one shape")
    if arrays[0].ndim != 2:
        refuse(f"classes of {signature.name} have {arrays[0].ndim} dimensions, not 2")
    num_rows, num_classes = arrays[0].shape
    for row in range(num_rows):
        example = result.classifications.add()
        for column in range(num_classes):
            entry = example.classes.add()
            if classes is not None:
                entry.label = _text(classes[row, column])
            if scores is not None:
                entry.score = float(scores[row, column])


def _fill_values(
    result: regression_pb2.RegressionResult, signature: Signature, outputs: NamedArrays
) -> None:
    """Write one value for every example."""
    values = outputs.get("outputs")
    if (
        values is None
        or values.ndim not in (1, 2)
        or values.shape[1:] not in ((), (1,))
    ):
        refuse(f"signature {signature.name} lacks outputs of the shape (batch, 1)")
    for value in values.ravel().tolist():
        result.regressions.add().value = value


def _fill_spec(spec: Any, signature: Signature) -> None:
    """Write the model, the signature and the version that answer."""
    spec.name = signature.servable.name
    spec.signature_name = signature.name
    spec.version.value = signature.servable.version


def in_order_of_inputs(signature: Signature, inputs: NamedArrays) -> Arrays:
    """Return the arrays in the order that the signature's callable takes."""
    return [inputs[name] for name in signature.inputs]


def _text(value: Any) -> str:
    text = value if isinstance(value, bytes) else str(value).encode()
    return text.decode("utf-8", "replace")
