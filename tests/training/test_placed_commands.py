"""Training, resuming and exporting with tables shared between two devices."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.small_models import SMALL_DLRM
from tfdlrm.base.errors import InputError
from tfdlrm.config import CheckpointConfig, OptimizerConfig, TrainConfig
from tfdlrm.data.reading import read_split
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.export import ExportCommand, export
from tfdlrm.exporting.scorer import load_scorer
from tfdlrm.train import train
from tfdlrm.training import safeguards


@pytest.fixture
def config(data_dir, tmp_path):
    return TrainConfig(
        data_dir=data_dir,
        model=SMALL_DLRM,
        batch_size=64,
        strategy="mirrored",
        tables="sharded",
        optimizer=OptimizerConfig("row_wise_adagrad"),
        checkpoints=CheckpointConfig(steps=20),
        evaluations_per_epoch=4,
        run_dir=tmp_path / "run",
        export_dir=tmp_path / "model",
    )


def scores(exported, data_dir):
    schema = FeatureSchema.load(data_dir)
    features, _ = next(iter(read_split(data_dir, schema, "test", 64)))
    return load_scorer(exported)(features).numpy()


def stop_after(monkeypatch, step):
    """Interrupt a run once a checkpoint of a step has been begun."""
    begin = safeguards.Checkpointer._begin

    def begin_and_stop(checkpointer):
        begin(checkpointer)
        checkpointer._writer.wait()
        if checkpointer._begun_step >= step:
            raise KeyboardInterrupt

    monkeypatch.setattr(safeguards.Checkpointer, "_begin", begin_and_stop)


@pytest.mark.slow
def test_a_sharded_run_goes_on_with_ordinary_tables_and_is_exported(
    config, data_dir, tmp_path, monkeypatch, capsys
):
    alone = replace(config, strategy="default", tables="replicated")
    expected = scores(train(replace(alone, run_dir=tmp_path / "alone")), data_dir)

    complete_model = train(replace(config, run_dir=tmp_path / "whole"))
    np.testing.assert_allclose(scores(complete_model, data_dir), expected, rtol=1e-4)
    graph = (complete_model / "saved_model.pb").read_bytes()
    assert b"CPU:1" not in graph

    with monkeypatch.context() as patch:
        stop_after(patch, 40)
        with pytest.raises(KeyboardInterrupt):
            train(config)
    with pytest.raises(InputError, match="with other settings: batch_size: 64 there"):
        train(replace(config, batch_size=32))
    capsys.readouterr()
    exported = train(replace(alone, run_dir=config.run_dir))
    assert "Going on after step 40 " in capsys.readouterr().out
    np.testing.assert_allclose(scores(exported, data_dir), expected, rtol=1e-4)

    again = export(ExportCommand(tmp_path / "whole", tmp_path / "again"))
    np.testing.assert_allclose(
        scores(again, data_dir), scores(complete_model, data_dir), rtol=1e-5
    )
