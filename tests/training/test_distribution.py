import json
from unittest import mock

import pytest
import tensorflow as tf

from tfdlrm.base.errors import InputError
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


def test_a_process_has_one_mirrored_strategy():
    # On GPUs, the collectives of two strategies in a process would be mixed up.
    assert strategy("mirrored") is strategy("mirrored")


@pytest.fixture
def started(monkeypatch):
    """Start a worker of these addresses on a machine with a GPU, without the others."""
    gpus = [tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")]
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda kind: gpus)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    start = mock.Mock()
    monkeypatch.setattr("tensorflow.distribute.MultiWorkerMirroredStrategy", start)

    def start_worker(*addresses):
        task = {"type": "worker", "index": 0}
        config = {"cluster": {"worker": addresses}, "task": task}
        monkeypatch.setenv("TF_CONFIG", json.dumps(config))
        strategy("multi_worker")
        return start

    return start_worker


def test_workers_that_would_share_the_gpus_of_a_machine_are_refused(started):
    with pytest.raises(InputError, match="workers 0, 2 of TF_CONFIG are on one mach"):
        started("127.0.0.1:71", "b:71", "localhost:72")
    assert started("a:73", "b:73").call_count == 1


@pytest.mark.parametrize("visible", ["0", "-1", ""])
def test_workers_with_gpus_of_their_own_are_taken(visible, started, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    port = 80 + len(visible)
    assert started(f"a:{port}", f"a:{port}1").call_count == 1
