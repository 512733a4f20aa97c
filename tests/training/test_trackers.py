"""Callbacks of MLflow and Weights & Biases in a run, where they are installed."""

import pytest

from tests.support.small_runs import STEPS_PER_EPOCH, train
from tfdlrm.config import OptimizerConfig, PlateauConfig

PLATEAU = OptimizerConfig("adagrad", 0.2, schedule=PlateauConfig())


def ends_of_epochs(curves):
    """Return the validation losses and AUCs at the ends of epochs."""
    return [
        (loss, auc)
        for step, split, loss, auc in curves
        if split == "validation" and step % STEPS_PER_EPOCH == 0
    ]


def test_mlflow_has_the_validation_values_of_each_epoch(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    with mlflow.start_run() as run:
        callbacks = [mlflow.keras.MlflowCallback()]
        _, curves = train(tmp_path / "run", PLATEAU, callbacks=callbacks, epochs=3)
        mlflow.flush_async_logging()
    client = mlflow.MlflowClient()
    logged = [
        [metric.value for metric in client.get_metric_history(run.info.run_id, name)]
        for name in ("val_loss", "val_auc")
    ]
    assert list(zip(*logged, strict=True)) == ends_of_epochs(curves)
    params = client.get_run(run.info.run_id).data.params
    assert "WarmUpPlateauDecay" in params["optimizer_learning_rate"]


def test_weights_and_biases_has_the_values_of_the_last_epoch(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="Weights & Biases is not installed")
    keras = pytest.importorskip("wandb.integration.keras")
    monkeypatch.setenv("WANDB_MODE", "offline")
    with wandb.init(project="clicks", dir=tmp_path) as run:
        callbacks = [keras.WandbMetricsLogger()]
        _, curves = train(tmp_path / "run", PLATEAU, callbacks=callbacks, epochs=3)
        logged = dict(run.summary)
    assert (logged["epoch/val_loss"], logged["epoch/val_auc"]) == pytest.approx(
        ends_of_epochs(curves)[-1]
    )
    assert logged["epoch/epoch"] == 2
    assert 0 < logged["epoch/learning_rate"] <= 0.2
