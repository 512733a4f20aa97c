"""Exported models, each made when a test first asks for it."""

from functools import cache

import pytest

from tests.support.exported_cases import Case


@pytest.fixture(scope="session")
def cases(tmp_path_factory):
    """Function that returns the `Case` of a name."""
    return cache(lambda case_name: Case(case_name, tmp_path_factory.mktemp("case")))


@pytest.fixture(scope="session")
def config(data_dir, tmp_path_factory):
    """Settings of a small run of a DLRM, which is trained and exported."""
    from tfdlrm.config import TrainConfig
    from tfdlrm.config.models import DLRMConfig
    from tfdlrm.train import train

    directory = tmp_path_factory.mktemp("trained")
    config = TrainConfig(
        data_dir=data_dir,
        model=DLRMConfig(embedding_dim=4, bottom_mlp_units=(8,), top_mlp_units=(8,)),
        run_dir=directory / "run",
        export_dir=directory / "model",
    )
    train(config)
    return config
