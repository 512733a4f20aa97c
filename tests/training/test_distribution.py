import pytest
import tensorflow as tf

from tfdlrm.training.distribution import strategy


def test_the_default_is_one_device():
    assert strategy("default").num_replicas_in_sync == 1


def test_mirrored_takes_every_device():
    mirrored = strategy("mirrored")
    assert isinstance(mirrored, tf.distribute.MirroredStrategy)
    assert mirrored.num_replicas_in_sync == 2


def test_another_name_is_refused():
    with pytest.raises(ValueError, match="expected 'default', 'mirrored' or"):
        strategy("parameter_server")
