"""The versions that a stream has exported, and those that it removes."""

import json

import pytest

from tfdlrm.streaming.exports import KEPT_EXPORTS, StreamExports


@pytest.fixture
def versions(tmp_path):
    """Five versions, of which the stream is to export the last four."""
    paths = [tmp_path / "clicks" / str(number) for number in range(1, 6)]
    for path in paths:
        path.mkdir(parents=True)
    return paths


def there(versions):
    return [path.name for path in versions if path.exists()]


def test_the_newest_are_kept_over_restarts_and_others_are_not_touched(
    versions, tmp_path
):
    for version in versions[1:]:
        StreamExports(tmp_path).add(version)
    assert there(versions) == ["1", "3", "4", "5"]
    names = json.loads((tmp_path / "exports.json").read_text())
    assert names == [str(path) for path in versions[-KEPT_EXPORTS:]]


def test_a_version_counts_once(versions, tmp_path):
    for version in (versions[0], versions[0]):
        StreamExports(tmp_path).add(version)
    assert json.loads((tmp_path / "exports.json").read_text()) == [str(versions[0])]


@pytest.mark.parametrize("damage", ["another name", "no JSON", "not UTF-8"])
def test_a_damaged_list_removes_no_version_of_others(
    versions, tmp_path, capsys, damage
):
    for version in versions[1:4]:
        StreamExports(tmp_path).add(version)
    path = tmp_path / "exports.json"
    contents = {
        "another name": path.read_bytes().replace(b"/2", b"/1"),
        "no JSON": b"[",
        "not UTF-8": b"\xff",
    }
    path.write_bytes(contents[damage])
    StreamExports(tmp_path).add(versions[4])
    assert "exports.json is damaged" in capsys.readouterr().out
    assert there(versions) == ["1", "2", "3", "4", "5"]
    assert json.loads(path.read_text()) == [str(versions[4])]


def test_a_list_of_before_a_kill_is_taken(versions, tmp_path, capsys):
    StreamExports(tmp_path).add(versions[0])
    old_text = (tmp_path / "exports.json").read_text()
    StreamExports(tmp_path).add(versions[1])
    (tmp_path / "exports.json").write_text(old_text)
    StreamExports(tmp_path).add(versions[2])
    names = json.loads((tmp_path / "exports.json").read_text())
    assert names == [str(versions[0]), str(versions[2])]
    assert capsys.readouterr().out == ""


def test_a_list_of_an_earlier_release_is_taken(versions, tmp_path):
    (tmp_path / "exports.json").write_text(json.dumps([str(versions[0])]))
    StreamExports(tmp_path).add(versions[1])
    names = json.loads((tmp_path / "exports.json").read_text())
    assert names == [str(versions[0]), str(versions[1])]
