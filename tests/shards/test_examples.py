"""Serialized examples against TensorFlow's own messages."""

import numpy as np
import pytest
import tensorflow as tf

from pipelines.ids.encoded_rows import Bags, EncodedRows
from pipelines.logs.columns import Columns
from pipelines.shards.example_messages import parse_example
from pipelines.shards.examples import bytes_example, row_examples
from tfdlrm.data.block_format import row_type

COLUMNS = Columns("click", ("price",), ("user", "item"), ("tags", "Étages"))
IDS = [0, 1, 127, 128, 2**14, 2**21 - 1, 2**28, 2**31 - 1]
TAGS = [[], [5], [2**31 - 1, 0, 300], []]
ÉTAGES = [[7, 7], [], [], [1]]


def bags_of(lists):
    values = np.array([value for bag in lists for value in bag], np.int32)
    return Bags(values, np.array([len(bag) for bag in lists], np.int32))


def test_a_row_is_the_example_that_tensorflow_reads():
    fixed = np.zeros(4, row_type(1, 2))
    fixed["label"] = [0, 1, 1, 0]
    fixed["dense_features"][:, 0] = [0.1, -3e38, np.inf, 1e-40]
    fixed["categorical_features"] = np.array(IDS).reshape(4, 2)
    rows = EncodedRows(fixed, (bags_of(TAGS), bags_of(ÉTAGES)))
    payloads = list(row_examples(rows, COLUMNS))
    assert len(payloads) == 4
    for index, payload in enumerate(payloads):
        feature = tf.train.Example.FromString(payload).features.feature
        assert set(feature) == {"click", "price", "user", "item", "tags", "Étages"}
        assert feature["click"].float_list.value == [fixed["label"][index]]
        assert feature["price"].float_list.value == [fixed["dense_features"][index, 0]]
        assert feature["user"].int64_list.value == [IDS[2 * index]]
        assert feature["item"].int64_list.value == [IDS[2 * index + 1]]
        assert feature["tags"].int64_list.value == TAGS[index]
        assert feature["Étages"].int64_list.value == ÉTAGES[index]
        assert feature["tags"].WhichOneof("kind") == "int64_list"


def test_features_are_in_the_order_of_their_names():
    payload = bytes_example({"C2": b"b", "C10": b"a", "label": b"", "C1": b"c"})
    assert list(parse_example(payload)) == ["C1", "C10", "C2", "label"]
    feature = tf.train.Example.FromString(payload).features.feature
    values = {name: list(feature[name].bytes_list.value) for name in feature}
    assert values == {"C1": [b"c"], "C10": [b"a"], "C2": [b"b"], "label": [b""]}


def test_what_tensorflow_wrote_is_read():
    example = tf.train.Example()
    example.features.feature["bytes"].bytes_list.value.append(b"\0\xff")
    example.features.feature["floats"].float_list.value.extend([0.5, -2])
    example.features.feature["integers"].int64_list.value.extend([-1, 2**62])
    features = parse_example(example.SerializeToString())
    assert features["bytes"].bytes_list.value == [b"\0\xff"]
    assert features["floats"].float_list.value == [0.5, -2]
    assert features["integers"].int64_list.value == [-1, 2**62]


@pytest.mark.parametrize("payload", [b"\n", b"\n\x7f", b"\xff" * 9, b"\n\x02\n\x09"])
def test_what_is_not_an_example_is_refused(payload):
    with pytest.raises(ValueError, match=r"it is not a tf\.train\.Example"):
        parse_example(payload)
