"""Check that a new version can answer the requests for the version before.

It must take the same inputs and, if tfdlrm exported both, mean the same by them: other
vocabularies behind equal signatures would answer with wrong probabilities.
"""

from collections.abc import Iterator, Mapping

import grpc

from tfdlrm.exporting.other_columns import column_differences
from tfdlrm.exporting.raw_columns import COVERAGE_SIGNATURE, UNKNOWN_SIGNATURE
from tfdlrm.serving.errors import ServingError
from tfdlrm.serving.servable import Servable, Signature
from tfdlrm.serving.tensor_specs import TensorSpec

MOST_LISTED = 4
"""Most differences in a message."""

_OPTIONAL = (UNKNOWN_SIGNATURE, COVERAGE_SIGNATURE)
"""Signatures that clients do not need."""


class OtherInputsError(ServingError):
    """The inputs of a new version differ from those of the served one."""


def refuse_other_inputs(served: Servable, new: Servable) -> None:
    """Refuse a new version that does not accept the requests of today's clients.

    Args:
        served: The version that answers now.
        new: The version that is to take over. It may have further signatures, and
            accept shapes that `served` refuses.

    Raises:
        OtherInputsError: FAILED_PRECONDITION, with what differs.
    """
    differences = list(_differences(served.signatures, new.signatures))
    if served.schema is not None and new.schema is not None:
        # `there` is the served version.
        differences += column_differences(served.schema, new.schema)
    if not differences:
        return
    listed = "; ".join(differences[:MOST_LISTED])
    num_more = len(differences) - MOST_LISTED
    if num_more > 0:
        listed += f"; and {num_more} more"
    raise OtherInputsError(
        grpc.StatusCode.FAILED_PRECONDITION,
        f"its inputs differ from those of version {served.version}, which is served: "
        f"{listed}. Serve it under another name, start the "
        "server again, or let it take over with --allow_other_columns",
    )


def _differences(
    served: Mapping[str, Signature], new: Mapping[str, Signature]
) -> Iterator[str]:
    for name, signature in sorted(served.items()):
        successor = new.get(name)
        if successor is None and name in _OPTIONAL:
            continue
        if successor is None:
            yield f"it has no signature {name}"
            continue
        for input_name, spec in signature.inputs.items():
            if input_name not in successor.inputs:
                yield f"{name} has no input {input_name}"
            elif not _takes_all_of(successor.inputs[input_name], spec):
                new_spec = _describe(successor.inputs[input_name])
                old_spec = _describe(spec)
                yield f"{name} takes {input_name} as {new_spec}, not as {old_spec}"
        for input_name in successor.inputs:
            if input_name not in signature.inputs:
                yield f"{name} requires the input {input_name}"


def _takes_all_of(new: TensorSpec, served: TensorSpec) -> bool:
    if new.dtype != served.dtype:
        return False
    if new.shape is None or served.shape is None:
        return new.shape is None
    return new.accepts(served.shape)


def _describe(spec: TensorSpec) -> str:
    shape = "any shape" if spec.shape is None else str(list(spec.shape))
    return f"{spec.dtype.name} {shape}"
