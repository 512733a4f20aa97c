"""Run the page on DataFrames as a reader would: its code, then its commands."""

import pandas as pd
import pytest

from tests.docs.test_pages import blocks, commands
from tests.support.processes import run_command_line

PAGE = "docs/from_dataframes.md"


def test_a_frame_becomes_a_served_model_in_ten_lines():
    lines = [line for line in blocks(PAGE, "python")[1].splitlines() if line]
    assert len(lines) <= 10


@pytest.mark.slow
def test_the_code_and_the_commands_of_the_page_run(tmp_path, capsys, monkeypatch):
    pytest.importorskip("sklearn")
    names: dict[str, object] = {}
    monkeypatch.chdir(tmp_path)
    for code in blocks(PAGE, "python"):
        exec(compile(code, PAGE, "exec"), names)
    output = capsys.readouterr().out
    assert "multi-hot    lists of text, 3 values with an id" in output
    frame = names["clicks"]
    assert isinstance(frame, pd.DataFrame)
    frame.to_parquet(tmp_path / "clicks.parquet")
    for command in commands(PAGE):
        result = run_command_line(command, cwd=tmp_path)
        assert result.returncode == 0, f"{command}\n{result.stderr}"
    lines = (tmp_path / "predictions.csv").read_text().splitlines()
    assert len(lines) == 1 + len(frame)
    assert (tmp_path / "saved_models" / "own" / "1" / "saved_model.pb").is_file()
