"""Whether the requests for one version can be answered by another one."""

from collections.abc import Iterator, Mapping

import grpc

from tfdlrm.exporting.raw_columns import COVERAGE_SIGNATURE, UNKNOWN_SIGNATURE
from tfdlrm.serving.errors import ServingError
from tfdlrm.serving.servable import Servable, Signature
from tfdlrm.serving.tensor_specs import TensorSpec

MOST_TOLD = 4

_OPTIONAL = (UNKNOWN_SIGNATURE, COVERAGE_SIGNATURE)
"""Signatures that clients do without where a model has none."""


class OtherInputsError(ServingError):
    """A version that clients of the one that is served could not ask."""


def refuse_other_inputs(served: Servable, new: Servable) -> None:
    """Refuse a version that clients of the one that is served could not ask.

    Args:
        served: The version that answers now.
        new: The one that is to take over. It may have further signatures, and take
            shapes that the other one refuses.

    Raises:
        OtherInputsError: FAILED_PRECONDITION, with what differs.
    """
    differences = list(_differences(served.signatures, new.signatures))
    if not differences:
        return
    told = "; ".join(differences[:MOST_TOLD])
    more = len(differences) - MOST_TOLD
    raise OtherInputsError(
        grpc.StatusCode.FAILED_PRECONDITION,
        f"its inputs differ from those of version {served.version}, which is served: "
        f"{told}{f'; and {more} more' if more > 0 else ''}. Serve it under another "
        "name, start the server anew, or let it take over with --allow_other_inputs",
    )


def _differences(
    served: Mapping[str, Signature], new: Mapping[str, Signature]
) -> Iterator[str]:
    for name, signature in sorted(served.items()):
        other = new.get(name)
        if other is None and name in _OPTIONAL:
            continue
        if other is None:
            yield f"it has no signature {name}"
            continue
        for key, spec in signature.inputs.items():
            if key not in other.inputs:
                yield f"{name} has no input {key}"
            elif not _takes_all_of(other.inputs[key], spec):
                now = _described(other.inputs[key])
                yield f"{name} takes {key} as {now}, not as {_described(spec)}"
        for key in other.inputs:
            if key not in signature.inputs:
                yield f"{name} requires the input {key}"


def _takes_all_of(new: TensorSpec, served: TensorSpec) -> bool:
    if new.dtype != served.dtype:
        return False
    if new.shape is None or served.shape is None:
        return new.shape is None
    return new.accepts(served.shape)


def _described(spec: TensorSpec) -> str:
    shape = "any shape" if spec.shape is None else str(list(spec.shape))
    return f"{spec.dtype.name} {shape}"
