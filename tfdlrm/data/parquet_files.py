"""Check that a shard in Parquet has the right columns, without TensorFlow."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pa_parquet

from tfdlrm.base.errors import InputError
from tfdlrm.data.schema import FeatureSchema


def column_types(schema: FeatureSchema) -> dict[str, str]:
    """Return the columns of a shard, with Arrow's names of their types.

    Args:
        schema: Schema of a data set with `record_format` `parquet`.

    Raises:
        InputError: If there are multi-hot features: tensorflow-io reads no lists.

    Example:

    >>> from tfdlrm.data.schema import CategoricalFeature
    >>> column_types(FeatureSchema(("I1",), (CategoricalFeature("C1", 10),)))
    {'label': 'float', 'I1': 'float', 'C1': 'int32'}
    """
    if schema.multi_hot:
        raise InputError(
            f"{schema.multi_hot[0]} has several values a row, which record_format "
            "parquet cannot hold: prepare the data with block or row"
        )
    floats = (schema.label, *schema.dense_features)
    return {
        **dict.fromkeys(floats, "float"),
        **dict.fromkeys(schema.single_hot, "int32"),
    }


def column_problem(file_schema: pa.Schema, expected: dict[str, str]) -> str | None:
    """Return what is wrong with the first column that is absent or of another type.

    Args:
        file_schema: The columns of a file.
        expected: The columns by `column_types`.
    """
    types = {field.name: str(field.type) for field in file_schema}
    for name, type_name in expected.items():
        if types.get(name) != type_name:
            return (
                f"column {name} is {types.get(name, 'not there')}, expected {type_name}"
            )
    return None


def check_file(path: Path, schema: FeatureSchema) -> None:
    """Refuse a file at which tensorflow-io would end the process.

    Args:
        path: Path of a shard.
        schema: Schema of the data set.

    Raises:
        InputError: If the file is no Parquet file, or has other columns.
    """
    expected = column_types(schema)
    try:
        with path.open("rb") as file:
            problem = column_problem(pa_parquet.read_schema(file), expected)
    except (
        pa.ArrowException,
        OSError,
        ValueError,
    ) as error:  # a ValueError is a name that is no UTF-8
        problem = " ".join(str(error).split())
    if problem:
        raise InputError(
            f"{path} cannot be read as a shard in Parquet: {problem}; prepare the data "
            "set again"
        )
