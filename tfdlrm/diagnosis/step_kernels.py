"""Checks TensorFlow's registry for kernels on GPUs; no GPU is needed."""

from collections.abc import Mapping
from typing import Any

STEP_OPERATIONS: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("ResourceGather", {"dtype": "float32", "Tindices": "int32"}),
    ("ResourceGather", {"dtype": "float32", "Tindices": "int64"}),
    ("ResourceScatterAdd", {"dtype": "float32", "Tindices": "int32"}),
    ("ResourceScatterAdd", {"dtype": "float32", "Tindices": "int64"}),
    ("ResourceScatterUpdate", {"dtype": "float32", "Tindices": "int32"}),
    ("ResourceScatterUpdate", {"dtype": "float32", "Tindices": "int64"}),
    ("ResourceScatterUpdate", {"dtype": "bool", "Tindices": "int32"}),
    ("ResourceSparseApplyAdagradV2", {"T": "float32", "Tindices": "int32"}),
    ("ResourceSparseApplyAdagradV2", {"T": "float32", "Tindices": "int64"}),
    ("Unique", {"T": "int32", "out_idx": "int32"}),
    ("Unique", {"T": "int64", "out_idx": "int32"}),
    ("UnsortedSegmentSum", {"T": "float32", "Tindices": "int32"}),
    ("SelectV2", {"T": "bfloat16"}),
    ("SelectV2", {"T": "float16"}),
    ("MatMul", {"T": "float32"}),
    ("MatMul", {"T": "bfloat16"}),
    ("MatMul", {"T": "float16"}),
)
"""Operations of a training step whose kernels some version of TensorFlow lacked."""


def missing_kernels(device: str = "GPU") -> list[str]:
    """Return the operations of a step that TensorFlow has no kernel for.

    Args:
        device: TensorFlow's type of device.
    """
    return [
        f"{operation} ({', '.join(types.values())})"
        for operation, types in STEP_OPERATIONS
        if not _has_kernel(operation, types, device)
    ]


def _has_kernel(operation: str, types: Mapping[str, str], device: str) -> bool:
    import tensorflow as tf
    from tensorflow.python.framework import kernels

    numbers = {
        name: tf.dtypes.as_dtype(dtype).as_datatype_enum
        for name, dtype in types.items()
    }
    registered = kernels.get_registered_kernels_for_op(operation).kernel
    return any(
        kernel.device_type in (device, "DEFAULT")
        and not kernel.label
        and all(_allows(constraint, numbers) for constraint in kernel.constraint)
        for kernel in registered
    )


def _allows(constraint: Any, types: Mapping[str, int]) -> bool:
    allowed = constraint.allowed_values.list.type
    dtype = types.get(constraint.name)
    return not allowed or dtype is None or dtype in allowed
