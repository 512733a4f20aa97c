"""Warm-up: the requests stored with a model, answered before the first client's."""

import sys

from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from tfdlrm.base.errors import InputError
from tfdlrm.data.records import read_records
from tfdlrm.exporting.versions import EXTRA_DIRECTORY, WARM_UP_FILE
from tfdlrm.serving.errors import ServingError, from_tensorflow, refuse
from tfdlrm.serving.requests import (
    check_predicts,
    example_inputs,
    in_order_of_inputs,
    predict_inputs,
)
from tfdlrm.serving.servable import Servable

MOST_RECORDS = 1000
"""Most requests in a file; TF Serving has the same limit."""


def warm_up(servable: Servable, runs: int = 1) -> None:
    """Answer the requests stored with a version, so that the first client never waits.

    Args:
        servable: The version.
        runs: Number of times that each request is answered.

    Raises:
        ServingError: If the file is damaged, or a request gets no answer.
    """
    file = servable.path / EXTRA_DIRECTORY / WARM_UP_FILE
    if not runs or not file.is_file():
        return
    num_answered = 0
    try:
        for number, payload in read_records(file):
            if number >= MOST_RECORDS:
                refuse(f"more than {MOST_RECORDS} records")
            log = prediction_log_pb2.PredictionLog.FromString(payload)
            for _ in range(runs):
                _replay(servable, log)
            num_answered += 1
    except (InputError, DecodeError) as error:
        refuse(f"{file}: {error}")
    except ServingError as error:
        message = f"{file}, record {num_answered}: {error.message}"
        raise ServingError(error.code, message) from None


def _replay(servable: Servable, log: prediction_log_pb2.PredictionLog) -> None:
    log_type = log.WhichOneof("log_type")
    if log_type not in ("predict_log", "classify_log", "regress_log"):
        return
    request = getattr(log, log_type).request
    signature = servable.signature(request.model_spec.signature_name)
    if log_type == "predict_log":
        check_predicts(signature)
        inputs = predict_inputs(signature, request, sys.maxsize)
    else:
        inputs = example_inputs(signature, request.input, sys.maxsize)
    signature.check(inputs, max_rows=sys.maxsize)
    try:
        signature.run(*in_order_of_inputs(signature, inputs))
    except Exception as error:
        raise from_tensorflow(error) from error
