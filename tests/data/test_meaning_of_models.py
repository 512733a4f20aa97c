"""Models are measured on data sets that mean what theirs does, and on no others."""

import re
import shutil

import pytest

from tests.support.shop import (
    ANOTHER,
    as_earlier_release,
    evaluate,
    write_manifest_again,
)
from tfdlrm.base.errors import InputError
from tfdlrm.data.meaning import (
    Meaning,
)
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.data.vocabulary_contents import (
    with_contents,
)
from tfdlrm.exporting.scorer import check_columns, load_scorer
from tfdlrm.importance import ImportanceCommand, importance


@pytest.mark.slow_variants
@pytest.mark.parametrize("use", ["evaluate", "importance"])
@pytest.mark.parametrize(
    ("data", "difference"),
    [("other", ANOTHER), ("zero", "positive is '1' there, '0' here"), ("hashed", "di")],
)
def test_a_model_is_not_measured_on_ids_that_mean_something_else(
    shop, tmp_path, use, data, difference
):
    with pytest.raises(InputError) as error:
        if use == "evaluate":
            evaluate(shop / "model", shop / data)
        else:
            importance(ImportanceCommand(shop / "model", shop / data, tmp_path / "i"))
    assert difference in str(error.value)
    assert f"{shop / data} has other columns, ids or labels than" in str(error.value)
    example = "; id 2 of country is 'de' there, 'it' here; use"
    assert (example in str(error.value)) == (data == "other")
    assert "\n" not in str(error.value)


@pytest.mark.slow_variants
@pytest.mark.parametrize("data", ["data", "one", "rows", "moved"])
def test_data_that_means_the_same_is_measured_without_a_word(
    shop, tmp_path, data, capsys
):
    path = shop / data
    if data == "moved":
        path = shutil.copytree(shop / "data", tmp_path / "elsewhere")
    evaluate(shop / "model", path)
    printed = capsys.readouterr().out
    assert "not checked" not in printed
    # The chance of each country is what there is to learn.
    auc = float(printed.splitlines()[-1].split("|")[5])
    assert auc > 0.75


@pytest.mark.slow
def test_a_model_of_an_earlier_release_is_compared_by_its_vocabularies(
    shop, tmp_path, capsys
):
    model = shutil.copytree(shop / "model" / "1", tmp_path / "model" / "1")
    as_earlier_release(model / "assets.extra" / "schema.json")
    write_manifest_again(model)
    evaluate(model, shop / "data")
    with pytest.raises(InputError, match=re.escape(ANOTHER)):
        evaluate(model, shop / "other")
    assert "not checked" not in capsys.readouterr().out
    shutil.rmtree(model / "assets.extra" / "vocabulary")
    write_manifest_again(model)
    evaluate(model, shop / "data")
    (line,) = (
        line for line in capsys.readouterr().out.splitlines() if "not checked" in line
    )
    assert line.startswith(f"{model} has no vocabularies: ")


def test_a_data_set_of_an_earlier_release_is_compared_by_its_vocabularies(
    shop, tmp_path
):
    data = shutil.copytree(shop / "data", tmp_path / "data")
    other_data = shutil.copytree(shop / "other", tmp_path / "other")
    for directory in (data, other_data):
        as_earlier_release(directory / "schema.json")
        assert not FeatureSchema.load(directory).vocabulary_contents
    evaluate(shop / "model", data)
    with pytest.raises(InputError, match=re.escape(ANOTHER)):
        evaluate(shop / "model", other_data)


def test_a_model_says_what_its_ids_mean(shop):
    schema = load_scorer(shop / "model").schema
    assert Meaning.of(schema) == Meaning.of(FeatureSchema.load(shop / "data"))
    assert Meaning.of(schema).is_known


def test_a_data_set_without_vocabularies_is_not_called_another(shop, tmp_path, capsys):
    data = shutil.copytree(shop / "data", tmp_path / "data")
    shutil.rmtree(data / "vocabulary")
    as_earlier_release(data / "schema.json")
    schema = with_contents(FeatureSchema.load(data), data)
    check_columns(schema, schema, data, data)
    assert f"{data} has no vocabularies" in capsys.readouterr().out
