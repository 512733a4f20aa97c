"""Tensors of a checkpoint in pieces equal those that TensorFlow reads."""

import numpy as np
import pytest
import tensorflow as tf

from tfdlrm.base.errors import InputError
from tfdlrm.checkpoints import entries
from tfdlrm.exporting import tensor_bundle
from tfdlrm.exporting.tensor_bundle import stored_tensors


@pytest.fixture
def prefix(tmp_path):
    """A checkpoint of many tensors, so that its index has several blocks."""
    rng = np.random.default_rng(0)
    module = tf.Module()
    module.weights = [
        tf.Variable(rng.normal(size=(number, 3)).astype("float32"))
        for number in range(1, 150)
    ]
    module.others = [
        tf.Variable(7, dtype=tf.int64),
        tf.Variable(rng.integers(0, 9, (2, 3, 4)).astype("int8")),
        tf.Variable(tf.ones([4, 2], tf.bfloat16)),
        tf.Variable(tf.zeros([0, 5])),
        tf.Variable(["text"]),
    ]
    return tmp_path / tf.train.Checkpoint(module=module).write(str(tmp_path / "values"))


def numbers(prefix):
    """The tensors that are numbers, by TensorFlow's own reader."""
    reader = tf.train.load_checkpoint(str(prefix))
    types = reader.get_variable_to_dtype_map()
    return {
        name: reader.get_tensor(name)
        for name, dtype in types.items()
        if dtype != tf.string
    }


@pytest.mark.parametrize("piece_bytes", [100, entries.PIECE_BYTES])
def test_the_pieces_of_a_tensor_are_all_of_it(piece_bytes, prefix, monkeypatch):
    monkeypatch.setattr(tensor_bundle, "PIECE_BYTES", piece_bytes)
    tensors, expected = stored_tensors(prefix), numbers(prefix)
    assert tensors.keys() == expected.keys()
    for name, values in expected.items():
        pieces = list(tensors[name].pieces())
        assert tensors[name].shape == values.shape
        if not values.shape:
            assert pieces[0].values == values and pieces[0].rows is None
            continue
        read = np.zeros_like(values)
        for piece in pieces:
            assert piece.values.nbytes <= max(piece_bytes, values[:1].nbytes)
            read[piece.rows] = piece.values
        np.testing.assert_array_equal(read, values)


def test_a_changed_byte_is_noticed(prefix):
    (data,) = prefix.parent.glob("values.data-*")
    contents = data.read_bytes()
    tensors = [tensor for tensor in stored_tensors(prefix).values() if tensor.shape]
    for tensor in tensors[::10]:
        changed = bytearray(contents)
        changed[tensor.offset] ^= 8
        data.write_bytes(changed)
        with pytest.raises(
            InputError, match=r"is damaged \(the checksum of .* wrong\)"
        ):
            list(tensor.pieces())


def test_a_short_file_is_noticed(prefix):
    (data,) = prefix.parent.glob("values.data-*")
    name = "module/weights/140/.ATTRIBUTES/VARIABLE_VALUE"
    tensor = stored_tensors(prefix)[name]
    data.write_bytes(data.read_bytes()[: tensor.offset + 1])
    with pytest.raises(InputError, match="is damaged"):
        list(tensor.pieces())


def test_a_damaged_or_missing_index_is_refused(prefix):
    index = prefix.with_name("values.index")
    contents = index.read_bytes()
    for position in np.random.default_rng(0).integers(len(contents), size=40):
        changed = bytearray(contents)
        changed[position] ^= 1
        index.write_bytes(changed)
        try:
            stored_tensors(prefix)
        except InputError as error:
            assert f"{index} is damaged (" in str(error)
        else:  # the padding of the footer, and the block without entries
            assert position >= len(contents) - 60
    index.write_bytes(contents[:30])
    with pytest.raises(InputError, match="it is not an index of tensors"):
        stored_tensors(prefix)
    index.unlink()
    with pytest.raises(InputError, match="is damaged"):
        stored_tensors(prefix)
