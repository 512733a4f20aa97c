import pytest

from pipelines import prepare as command
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.runs.preparing import prepare


def test_a_log_becomes_a_data_set_with_settings_by_name(raw_file, tmp_path):
    schema = prepare(str(raw_file), str(tmp_path / "data"), min_frequency=3)
    expected = command.prepare(
        [raw_file], tmp_path / "expected", PrepareConfig(min_frequency=3)
    )
    assert schema == expected == FeatureSchema.load(tmp_path / "data")


def test_settings_by_name_override_the_configuration(raw_file, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(command, "prepare", lambda *arguments: calls.append(arguments))
    config = PrepareConfig(min_frequency=3, days=4)
    prepare([raw_file, str(raw_file)], tmp_path, config, days=2)
    prepare(raw_file, tmp_path, dialect="hash")
    assert [arguments[:3] for arguments in calls] == [
        ([raw_file, raw_file], tmp_path, PrepareConfig(min_frequency=3, days=2)),
        ([raw_file], tmp_path, PrepareConfig("hash")),
    ]


def test_an_output_is_needed(raw_file):
    with pytest.raises(InputError, match="output is missing, expected the data set"):
        prepare(raw_file)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"min_frequncy": 3},
            "min_frequncy is no setting of preparing; did you mean min_frequency",
        ),
        ({"min_frequency": "3"}, "min_frequency is '3', expected a whole number or N"),
        ({"on_bad_row": "warn"}, "on_bad_row is 'warn', expected 'stop' or 'skip'"),
        ({"columns": {"label": "x"}}, "columns is .*, expected a path or None"),
    ],
)
def test_a_wrong_setting_is_named(settings, message, raw_file, tmp_path):
    with pytest.raises(InputError, match=message):
        prepare(raw_file, tmp_path / "data", **settings)
