"""The GPUs that commands use and count, with GPUs that are only listed."""

import sys
from unittest import mock

import pytest
import tensorflow as tf

from tests.planning.test_plan import DLRM
from tfdlrm import evaluate, export, importance, predict, serve, walkthrough
from tfdlrm import plan as plan_module
from tfdlrm.base.devices import count_gpus, use_device
from tfdlrm.base.errors import InputError
from tfdlrm.config import TrainConfig
from tfdlrm.config.stream import StreamConfig
from tfdlrm.exporting.scorer import load_scorer
from tfdlrm.plan import PlanCommand, memory_for, plan
from tfdlrm.planning.machine_memory import UNKNOWN, available_on_gpu, gpu_memory
from tfdlrm.streaming.following import learn
from tfdlrm.train import train
from tfdlrm.training.distribution import strategy

GPUS = [tf.config.PhysicalDevice(f"/physical_device:GPU:{i}", "GPU") for i in (0, 1)]
GB = 10**9


@pytest.fixture
def gpus(monkeypatch):
    """Two listed GPUs, and the settings that TensorFlow gets for them."""
    list_devices = tf.config.list_physical_devices

    def listed(device_type=None):
        return [
            *list_devices(device_type),
            *(GPUS if device_type in (None, "GPU") else []),
        ]

    monkeypatch.setattr(tf.config, "list_physical_devices", listed)
    calls = mock.Mock()
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", calls.growth)
    monkeypatch.setattr(tf.config, "set_visible_devices", calls.visible)
    monkeypatch.setattr(
        tf.config.experimental, "enable_tensor_float_32_execution", calls.tensor_float
    )
    return calls


def grows(gpus):
    return gpus.growth.call_args_list == [mock.call(gpu, True) for gpu in GPUS]


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Let a script stand for NVIDIA's command."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def write(script):
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)

    return write


def test_training_takes_memory_of_each_gpu_as_it_needs_it(gpus):
    strategy("default")
    assert grows(gpus)


def test_learning_from_a_stream_does_too(gpus, monkeypatch, tmp_path):
    config = StreamConfig("kafka://localhost:1/clicks", tmp_path / "no run")
    with pytest.raises(InputError):
        learn(config)
    assert grows(gpus)


def test_a_gpu_that_exists_already_or_was_divided_stays_as_it_is(gpus):
    gpus.growth.side_effect = [RuntimeError, ValueError]
    strategy("default")
    assert grows(gpus)


SCORING = [
    (evaluate, "evaluate_model", "--model m --data_dir d"),
    (predict, "predict", "--model m --raw i --output_file o"),
    (importance, "importance", "--model m --data_dir d"),
    (serve, "settings", "m"),
]


def run_main(module, function, arguments, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["command", *arguments.split()])
    monkeypatch.setattr(module, function, mock.Mock(return_value=0))
    monkeypatch.setattr("tfdlrm.serving.server.serve", mock.Mock())
    module.main()


@pytest.mark.parametrize(
    ("module", "function", "arguments"),
    [
        *SCORING,
        (export, "export", "--run_dir r"),
        (walkthrough, "walk_through", ""),
    ],
)
def test_commands_that_score_leave_gpus_alone(
    gpus, module, function, arguments, monkeypatch
):
    run_main(module, function, arguments, monkeypatch)
    gpus.visible.assert_called_once_with([], "GPU")
    gpus.growth.assert_not_called()


@pytest.mark.parametrize(("module", "function", "arguments"), SCORING)
def test_they_use_one_if_they_are_told(gpus, module, function, arguments, monkeypatch):
    run_main(module, function, f"{arguments} --device gpu", monkeypatch)
    gpus.visible.assert_not_called()
    assert grows(gpus)


def test_a_gpu_computes_float32_as_float32(gpus):
    use_device("gpu")
    gpus.tensor_float.assert_called_once_with(False)


def test_the_cpu_leaves_tensor_float_as_it_is(gpus):
    use_device("cpu")
    gpus.tensor_float.assert_not_called()


def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="device is gpu, but TensorFlow sees no GPU"):
        use_device("gpu")


def memory_of_train(config, monkeypatch):
    """Return the memory that a run is compared with."""

    class StoppedError(Exception):
        pass

    require = mock.Mock(side_effect=StoppedError)
    monkeypatch.setattr("tfdlrm.runs.training_run.require_memory", require)
    with pytest.raises(StoppedError):
        train(config)
    return require.call_args.args[2]


@pytest.mark.parametrize("has_tensorflow_gpus", [False, True])
@pytest.mark.parametrize("name", ["default", "mirrored"])
def test_plan_and_train_count_the_gpus_that_tensorflow_sees(
    has_tensorflow_gpus, name, nvidia_smi, data_dir, tmp_path, monkeypatch, request
):
    nvidia_smi("printf '81559\\n40960\\n'")
    expected = (0, UNKNOWN)
    if has_tensorflow_gpus:
        request.getfixturevalue("gpus")
        expected = {"default": 1, "mirrored": 2}[name], 40960 * 2**20 - 3 * 2**29
    monkeypatch.setattr("tfdlrm.planning.advice.available_memory", lambda: 64 * GB)
    settings = {
        "data_dir": data_dir,
        "model": DLRM,
        "strategy": name,
        "export_dir": tmp_path / "model",
    }
    plan_memory = memory_for(PlanCommand(**settings))
    train_memory = memory_of_train(
        TrainConfig(**settings, run_dir=tmp_path / "run"), monkeypatch
    )
    assert plan_memory == train_memory
    assert (plan_memory.num_devices, plan_memory.device) == expected


def test_gpus_of_a_driver_without_tensorflow_s_libraries_are_not_planned(nvidia_smi):
    nvidia_smi("printf '81559\\n40960\\n'")
    assert count_gpus() == 0
    text = plan(PlanCommand(strategy="mirrored", samples_per_second=1))
    assert "GPUs" not in text


def test_the_plan_names_gpus_that_tensorflow_does_not_see(
    nvidia_smi, monkeypatch, capsys
):
    nvidia_smi("echo 'NVIDIA L4, 8.9, 550.1, 20000, 23034'")
    for devices, is_warned in (("", True), ("--num_devices 0", False)):
        arguments = f"--memory 90GB --samples_per_second 1 {devices}"
        monkeypatch.setattr(sys, "argv", ["plan", *arguments.split()])
        plan_module.main()
        errors = capsys.readouterr().err
        assert is_warned == ("warning: this machine has a GPU (NVIDIA L4)" in errors)


def test_free_memory_of_a_gpu_counts_and_not_all_of_it(nvidia_smi):
    nvidia_smi("case $1 in *memory.free*) echo 30000;; *) echo 81559;; esac")
    assert gpu_memory() == [30000 * 2**20]


@pytest.mark.parametrize(
    ("free", "available"),
    [
        (16 * 2**30, 14.5 * 2**30),
        (2**30, 2**30 - 225 * 2**20),
        (UNKNOWN, UNKNOWN),
    ],
)
def test_tensorflow_leaves_some_of_it(free, available):
    assert available_on_gpu(free) == available


def test_the_plan_of_shares_says_what_comes_together_on_the_host():
    config = PlanCommand(
        strategy="mirrored", tables="sharded", num_devices=2, samples_per_second=1
    )
    assert "| the tables once more, to measure and export | host | 2.16 GB |" in plan(
        config
    )
    for tables in ("replicated", "host"):
        command = PlanCommand(
            strategy="mirrored", tables=tables, num_devices=2, samples_per_second=1
        )
        assert "once more" not in plan(command)


@pytest.mark.slow
def test_a_model_larger_than_the_gpu_is_refused_in_a_line(exported, monkeypatch):
    message = "Failed copying input tensor from CPU:0 to GPU:0: Dst tensor is not ..."
    error = tf.errors.InternalError(None, None, message)
    monkeypatch.setattr(tf.saved_model, "load", mock.Mock(side_effect=error))
    with pytest.raises(InputError, match=r"1 does not fit .* leave --device out"):
        load_scorer(exported)
