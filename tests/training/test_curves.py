import json
from dataclasses import asdict

import pytest

from tests.support.small_runs import STEPS_PER_EPOCH, config_for, read, small_model
from tfdlrm.base import storage
from tfdlrm.optimizers import SGD, LossScaleOptimizer, WarmUpPolynomialDecay
from tfdlrm.training.curves import learning_rate_of
from tfdlrm.training.distribution import strategy
from tfdlrm.training.fit import fit, make_reproducible
from tfdlrm.training.run_directory import RunDirectory


def curves(directory, steps_per_execution):
    config = config_for(directory)
    make_reproducible(seed=1)
    model = small_model(steps_per_execution=steps_per_execution)
    with RunDirectory.opened(config) as run:
        return fit(model, read, STEPS_PER_EPOCH, read(7, 0), config, run, "a")


def test_points_come_at_even_steps_and_at_the_end_of_each_epoch(tmp_path):
    points = curves(tmp_path, steps_per_execution=1)
    assert [p.step for p in points if p.split == "train"] == [5, 9, 14, 18]
    assert [p.step for p in points if p.split == "validation"] == [5, 9, 14, 18]


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_points_come_at_the_next_end_of_an_execution(tmp_path):
    points = curves(tmp_path, steps_per_execution=4)
    assert [p.step for p in points if p.split == "train"] == [8, 9, 17, 18]
    single = curves(tmp_path / "single", steps_per_execution=1)
    assert points[-1].loss == pytest.approx(single[-1].loss, rel=1e-5)


def test_a_disk_that_is_full_for_a_while_costs_no_point(tmp_path, monkeypatch, capsys):
    replace_text, times = storage.replace_text, iter(range(100))

    def refuse(path, text):
        if path.name == "metrics.jsonl" and next(times) in (2, 3):
            raise OSError(28, "No space left on device")
        replace_text(path, text)

    monkeypatch.setattr(storage, "replace_text", refuse)
    points = curves(tmp_path, steps_per_execution=1)
    output = capsys.readouterr().out
    assert "the curves of step 5 are not on disk: [Errno 28] No space left" in output
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [asdict(point) for point in points]


@pytest.mark.parametrize("devices", ["default", "mirrored"])
def test_the_learning_rate_is_read_on_one_device_and_on_several(devices):
    with strategy(devices).scope():
        constant = SGD(0.05)
        scheduled = SGD(WarmUpPolynomialDecay(0.05, warm_up_steps=5))
    assert learning_rate_of(constant) == 0.05
    assert learning_rate_of(scheduled) == 0.01  # of the first step
    assert learning_rate_of(LossScaleOptimizer(SGD(0.1))) == 0.1
