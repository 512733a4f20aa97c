"""The benchmark for a GPU, as far as a CPU can check it."""

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import gpu
from benchmarks.gpu import GpuConfig, ceiling_jobs, step_jobs, without_tf32
from benchmarks.laboratory import processes
from benchmarks.laboratory.gpu_report import ceilings_table, device_line, steps_table
from benchmarks.laboratory.measurement import CPU, Device, Job, Measurement, StepTime
from benchmarks.laboratory.processes import Laboratory
from benchmarks.laboratory.traffic import bytes_per_step
from benchmarks.peers import ceiling
from benchmarks.runs import measure
from benchmarks.workload.criteo_kaggle import flops_per_sample
from tests.benchmarks.test_benchmarks import cells
from tfdlrm.base.errors import InputError

H200 = Device("NVIDIA H200", 7.5)


@pytest.fixture(autouse=True)
def tf32_afterwards():
    yield
    tf.config.experimental.enable_tensor_float_32_execution(True)


def step_of(system, ms, device=H200, **job):
    return Measurement(
        Job(system=system, optimizer="adagrad", batch_size=1000, **job),
        StepTime(ms, 20, loss=0.5, rss_gb=1.0),
        device=device,
    )


def test_every_row_of_ours_has_one_of_pytorch():
    jobs = step_jobs(GpuConfig())
    assert len(set(jobs)) == len(jobs) == 3 * 3 * 2 * 2
    tfdlrm, torch = jobs[::2], jobs[1::2]
    assert {job.system for job in tfdlrm} == {"tfdlrm", "tfdlrm-bf16"}
    for tfdlrm_job, torch_job in zip(tfdlrm, torch, strict=True):
        assert torch_job.system == tfdlrm_job.system.replace("tfdlrm", "torch")
        for name in ("batch_size", "tables", "tf32", "optimizer", "table_scale"):
            assert getattr(tfdlrm_job, name) == getattr(torch_job, name)
    # If the time runs out, the tables in the machine's memory are left out.
    assert [job.tables for job in jobs] == ["device"] * 18 + ["host"] * 18


def test_every_precision_has_a_ceiling_of_its_own():
    ceilings = [(job.system, job.tf32) for job in ceiling_jobs(GpuConfig())]
    assert ceilings == [("ceiling", True), ("ceiling", False), ("ceiling-bf16", True)]


def test_a_cpu_measures_no_tf32():
    assert without_tf32(GpuConfig()).precisions == ("float32", "bfloat16")
    assert without_tf32(GpuConfig(precisions=("tf32",))).precisions == ("float32",)


def test_shares_and_speeds_are_those_of_the_same_conditions():
    gflops = flops_per_sample() / 1e9
    ceilings = [
        Measurement(Job("ceiling"), gflops=gflops * 1e6),
        Measurement(Job("ceiling", tf32=False), gflops=gflops * 5e5),
        Measurement(Job("bandwidth"), gb_per_second=1000.0, device=H200),
    ]
    steps = [
        step_of("tfdlrm", 2.0),
        step_of("torch", 4.0),
        step_of("tfdlrm", 4.0, tf32=False),
        step_of("torch", 2.0, tf32=False),
        step_of("tfdlrm", 2.0, tables="host"),
        step_of("torch", 9.0, CPU, tables="host"),
        Measurement(Job("torch-bf16"), note="torch is not installed"),
    ]
    bandwidth = f"{bytes_per_step(steps[0].job) / 0.002 / 1e12:.0%}"
    rows = cells(steps_table(steps, ceilings))[1:]
    assert [row[:1] + row[3:8] for row in rows] == [
        ["tfdlrm", "tf32", "2.00", "500,000", "2.00", "50%"],
        ["torch", "tf32", "4.00", "250,000", "1.00", "25%"],
        ["tfdlrm", "float32", "4.00", "250,000", "0.500", "50%"],
        ["torch", "float32", "2.00", "500,000", "1.00", "100%"],
        ["tfdlrm", "tf32", "2.00", "500,000", "-", "50%"],
        ["torch", "tf32", "9.00", "111,111", "1.00", "11%"],
        ["torch", "bfloat16", "-", "-", "-", "-"],
    ]
    assert rows[0][8:] == [bandwidth, "7.50", "NVIDIA H200", ""]
    assert rows[-1][8:] == ["-", "-", "-", "torch is not installed"]
    assert [row[:3] for row in cells(ceilings_table(ceilings))[1:]] == [
        ["products, tf32", text_of(gflops * 1e6), "GFLOP/s"],
        ["products, float32", text_of(gflops * 5e5), "GFLOP/s"],
        ["memory", "1,000", "GB/s"],
    ]


def text_of(number):
    return f"{number:,.0f}"


def test_the_bytes_of_a_step_are_those_of_its_layers_and_distinct_rows():
    # One row in each of 26 tables: 26 distinct rows, whatever the batch.
    job = Job("tfdlrm", optimizer="sgd", batch_size=10, table_scale=1e-9)
    handed_on = (512 + 256 + 64 + 16) + 26 * 16 + (16 + 351) + (512 + 256 + 1)
    sample = 4 * (13 + 26 + 1) + 4 * 4 * handed_on
    rows = 26 * 16 * 4
    assert bytes_per_step(job) == 10 * sample + 3 * rows
    adagrad = Job("tfdlrm", optimizer="adagrad", batch_size=10, table_scale=1e-9)
    assert bytes_per_step(adagrad) == 10 * sample + 5 * rows
    on_host = Job("tfdlrm", batch_size=10, table_scale=1e-9, tables="host")
    assert bytes_per_step(on_host) == 10 * sample
    narrow = Job("tfdlrm-bf16", batch_size=10, table_scale=1e-9, tables="host")
    assert bytes_per_step(narrow) == 10 * (sample - 2 * 4 * handed_on)


def test_the_device_is_named_in_one_line():
    assert device_line(Measurement(Job("bandwidth"), device=H200)) == (
        "Device: NVIDIA H200."
    )
    on_cpu = device_line(Measurement(Job("bandwidth"), device=CPU))
    assert on_cpu.startswith("TensorFlow sees no GPU here")
    failed = Measurement(Job("bandwidth"), note="failed: out of memory")
    assert device_line(failed) == "The device is not known: failed: out of memory."


def test_a_step_is_measured_with_its_tables_in_the_machines_memory():
    job = Job(
        "tfdlrm", "adagrad", 8, table_scale=1e-5, seconds=1e-3, min_steps=1,
        tables="host", tf32=False,
    )  # fmt: skip
    measured = measure.measure(job)
    assert measured.step.ms > 0
    assert np.isfinite(measured.step.loss)
    assert measured.device == CPU
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


def test_a_job_that_the_time_does_not_reach_is_left_out_and_no_failure():
    laboratory = Laboratory([], minutes=1e-9)
    (left_out,) = laboratory.measure([Job("tfdlrm")])
    assert left_out.note == "left out: 1e-09 minutes were over"
    assert laboratory.num_failed == 0


def test_a_job_that_does_not_end_in_time_is_killed():
    laboratory = Laboratory([], minutes=0.01)
    (left_out,) = laboratory.measure([Job("tfdlrm")])
    assert left_out.note == "left out: 0.01 minutes were over"


@pytest.mark.parametrize("wrong", [{"batch_sizes": ()}, {"minutes": 0.0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match="expected"):
        GpuConfig(**wrong)


def test_the_command_prints_a_plausible_table(monkeypatch, capsys):
    def in_this_process(job, timeout=None):
        return measure.measure(job)

    monkeypatch.setattr(gpu, "run_job", in_this_process)
    monkeypatch.setattr(processes, "run_job", in_this_process)
    monkeypatch.setattr(ceiling, "SIZES", (8,))
    monkeypatch.setattr(ceiling, "VECTOR_NUMBERS", 1000)
    gpu.main(
        [
            *("--precisions=tf32,float32", "--tables=device", "--batch_sizes=8"),
            *("--table_scale=1e-5", "--seconds=1e-3", "--min_steps=1"),
            "--steps_per_execution=1",
        ]
    )
    printed = capsys.readouterr().out
    assert "TensorFlow sees no GPU here" in printed
    ceilings, steps = printed.split("| system ")
    assert [row[0] for row in cells(ceilings)[1:]] == ["memory", "products, float32"]
    assert all(float(row[1].replace(",", "")) > 0 for row in cells(ceilings)[1:])
    tfdlrm, torch = cells(steps)[1:]
    assert tfdlrm[:4] == ["tfdlrm", "device", "8", "float32"]
    assert float(tfdlrm[4]) > 0
    assert tfdlrm[7].endswith("%") and tfdlrm[8].endswith("%")
    assert tfdlrm[10] == "CPU"
    assert torch[:4] == ["torch", "device", "8", "float32"]
    assert torch[10] == "CPU" or torch[11] == "torch is not installed"
