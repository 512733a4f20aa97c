import json

import pytest

from tfdlrm.base.errors import InputError
from tfdlrm.config import TrainConfig
from tfdlrm.config.cluster import Cluster


def config(cluster, task_type="worker", index=0):
    return {
        "TF_CONFIG": json.dumps(
            {"cluster": cluster, "task": {"type": task_type, "index": index}}
        )
    }


def test_the_first_worker_is_the_chief():
    workers = {"worker": ["a:1", "b:1"]}
    assert Cluster.from_environment(config(workers)).is_chief
    assert not Cluster.from_environment(config(workers, index=1)).is_chief


def test_a_chief_of_its_own_comes_before_the_workers():
    cluster = {"worker": ["b:1", "c:1"], "chief": ["a:1"]}
    chief, last_worker = (
        Cluster.from_environment(config(cluster, *task))
        for task in (("chief", 0), ("worker", 1))
    )
    assert chief.workers == last_worker.workers == ("a:1", "b:1", "c:1")
    assert (chief.index, last_worker.index) == (0, 2)
    assert chief.is_chief


@pytest.mark.parametrize(
    ("addresses", "indices"),
    [
        (["a:1", "b:1"], (0,)),
        (["a:1", "b:1", "A:2"], (0, 2)),
        (["localhost:1", "127.0.0.1:2", "[::1]:3", "10.0.0.1:1"], (0, 1, 2)),
        (["[fe80::1]:1", "[fe80::1]:2"], (0, 1)),
    ],
)
def test_workers_on_one_machine_are_known_by_their_host(addresses, indices):
    cluster = Cluster.from_environment(config({"worker": addresses}))
    assert cluster.on_this_machine == indices


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "TF_CONFIG is not set: expected JSON such as"),
        ({"TF_CONFIG": "{"}, "TF_CONFIG is '{', expected JSON such as"),
        ({"TF_CONFIG": "[]"}, "expected JSON such as"),
        (config({"worker": ["a:1"], "ps": ["b:1"]}), "has the tasks ps, expected"),
        (config({"worker": ["a:1"]}, index=1), "this is worker 1, but its cluster has"),
        (config({"worker": ["a:1"]}, "chief"), "this is chief 0, but its cluster has"),
    ],
)
def test_a_malformed_environment_is_refused(environment, message):
    with pytest.raises(InputError, match=message):
        Cluster.from_environment(environment)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "trains on a prepared data set"),
        ({"data_dir": "data"}, "needs a run_dir that all workers share"),
        ({"tables": "sharded"}, "expected replicated with strategy multi_worker"),
        ({"early_stopping": 2}, "expected null with strategy multi_worker"),
    ],
)
def test_settings_that_workers_cannot_agree_on_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        TrainConfig(strategy="multi_worker", **settings)


def test_one_device_has_nothing_to_shard_over():
    with pytest.raises(
        InputError, match="expected replicated or host with strategy default"
    ):
        TrainConfig(tables="sharded")
