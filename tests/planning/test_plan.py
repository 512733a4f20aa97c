"""Planned memory against the models themselves, and messages where it is too much."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from typing import get_args

import pytest

from benchmarks.workload.criteo_kaggle import flops_per_sample
from pipelines.prepare import prepare
from tests.support.processes import ROOT, run_command_line
from tests.support.small_models import CONFIGS, schema
from tfdlrm.base.byte_size import format_byte_size, parse_byte_size
from tfdlrm.base.errors import InputError
from tfdlrm.checkpoints.entries import MAX_COPY_BYTES
from tfdlrm.checkpoints.variables import SavedVariables
from tfdlrm.config import (
    DenseOptimizerConfig,
    OptimizerConfig,
    PrepareConfig,
    TrainConfig,
)
from tfdlrm.config.models import DLRMConfig
from tfdlrm.config.optimizers import DenseOptimizerName
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.models import build_model
from tfdlrm.plan import PlanCommand, data_schema, duration, plan, share_of_ceiling
from tfdlrm.planning.advice import Memory, memory_here, require_memory, suggestions
from tfdlrm.planning.machine_memory import UNKNOWN, available_memory, gpu_memory
from tfdlrm.planning.memory_plan import memory_plan
from tfdlrm.planning.model_size import model_size
from tfdlrm.train import train
from tfdlrm.training.compiling import compile_model

DLRM = DLRMConfig(embedding_dim=4, bottom_mlp_units=(8,), top_mlp_units=(8, 5))
MODELS = {
    **CONFIGS,
    "dlrm": DLRM,
    "dlrm with the diagonal": replace(DLRM, self_interaction=True),
    "dlrm side by side": replace(DLRM, interaction="concatenate"),
    "dlrm with buckets": replace(DLRM, dense_bucket_width=0.5),
    "dlrm with collisions": replace(DLRM, num_collisions=3, collision_threshold=5),
    **{
        f"{name} with {normalization} normalization": replace(
            config, normalization=normalization
        )
        for name, config in {**CONFIGS, "dlrm": DLRM}.items()
        for normalization in ("batch", "layer")
        if hasattr(config, "normalization") and name != "dcn_v2 of low rank"
    },
}
KAGGLE = data_schema(PlanCommand())


@pytest.mark.slow_variants
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("num_dense", [3, 0])
def test_parameters_are_those_of_the_model(name, num_dense):
    columns = schema(num_dense=num_dense)
    model = build_model(columns, MODELS[name])
    assert model_size(columns, MODELS[name]).parameters == model.count_params()


def test_the_article_s_model_has_its_parameters_and_operations():
    size = model_size(KAGGLE, DLRMConfig())
    assert size.parameters == 540_677_217
    assert size.operations == flops_per_sample()


DENSE_NAMES = [
    name
    for name in get_args(DenseOptimizerName)
    if name != "adafactor"  # its state also has rows and columns of matrices
]


@pytest.mark.slow_variants
@pytest.mark.parametrize(
    "optimizer",
    [
        *map(OptimizerConfig, ("sgd", "adagrad", "row_wise_adagrad", "lazy_adam")),
        OptimizerConfig("row_wise_adagrad", table_weight_decay=0.1),
        *(OptimizerConfig(dense=DenseOptimizerConfig(name)) for name in DENSE_NAMES),
        OptimizerConfig(dense=DenseOptimizerConfig("sgd", momentum=0.9)),
        OptimizerConfig(dense=DenseOptimizerConfig("rmsprop", momentum=0.9)),
    ],
    ids=lambda config: config.words,
)
@pytest.mark.parametrize("normalization", [None, "batch"])
def test_a_checkpoint_has_the_bytes_that_were_planned(optimizer, normalization):
    config = TrainConfig(model=replace(DLRM, normalization=normalization))
    columns, config = schema(), replace(config, optimizer=optimizer)
    model = build_model(columns, config.model)
    compile_model(model, config.optimizer)
    variables = SavedVariables(model)
    num_bytes = sum(piece.values.nbytes for piece in variables.all_pieces())
    expected = memory_plan(columns, config).checkpoint_file
    assert 0 <= num_bytes - expected <= 100  # step and learning rate, seeds of dropout


def test_gpus_hold_the_model_and_the_host_the_rest():
    config = TrainConfig(batch_size=4096)
    alone, two = memory_plan(KAGGLE, config), memory_plan(KAGGLE, config, 2)
    assert alone.host == alone.device
    assert two.activations == alone.activations / 2
    assert two.device + two.host == alone.host - two.activations
    assert two.host < 2e9 < 4e9 < two.device


def test_what_is_copied_for_a_checkpoint_is_bounded():
    small, large = (
        memory_plan(columns, TrainConfig()).checkpoint for columns in (schema(), KAGGLE)
    )
    assert small < large < 1.2 * MAX_COPY_BYTES


def fits(words, memory, columns=KAGGLE):
    """Return whether the settings that a suggestion names fit, as it says."""
    options = re.match(r"(.*) \((.*)\)$", words)
    argv = options[1].split()
    settings = dict(zip(argv[::2], argv[1::2], strict=True))
    config = TrainConfig(
        optimizer=OptimizerConfig(settings.pop("--optimizer.name", "adagrad")),
        model=DLRMConfig(
            **{name.rpartition(".")[2]: int(value) for name, value in settings.items()}
        ),
    )
    num_bytes = memory_plan(columns, config).host
    stated_bytes = parse_byte_size(options[2], "bytes")
    return num_bytes <= memory.host and stated_bytes == pytest.approx(
        num_bytes, rel=0.006
    )


def test_what_is_suggested_fits_and_takes_what_it_says():
    memory = Memory(host=3_600_000_000)
    *changes, sharded = suggestions(KAGGLE, TrainConfig(), memory)
    assert [words.partition(" ")[0] for words in changes] == [
        "--optimizer.name",
        "--model.num_collisions",
        "--model.embedding_dim",
    ]
    assert all(fits(words, memory) for words in changes)
    assert sharded == "--strategy mirrored --tables sharded on 2 GPUs (2.19 GB on each)"


def test_where_a_gpu_is_large_enough_a_suggestion_tells_the_memory_beside_it():
    host = memory_plan(KAGGLE, TrainConfig(), 1).host
    memory = Memory(host=host - 1, device=80 * 10**9, num_devices=1)
    [suggestion] = suggestions(KAGGLE, TrainConfig(), memory)
    words = "--model.num_collisions 32 --model.collision_threshold 10000"
    model = DLRMConfig(num_collisions=32, collision_threshold=10_000)
    needed = memory_plan(KAGGLE, TrainConfig(model=model), 1).host
    assert suggestion == f"{words} ({format_byte_size(needed)})"


def test_tables_in_shares_or_beside_the_gpus_are_suggested_where_these_are_too_small():
    memory = Memory(host=32 * 10**9, device=3 * 10**9, num_devices=2)
    config = TrainConfig(strategy="mirrored")
    *_, host, sharded = suggestions(KAGGLE, config, memory)
    for words, tables in ((host, "host"), (sharded, "sharded")):
        placed = replace(config, tables=tables)
        plan = memory_plan(KAGGLE, placed, 2)
        assert memory.holds(plan)
        assert f"--tables {tables}" in words
        stated_bytes = parse_byte_size(re.search(r"\(([\d.]+ .B)", words)[1], "bytes")
        expected = plan.device
        assert stated_bytes == pytest.approx(expected, rel=0.006)
    on_host = memory_plan(KAGGLE, replace(config, tables="host"), 2)
    on_cpu = memory_plan(KAGGLE, config)
    assert on_host.host > on_cpu.tables + on_cpu.table_state


def test_shares_of_tables_add_up():
    config = TrainConfig(strategy="mirrored", tables="sharded")
    alone, four = (memory_plan(KAGGLE, config, number) for number in (1, 4))
    assert 4 * (four.device - four.layers - four.activations) == pytest.approx(
        alone.with_tables
    )
    assert four.host == alone.host + alone.tables  # all of it, for the export


def test_where_no_change_alone_is_enough_two_are_suggested():
    columns = replace(
        KAGGLE,
        categorical_features=tuple(
            replace(feature, vocabulary_size=200 * feature.vocabulary_size)
            for feature in KAGGLE.categorical_features
        ),
    )
    memory = Memory(host=5_000_000_000)
    changes = suggestions(columns, TrainConfig(), memory)
    assert changes[0].startswith("--optimizer.name row_wise_adagrad --model.num_coll")
    assert fits(changes[0], memory, columns)


def test_a_threshold_is_suggested_by_what_the_data_set_has_counted(
    raw_file, data_dir, tmp_path
):
    config = TrainConfig(model=DLRM)
    columns = FeatureSchema.load(data_dir)
    five = prepare([raw_file], tmp_path / "five", PrepareConfig(min_frequency=5))
    as_planned = replace(columns, categorical_features=five.categorical_features)
    just_enough = Memory(host=memory_plan(as_planned, config).host)
    assert just_enough.host < memory_plan(columns, config).host
    changes = suggestions(columns, config, just_enough, data_dir)
    assert any(words.startswith("--min_frequency 5 for") for words in changes)
    too_little = Memory(host=just_enough.host - 1)
    changes = suggestions(columns, config, too_little, data_dir)
    assert any(words.startswith("--min_frequency 10 for") for words in changes)


def test_a_run_that_cannot_fit_is_refused_before_it_makes_anything(
    data_dir, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        "tfdlrm.runs.training_run.memory_here", lambda *_: Memory(10**8)
    )
    config = TrainConfig(data_dir=data_dir, model=DLRM, run_dir=tmp_path / "run")
    with pytest.raises(InputError, match="of memory, and 100 MB are there"):
        train(config)
    assert not (tmp_path / "run").exists()


def test_memory_of_gpus_is_asked_for(tmp_path, monkeypatch):
    fake = tmp_path / "nvidia-smi"
    fake.write_text("#!/bin/sh\nprintf '81559\\n40960\\n'\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpu_memory() == [81559 * 2**20, 40960 * 2**20]
    with pytest.raises(InputError, match="of memory of each GPU, and 1"):
        require_memory(KAGGLE, TrainConfig(), Memory(10**11, 10**9, 2))


def test_gpus_that_a_process_may_not_use_and_that_do_not_tell(tmp_path, monkeypatch):
    fake = tmp_path / "nvidia-smi"
    fake.write_text("#!/bin/sh\ncase $3 in --id=1) echo '[N/A]';; *) exit 6;; esac\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    for visible, expected in (("1", [UNKNOWN]), ("7", []), ("-1", []), ("", [])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert gpu_memory() == expected


def test_each_machine_of_several_has_its_part_of_a_batch(monkeypatch):
    workers = {"cluster": {"worker": ["a:1", "b:1", "c:1", "d:1"]}}
    task = {"task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps({**workers, **task}))
    memory = memory_here("multi_worker", num_devices=2)
    assert (memory.num_devices, memory.num_machines) == (2, 4)
    config = TrainConfig(batch_size=4096)
    assert memory.plan(KAGGLE, config).activations == pytest.approx(
        memory_plan(KAGGLE, config).activations / 8
    )


def test_a_run_with_early_stopping_is_refused_for_its_memory_too():
    config = TrainConfig(strategy="mirrored", early_stopping=2)
    with pytest.raises(InputError, match="of memory of each GPU") as error_info:
        require_memory(KAGGLE, config, Memory(10**11, 10**9, 2))
    assert "--tables" not in str(error_info.value)


def test_a_machine_without_nvidia_s_driver_has_no_gpus(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_memory() == []


def test_there_is_memory_here():
    assert 10**8 < available_memory() < 10**14


def test_the_plan_says_what_a_data_set_takes(data_dir):
    text = plan(PlanCommand(data_dir=data_dir, model=DLRM, samples_per_second=1000))
    columns = FeatureSchema.load(data_dir)
    for feature in columns.categorical_features:
        assert f"| {feature.name} | {feature.vocabulary_size:,} | 4 |" in text
    parameters = model_size(columns, DLRM).parameters
    assert f"\n{parameters:,} parameters" in text
    assert f"Columns and rows: {data_dir}." in text
    assert "5,143 rows an epoch, 1 epoch(s): 5 s at 1,000 samples/s (as stated)" in text


def test_a_rate_that_is_not_stated_is_called_an_estimate():
    text = plan(PlanCommand(num_devices=0, rows=10**6))
    assert "1,000,000 rows an epoch" in text
    assert "those published of Criteo Kaggle, but rows as stated." in text
    assert "(an estimate: 38% of the " in text


@pytest.mark.parametrize(
    ("batch_size", "share"), [(1, 0.33), (2048, 0.55), (10**6, 0.6)]
)
def test_larger_batches_come_closer_to_the_ceiling(batch_size, share):
    assert share_of_ceiling(batch_size) == pytest.approx(share)


def test_the_command_refuses_with_status_2_and_one_line():
    command = "python -m tfdlrm.plan --config configs/criteo_kaggle.yaml"
    options = "--num_devices 0 --samples_per_second 50000"
    process = run_command_line(f"{command} {options} --memory 12GB", cwd=ROOT)
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.endswith("It fits.\n")
    refused_process = run_command_line(f"{command} {options} --memory 2GB", cwd=ROOT)
    assert refused_process.returncode == 2
    assert refused_process.stderr.startswith(
        "error: this run needs 3.25 GB of memory, and 2.0"
    )
    assert refused_process.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_devices": 2}, "num_devices is 2, expected 1 at most with strategy"),
        ({"num_devices": 0, "device_memory": "8GB"}, "none with num_devices 0"),
    ],
)
def test_gpus_that_would_not_be_used_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        PlanCommand(**settings)


def test_planning_needs_no_tensorflow():
    code = "import sys, tfdlrm.plan; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_durations_are_told_in_units_of_their_size():
    assert [duration(seconds) for seconds in (1, 119, 120)] == ["1 s", "119 s", "2 min"]


def test_the_disk_of_the_keras_file_is_counted_for_models_that_have_one():
    small = plan(PlanCommand(vocabulary_sizes=(100,), samples_per_second=1000))
    large = plan(PlanCommand(vocabulary_sizes=(10**8,), samples_per_second=1000))
    (checkpoint,) = re.findall(r"A checkpoint is (.*?) on disk", small)
    assert f"model.keras in the run {checkpoint}." in small
    assert "model.keras" not in large
