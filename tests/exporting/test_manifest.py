"""A version whose files differ from those that were exported is refused."""

import hashlib
import json
import shutil

import numpy as np
import pytest

from tests.support.served_model import save_scores
from tests.support.small_models import schema
from tfdlrm.base.errors import InputError
from tfdlrm.config.models import LogisticRegressionConfig
from tfdlrm.evaluate import EvaluateCommand, evaluate_model
from tfdlrm.exporting.manifest import MANIFEST_FILE, check_version
from tfdlrm.exporting.saved_model import export_model
from tfdlrm.exporting.scorer import load_scorer
from tfdlrm.exporting.versions import is_whole, new_version
from tfdlrm.importance import ImportanceCommand, importance
from tfdlrm.models import build_model
from tfdlrm.predict import PredictCommand, predict
from tfdlrm.serving.errors import ServingError
from tfdlrm.serving.metrics import Metrics
from tfdlrm.serving.models import Models
from tfdlrm.serving.policies import ModelSettings, VersionPolicy
from tfdlrm.serving.servable import Servable


def files_of(version):
    """Return all files below a directory, relative, in order of their names."""
    paths = sorted(path for path in version.rglob("*") if path.is_file())
    return [str(path.relative_to(version)) for path in paths]


def flip(path, bit):
    contents = bytearray(path.read_bytes())
    contents[bit // 8] ^= 1 << bit % 8
    path.write_bytes(contents)


@pytest.fixture
def version(exported, tmp_path):
    """A copy of an exported version, the first of a directory."""
    return shutil.copytree(exported, tmp_path / "clicks" / "1")


def test_every_file_of_a_version_is_in_its_manifest(exported):
    manifest = json.loads((exported / MANIFEST_FILE).read_text())
    expected = {
        name: {
            "bytes": (exported / name).stat().st_size,
            "sha256": hashlib.sha256((exported / name).read_bytes()).hexdigest(),
        }
        for name in files_of(exported)
        if name != MANIFEST_FILE
    }
    assert manifest["files"] == expected
    assert {"saved_model.pb", "variables/variables.index"} <= expected.keys()
    assert {"assets/C1.uint32", "assets.extra/vocabulary/C1.parquet"} <= expected.keys()
    assert check_version(exported)


def test_one_bit_of_any_file_is_noticed_and_the_file_is_named(version):
    rng = np.random.default_rng(0)
    for name in files_of(version):
        path = version / name
        good = path.read_bytes()
        flip(path, int(rng.integers(8 * len(good))))
        with pytest.raises(InputError, match=f"^{path} "):
            check_version(version)
        path.write_bytes(good)
    assert check_version(version)


def test_what_was_expected_and_found_is_said(version):
    path = version / "assets" / "C1.uint32"
    good = path.read_bytes()
    expected = hashlib.sha256(good).hexdigest()
    flip(path, 9)
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(
        InputError, match=f"has the SHA-256 {checksum}, expected {expected}"
    ):
        check_version(version)
    assert expected in _message(version)
    path.write_bytes(good[:-1])
    assert f"has {len(good) - 1:,} bytes, expected {len(good):,}: " in _message(version)
    path.unlink()
    assert f"is missing, expected {len(good):,} bytes" in _message(version)


def _message(version):
    with pytest.raises(InputError) as refused:
        check_version(version)
    return str(refused.value)


def test_files_of_others_are_let_be(version):
    (version / "README.txt").write_text("a note")
    assert check_version(version)


@pytest.mark.parametrize("backwards", [False, True])
def test_a_version_copied_file_by_file_is_whole_with_the_last_one(
    exported, tmp_path, backwards
):
    copy = tmp_path / "1"
    names = files_of(exported)[:: -1 if backwards else 1]
    for name in names:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        half = (exported / name).read_bytes()[: (exported / name).stat().st_size // 2]
        for contents in (half, (exported / name).read_bytes()):
            assert not _is_taken(copy)
            (copy / name).write_bytes(contents)
    assert _is_taken(copy)


def _is_taken(version):
    try:
        return is_whole(version) and check_version(version)
    except InputError:
        return False


def test_damage_stops_every_command_that_loads_a_version(
    version, small_config, raw_file, tmp_path
):
    flip(version / "assets.extra" / "vocabulary" / "C2.parquet", 100)
    data, output = small_config.data_dir, tmp_path / "out"
    for run in (
        lambda: predict(PredictCommand(version, raw_file, output)),
        lambda: evaluate_model(EvaluateCommand(version.parent, data)),
        lambda: importance(ImportanceCommand(version, data, output)),
    ):
        with pytest.raises(InputError, match=r"C2\.parquet has the SHA-256"):
            run()
    assert not output.exists()


def test_a_server_refuses_a_damaged_version_and_keeps_the_one_it_serves(tmp_path):
    with new_version(tmp_path / "scores") as (version, directory):
        save_scores(directory)
    settings = ModelSettings("scores", version.parent, VersionPolicy())
    models = Models([settings], Metrics())
    models.load()
    model = models.model("scores")
    name = "variables/variables.data-00000-of-00001"
    damaged = shutil.copytree(version, version.parent / "_2")
    flip(damaged / name, 3)
    damaged.rename(version.parent / "2")
    model.refresh()
    assert model.available == [1]
    assert f"2/{name} has the SHA-256" in model.statuses[2].error.message
    shutil.copy(version / name, version.parent / "2" / name)
    model.refresh()
    assert model.available == [2]


def test_a_copy_that_lacks_its_manifest_is_not_served(version):
    (version / MANIFEST_FILE).unlink()
    with pytest.raises(ServingError, match=r"lacks assets\.extra/manifest\.json"):
        Servable("clicks", 1, version)


def test_a_model_of_others_is_served_with_a_line(tmp_path, caplog):
    save_scores(tmp_path / "1")
    servable = Servable("scores", 1, tmp_path / "1")
    assert servable.signatures
    assert f"{tmp_path / '1'} has no assets.extra/manifest.json" in caplog.text
    assert caplog.text.count("cannot be checked") == 1


def test_a_model_of_an_earlier_release_is_scored_with_a_line(
    tmp_path, capsys, monkeypatch
):
    model = build_model(schema(), LogisticRegressionConfig())
    exported = export_model(model, schema(), tmp_path / "data", tmp_path / "model")
    version = shutil.copytree(exported, tmp_path / "earlier" / "1")
    capsys.readouterr()
    monkeypatch.setattr("tfdlrm.exporting.manifest.MARK", "no mark of earlier releases")
    (version / MANIFEST_FILE).unlink()
    load_scorer(version)
    printed = capsys.readouterr()
    assert printed.err.count("cannot be checked for damage") == 1
    assert printed.out == ""
    monkeypatch.undo()
    load_scorer(exported)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is damaged"),
        ('{"format_version": 1}', "is damaged"),
        ('{"format_version": 1, "files": []}', "is damaged"),
        ('{"format_version": 2, "files": {}}', "has format_version 2, this release"),
    ],
)
def test_a_manifest_that_is_none_is_refused(tmp_path, text, reason):
    (tmp_path / MANIFEST_FILE).parent.mkdir()
    (tmp_path / MANIFEST_FILE).write_text(text)
    with pytest.raises(InputError, match=reason):
        check_version(tmp_path)


def test_files_that_cannot_be_read_are_a_refusal(version, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("tfdlrm.exporting.manifest.file_sha256", refuse)
    with pytest.raises(InputError, match=r"cannot be read: .*Permission denied"):
        check_version(version)


def test_a_version_of_any_kind_gets_its_manifest(tmp_path):
    with new_version(tmp_path / "clicks") as (target, directory):
        directory.mkdir()
        (directory / "model.onnx").write_bytes(b"graph")
    assert check_version(target)


def test_no_version_follows_the_highest(tmp_path):
    highest = tmp_path / str(2**63 - 1)
    highest.mkdir()
    with (
        pytest.raises(InputError, match="the highest that there can be"),
        new_version(tmp_path),
    ):
        pass
    assert list(tmp_path.iterdir()) == [highest]


def test_what_killed_exports_left_is_removed(tmp_path):
    for name in (".3.partial", ".1.removed", ".git", "notes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    with new_version(tmp_path) as (_, directory):
        directory.mkdir()
        (directory / "saved_model.pb").write_bytes(b"graph")
    assert {path.name for path in tmp_path.iterdir()} == {".git", "notes", "1"}
