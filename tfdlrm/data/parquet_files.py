"""What a shard in Parquet must be, read without TensorFlow."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pa_parquet

from tfdlrm.base.errors import InputError
from tfdlrm.data.schema import FeatureSchema


def column_types(schema: FeatureSchema) -> dict[str, str]:
    """The columns of a shard, by Arrow's names of their types.

    Args:
        schema: Schema of a data set with `record_format` `parquet`.

    Raises:
        InputError: If it has multi-hot features, whose lists tensorflow-io cannot read.

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


def column_problem(found: pa.Schema, expected: dict[str, str]) -> str | None:
    """What is wrong with the first column that is not there, or of another type.

    Args:
        found: Those of a file.
        expected: As `column_types` gives them.
    """
    types = {each.name: str(each.type) for each in found}
    for name, kind in expected.items():
        if types.get(name) != kind:
            return f"column {name} is {types.get(name, 'not there')}, expected {kind}"
    return None


def check_file(path: Path, schema: FeatureSchema) -> None:
    """Refuse a file that tensorflow-io would end the process for.

    Args:
        path: A shard.
        schema: Schema of its data set.

    Raises:
        InputError: If it is no Parquet file, or has other columns.
    """
    expected = column_types(schema)
    try:
        with path.open("rb") as file:
            problem = column_problem(pa_parquet.read_schema(file), expected)
    except (pa.ArrowException, OSError, ValueError) as error:  # names in no UTF-8
        problem = " ".join(str(error).split())
    if problem:
        raise InputError(
            f"{path} cannot be read as a shard in Parquet: {problem}; prepare the data "
            "set again"
        )
