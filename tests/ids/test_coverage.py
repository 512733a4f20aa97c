import json
from collections import Counter

import numpy as np
import pytest
from rich.console import Console

from pipelines.ids.coverage import CountedFeature, Coverage, FeatureCoverage
from pipelines.ids.coverage_report import as_table, read_coverage, write_coverage
from pipelines.prepare import prepare
from tests.support import pictures
from tests.support.raw_rows import make_rows, read_plainly, write_rows
from tfdlrm.config import PrepareConfig

ROWS = make_rows(700)


@pytest.fixture(autouse=True, scope="module")
def drawn_pictures(no_pictures):
    """Draw the pictures, which these tests check."""
    with pytest.MonkeyPatch.context() as patch:
        pictures.draw(patch)
        yield


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("coverage")
    raw = write_rows(directory / "train.txt", ROWS)
    prepare([raw], directory / "data", PrepareConfig(min_frequency=8))
    return directory / "data"


def test_coverage_is_what_plain_python_counts(directory):
    categories = read_plainly(ROWS)[2]
    parts = {
        "train": categories[:600],
        "validation": categories[600:650],
        "test": categories[650:],
    }
    for number, feature in enumerate(read_coverage(directory)):
        counts = Counter(row[number] for row in parts["train"])
        missing = counts.pop(None)
        kept_values = {value for value in counts if counts[value] >= 8}
        assert (feature.distinct, feature.kept) == (len(counts), len(kept_values))
        assert feature.missing["train"] == missing / 600
        for split, rows in parts.items():
            share_with_id = sum(row[number] in kept_values for row in rows) / len(rows)
            empty = sum(row[number] is None for row in rows) / len(rows)
            assert feature.coverage[split] == pytest.approx(share_with_id)
            assert feature.missing[split] == pytest.approx(empty)
            assert feature.unknown[split] == pytest.approx(1 - share_with_id - empty)


def test_the_report_is_a_page_with_a_picture(directory):
    page = (directory / "coverage.md").read_text()
    assert page.startswith("# Coverage (default dialect)")
    assert page.count("\n| C") == 26
    assert "![Coverage of each feature](coverage.png)" in page
    assert (directory / "coverage.png").read_bytes().startswith(b"\x89PNG")
    report = json.loads((directory / "coverage.json").read_text())
    assert report["dialect"] == "default"


def test_the_facebook_dialect_knows_every_value(tmp_path):
    raw = write_rows(tmp_path / "train.txt", ROWS)
    prepare([raw], tmp_path / "data", PrepareConfig(dialect="facebook"))
    categories = read_plainly(ROWS)[2]
    for number, feature in enumerate(read_coverage(tmp_path / "data")):
        values = [row[number] or 0 for row in categories]
        assert feature.distinct == feature.kept == len(set(values))
        assert set(feature.unknown.values()) == {0}
        assert feature.missing["train"] == values[:600].count(0) / 600


def test_the_hash_dialect_tells_what_it_knows(tmp_path):
    raw = write_rows(tmp_path / "train.txt", ROWS)
    prepare([raw], tmp_path / "data", PrepareConfig(dialect="hash", hash_buckets=9))
    categories = read_plainly(ROWS)[2]
    for number, feature in enumerate(read_coverage(tmp_path / "data")):
        values = [row[number] for row in categories]
        assert feature.distinct is feature.kept is None
        assert feature.missing["train"] == values[:600].count(None) / 600
    page = (tmp_path / "data" / "coverage.md").read_text()
    assert "| C1 | - | - |" in page


def new_coverage(num_features: int) -> Coverage:
    features = [
        CountedFeature(f"a_long_name_{number}", 10**8, 10**8, 10**9, 0, 1)
        for number in range(num_features)
    ]
    return Coverage(features)


def test_counting_goes_on_from_its_own_json():
    ids = np.random.default_rng(0).integers(4, size=(100, 3)).astype(np.int32)
    single_run, first_run, second_run = (
        new_coverage(3),
        new_coverage(3),
        new_coverage(3),
    )
    single_run.add("train", single_run.count(ids))
    first_run.add("train", first_run.count(ids[:30]))
    second_run.restore(json.loads(json.dumps(first_run.to_json())))
    second_run.add("train", second_run.count(ids[30:]))
    assert second_run.of_features() == single_run.of_features()
    assert single_run.of_features()[0].unknown == {"train": np.mean(ids[:, 0] == 0)}


def table_lines(features: list[FeatureCoverage]) -> list[str]:
    console = Console(width=80, record=True, quiet=False, file=None)
    with console.capture() as capture:
        console.print(as_table(features, "default"))
    return capture.get().splitlines()


def test_the_table_fits_a_screen_and_shows_the_worst_of_many():
    coverage = new_coverage(100)
    ids = np.full((100, 100), 2, np.int32)
    ids[:50, 60] = 0
    coverage.add("test", coverage.count(ids))
    lines = table_lines(coverage.of_features())
    assert max(map(len, lines)) <= 80
    assert "the lowest 30 of 100 features" in lines[0]
    names = [line.split()[0] for line in lines if line.startswith(" a_long")]
    assert "a_long_name_60".startswith(names[0].rstrip("…"))
    assert len(names) == 30


@pytest.mark.parametrize("splits", [("train",), ("train", "test")])
def test_splits_without_rows_are_left_out(tmp_path, splits):
    coverage = new_coverage(2)
    for split in splits:
        coverage.add(split, coverage.count(np.array([[0, 1], [2, 3]], np.int32)))
    write_coverage(coverage, "default", tmp_path)
    assert set(read_coverage(tmp_path)[0].coverage) == set(splits)
    assert (tmp_path / "coverage.png").stat().st_size > 1000
    assert "-" in (tmp_path / "coverage.md").read_text()


def test_a_log_without_categories_has_an_empty_report(tmp_path):
    write_coverage(new_coverage(0), "default", tmp_path)
    assert read_coverage(tmp_path) == []
    assert not (tmp_path / "coverage.png").exists()


def test_names_with_markup_are_shown_as_they_are(tmp_path):
    names = ["[red]x", "[/]", "a|b", "two\nlines", "\x1b[31m", "日付", "y" * 99]
    features = [CountedFeature(name, 4, 2, 3, 0, 1) for name in names]
    coverage = Coverage(features)
    coverage.add("train", coverage.count(np.full((2, len(names)), 2, np.int32)))
    lines = table_lines(coverage.of_features())
    shown_names = [line.split("  ")[0].strip() for line in lines[4 : 4 + len(names)]]
    expected = ["[red]x", "[/]", "a|b", r"two\nlines", r"\x1b[31m", "日付"]
    assert shown_names == [*expected, f"{'y' * 8}…{'y' * 7}"]
    assert all("100.00%" in line for line in lines[4 : 4 + len(names)])
    write_coverage(coverage, "default", tmp_path)
    page = (tmp_path / "coverage.md").read_text().splitlines()
    assert [
        line.count("|") - line.count(r"\|") for line in page if line[:1] == "|"
    ] == ([9] * (2 + len(names)))
