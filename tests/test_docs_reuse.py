"""The programs of docs/reuse.md do what they say."""

import pytest

from tests.test_docs import blocks


@pytest.mark.parametrize("number", range(len(blocks("docs/reuse.md", "python"))))
def test_a_program_runs(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    program = blocks("docs/reuse.md", "python")[number]
    exec(program, {})
