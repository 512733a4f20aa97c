"""Commands find data sets that are damaged, incomplete or those of another model."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tfdlrm.base.errors import InputError
from tfdlrm.data.reading import damage_named, read_split
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.evaluate import EvaluateCommand, evaluate_model
from tfdlrm.train import train


def test_damaged_data_is_found_before_a_run_begins(small_config, tmp_path):
    damaged = tmp_path / "data"
    shutil.copytree(small_config.data_dir, damaged)
    (damaged / FeatureSchema.load(damaged).shards[-1].path).unlink()
    run = tmp_path / "run"
    with pytest.raises(InputError, match="is missing"):
        train(replace(small_config, data_dir=damaged, run_dir=run))
    assert not run.exists()


def test_a_shard_that_may_not_be_read_is_named_before_a_run_begins(
    small_config, tmp_path, monkeypatch
):
    schema = FeatureSchema.load(small_config.data_dir)
    shard = small_config.data_dir / schema.shards[-1].path
    open_file = Path.open

    def refuse(self, *args, **kwargs):
        if self == shard:
            raise PermissionError(13, "Permission denied", str(self))
        return open_file(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    run = tmp_path / "run"
    message = f"{shard} cannot be read: Permission denied; expected a shard"
    with pytest.raises(InputError, match=re.escape(message)):
        train(replace(small_config, run_dir=run))
    assert not run.exists()


def test_a_shard_that_is_gone_since_the_run_began_is_named(small_config, tmp_path):
    copy = shutil.copytree(small_config.data_dir, tmp_path / "data")
    schema = FeatureSchema.load(copy)
    batches = read_split(copy, schema, "train", 64)
    shard = copy / schema.split_shards("train")[-1].path
    shard.unlink()
    with (
        pytest.raises(
            InputError, match=f"{re.escape(str(shard))} cannot be read: No such"
        ),
        damage_named(copy, schema),
    ):
        list(batches)


def damaged_copy(data_dir, copy, split):
    """Return a data set with a wrong bit in a shard of a split, and that shard."""
    shutil.copytree(data_dir, copy)
    shard = copy / FeatureSchema.load(copy).split_shards(split)[0].path
    contents = bytearray(shard.read_bytes())
    contents[-1] ^= 1
    shard.write_bytes(contents)
    return copy, shard


@pytest.mark.slow_variants
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_record_found_damaged_in_a_run_is_named(small_config, tmp_path, split):
    damaged, shard = damaged_copy(small_config.data_dir, tmp_path / "data", split)
    run, export = tmp_path / "run", tmp_path / "export"
    with pytest.raises(InputError, match=rf"{re.escape(str(shard))}, record \d+: "):
        train(replace(small_config, data_dir=damaged, run_dir=run, export_dir=export))
    assert not export.exists()


@pytest.mark.slow
def test_a_damaged_record_is_named_when_a_model_is_measured(
    exported, small_config, tmp_path
):
    damaged, shard = damaged_copy(small_config.data_dir, tmp_path / "data", "test")
    with pytest.raises(InputError, match=rf"{re.escape(str(shard))}, record \d+: "):
        evaluate_model(EvaluateCommand(exported, damaged))


@pytest.mark.slow
def test_a_model_of_another_data_set_is_refused(exported, small_config, tmp_path):
    other_data = tmp_path / "data"
    shutil.copytree(small_config.data_dir, other_data)
    schema = FeatureSchema.load(other_data)
    replace(schema, dense_features=schema.dense_features[:-1]).save(other_data)
    with pytest.raises(InputError, match="dense columns: I13 is there, and not here"):
        evaluate_model(EvaluateCommand(exported, other_data))
