"""The pages on neighbours: every flag exists, and every command shown runs."""

import importlib
import inspect
import re
import shutil
from importlib.util import find_spec

import pytest

from pipelines import synthetic
from pipelines.prepare import PrepareCommand
from pipelines.random_data import RandomDataCommand
from pipelines.trace import TraceCommand
from tests.docs.test_pages import commands
from tests.support.json_events import as_json
from tests.support.kafka_broker import kafka_broker, produce
from tests.support.processes import ROOT, run_command_line
from tests.support.s3_server import environment, s3_server
from tfdlrm.base.command_line import parse
from tfdlrm.config import TrainConfig
from tfdlrm.evaluate import EvaluateCommand
from tfdlrm.export import ExportCommand

# The arguments of its dlrm_s_pytorch.py, in their order there.
REFERENCE = """
arch-sparse-feature-size arch-embedding-size arch-mlp-bot arch-mlp-top
arch-interaction-op arch-interaction-itself weighted-pooling md-flag md-threshold
md-temperature md-round-dims qr-flag qr-threshold qr-operation qr-collisions
activation-function loss-function loss-weights loss-threshold round-targets data-size
num-batches data-generation rand-data-dist rand-data-min rand-data-max rand-data-mu
rand-data-sigma data-trace-file data-set raw-data-file processed-data-file
data-randomize data-trace-enable-padding max-ind-range data-sub-sample-rate
num-indices-per-lookup num-indices-per-lookup-fixed num-workers memory-map
mini-batch-size nepochs learning-rate print-precision numpy-rand-seed sync-dense-params
optimizer dataset-multiprocessing inference-only quantize-mlp-with-bit
quantize-emb-with-bit save-onnx use-gpu local_rank dist-backend print-freq test-freq
test-mini-batch-size test-num-workers print-time print-wall-time debug-mode
enable-profiling plot-compute-graph tensor-board-filename save-model load-model
mlperf-logging mlperf-acc-threshold mlperf-auc-threshold mlperf-bin-loader
mlperf-bin-shuffle mlperf-grad-accum-iter lr-num-warmup-steps lr-decay-start-step
lr-num-decay-steps
"""

COMMANDS = {
    "tfdlrm.train": TrainConfig,
    "tfdlrm.evaluate": EvaluateCommand,
    "tfdlrm.export": ExportCommand,
    "pipelines.prepare": PrepareCommand,
    "pipelines.random_data": RandomDataCommand,
    "pipelines.trace": TraceCommand,
}

# The flags of NVIDIA's main.py and dlrm.py, but those of its synthetic data and of
# debugging its input.
NVIDIA = """
mode dataset_path feature_spec dataset_type batch_size valid_batch_size bottom_mlp_dims
top_mlp_dims embedding_dim interaction num_cross_layers cross_layer_projection_dim
optimizer learning_rate beta1 beta2 warmup_steps decay_start_step decay_steps amp
loss_scale xla cpu concat_embedding use_mde_embeddings dist_strategy
column_slice_threshold cpu_offloading_threshold_gb embedding_trainable
embedding_zeros_initializer epochs max_steps evals_per_epoch auc_thresholds print_freq
log_path save_checkpoint_path restore_checkpoint_path profiler_start_step profiled_rank
seed run_eagerly inter_op_parallelism intra_op_parallelism
"""

PAGE = "docs/from_the_pytorch_reference.md"
NVIDIAS_PAGE = "docs/from_nvidia.md"


def table(page=PAGE):
    text = (ROOT / page).read_text("utf-8")
    return re.findall(r"^\| `--([\w-]+)` \| (.*?) \| (.*?)\|$", text, re.MULTILINE)


def test_the_table_has_every_flag_of_the_reference():
    assert [flag for flag, *_ in table()] == REFERENCE.split()


def test_the_table_has_every_flag_of_nvidias():
    assert [flag for flag, *_ in table(NVIDIAS_PAGE)] == NVIDIA.split()


def options_of(module, argv=()):
    """Return the options of a command, by its help."""
    texts = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout.write", texts.append, raising=False)
        with pytest.raises(SystemExit):
            several = "raw" if module == "pipelines.prepare" else None
            parse(COMMANDS[module], module, [*argv, "--help"], several)
    return set(re.findall(r"--[\w.]+", "".join(texts)))


@pytest.fixture(scope="module")
def options():
    by_module = {module: options_of(module) for module in COMMANDS}
    by_module["tfdlrm.train"] |= options_of("tfdlrm.train", ["--model.name", "dcn_v2"])
    return by_module


def check_name(name):
    """Check a function or class and, with `(argument)`, one of its parameters."""
    path, _, argument = name.rstrip(")").partition("(")
    module, _, attribute = path.rpartition(".")
    value = getattr(importlib.import_module(module), attribute)
    if argument:
        assert argument in inspect.signature(value).parameters


@pytest.mark.parametrize("flag, equivalent, remark", [*table(), *table(NVIDIAS_PAGE)])
def test_what_the_table_names_is_there(flag, equivalent, remark, options):
    named = re.findall(r"`([^`]+)`", equivalent)
    assert bool(named) != (equivalent == "—"), flag
    for name in named:
        module, _, option = name.partition(" ")
        if option:
            assert option in options[module]
        else:
            check_name(name)
    for name in re.findall(r"`(tfdlrm\.[^`]+)`", remark):
        check_name(name)
    for option in re.findall(r"`(--[a-z_.]+)", remark):
        assert any(option in names for names in options.values()), option


def test_what_the_page_for_those_from_tfrs_names_is_there():
    text = (ROOT / "docs" / "from_tfrs.md").read_text("utf-8")
    named = re.findall(r"`(tfdlrm\.[\w.]+)`", text)
    assert len(named) > 6
    for name in named:
        check_name(name)


@pytest.mark.slow
def test_the_commands_for_those_from_the_reference_run(tmp_path):
    synthetic.write_raw(tmp_path / "train.txt", num_rows=3_000, seed=0)
    for command in commands(PAGE):
        result = run_command_line(command, cwd=tmp_path)
        assert result.returncode == 0, f"{command}\n{result.stderr}"


@pytest.mark.slow
@pytest.mark.skipif(
    None in map(find_spec, ("moto", "confluent_kafka", "tensorflow_io")),
    reason="moto, confluent-kafka or tensorflow-io is not installed",
)
def test_the_commands_of_the_neighbours_page_run(tmp_path):
    synthetic.write_raw(tmp_path / "clicks.tsv", num_rows=6_000, seed=0)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    lines = (tmp_path / "clicks.tsv").read_text().splitlines()
    with s3_server() as variables, kafka_broker() as broker:
        produce(broker, "clicks", as_json(lines[:600]))
        for command in commands("docs/neighbours.md"):
            command = command.replace("broker:9092", broker)
            if "--stream" in command:
                command += " --stop_at_end true"
            line = f"export {environment(variables)}; {command}"
            result = run_command_line(line, cwd=tmp_path)
            assert result.returncode == 0, f"{command}\n{result.stderr}"
