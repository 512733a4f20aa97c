"""The messages of `tf.train.Example`, without TensorFlow, whose import takes seconds.

Their bytes are those of TensorFlow's messages. Features are a list of entries here, and
not a map, since a map does not promise the order in which it is written.
"""

from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message,
    message_factory,
    text_format,
)

_DESCRIPTION = """
name: "pipelines/shards/example.proto"
package: "tfdlrm"
syntax: "proto3"
message_type {
  name: "BytesList"
  field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_BYTES }
}
message_type {
  name: "FloatList"
  field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_FLOAT }
}
message_type {
  name: "Int64List"
  field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_INT64 }
}
message_type {
  name: "Feature"
  oneof_decl { name: "kind" }
  field {
    name: "bytes_list" number: 1 label: LABEL_OPTIONAL oneof_index: 0
    type: TYPE_MESSAGE type_name: ".tfdlrm.BytesList"
  }
  field {
    name: "float_list" number: 2 label: LABEL_OPTIONAL oneof_index: 0
    type: TYPE_MESSAGE type_name: ".tfdlrm.FloatList"
  }
  field {
    name: "int64_list" number: 3 label: LABEL_OPTIONAL oneof_index: 0
    type: TYPE_MESSAGE type_name: ".tfdlrm.Int64List"
  }
}
message_type {
  name: "Entry"
  field { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
  field {
    name: "value" number: 2 label: LABEL_OPTIONAL
    type: TYPE_MESSAGE type_name: ".tfdlrm.Feature"
  }
}
message_type {
  name: "Features"
  field {
    name: "feature" number: 1 label: LABEL_REPEATED
    type: TYPE_MESSAGE type_name: ".tfdlrm.Entry"
  }
}
message_type {
  name: "Example"
  field {
    name: "features" number: 1 label: LABEL_OPTIONAL
    type: TYPE_MESSAGE type_name: ".tfdlrm.Features"
  }
}
"""


def _example_class() -> Any:
    description = text_format.Parse(_DESCRIPTION, descriptor_pb2.FileDescriptorProto())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(description)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tfdlrm.Example"))


Example = _example_class()


def parse_example(payload: bytes) -> dict[str, Any]:
    """Return the `Feature` of each name in a serialized `tf.train.Example`.

    Raises:
        ValueError: If the bytes are anything else.
    """
    try:
        example = Example.FromString(payload)
    except message.DecodeError:
        raise ValueError("it is not a tf.train.Example") from None
    return {entry.key: entry.value for entry in example.features.feature}
