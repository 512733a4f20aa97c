"""Arrays and examples of the messages of requests.

Loads no TensorFlow: large requests are read in a process that has none.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfdlrm.serving.errors import refuse
from tfdlrm.serving.tensor_specs import Specs
from tfdlrm.serving.tensors import from_proto, proto_shape

MOST_NAMES = 20
"""Most names of a client that a message lists."""


def tensor_inputs(
    protos: Mapping[str, Any], specs: Specs, max_rows: int
) -> dict[str, np.ndarray]:
    """Return the arrays of a request.

    Args:
        protos: A `TensorProto` for each input.
        specs: The inputs of its signature.
        max_rows: More rows are refused, before anything is converted.

    Raises:
        ServingError: If they are not what the signature takes.
    """
    _check_names(protos, specs)
    for name, spec in specs.items():
        if protos[name].dtype == spec.dtype.number:  # otherwise `from_proto` refuses
            spec.check(name, proto_shape(name, protos[name]), max_rows)
    return {
        name: from_proto(name, protos[name], spec.dtype) for name, spec in specs.items()
    }


def _check_names(protos: Mapping[str, Any], specs: Specs) -> None:
    if len(protos) == len(specs) and all(name in protos for name in specs):
        return
    extra = sorted(set(protos) - set(specs))
    missing = sorted(set(specs) - set(protos))
    listed = ",".join(extra[:MOST_NAMES]) + (",…" if len(extra) > MOST_NAMES else "")
    refuse(
        f"input size does not match signature: {len(protos)}!={len(specs)}. "
        f"Sent extra: {{{listed}}}. "
        f"Missing but required: {{{','.join(missing)}}}."
    )


def input_examples(request_input: Any, max_rows: int) -> list[bytes]:
    """Return the serialized examples of an `Input`.

    Args:
        request_input: Field `input` of a request to classify or to regress.
        max_rows: More examples are refused.

    Raises:
        ServingError: If there are none, or too many.
    """
    if request_input.WhichOneof("kind") == "example_list_with_context":
        # Messages that follow each other in one string are merged when it is read.
        common = request_input.example_list_with_context.context.SerializeToString()
        examples = request_input.example_list_with_context.examples
    else:
        common = b""
        examples = request_input.example_list.examples
    if not examples:
        refuse("Input is empty.")
    if len(examples) > max_rows:
        refuse(f"the request has {len(examples)} examples, expected <= {max_rows}")
    return [common + example.SerializeToString() for example in examples]
