"""Run the commands of docs/serving_tf_serving.md, as a reader would."""

import json

import pytest

from pipelines import synthetic
from tests.docs.test_pages import blocks, commands
from tests.support.processes import run_command_line

PAGE = "docs/serving_tf_serving.md"


@pytest.mark.slow
def test_the_commands_of_the_tf_serving_page_run(tmp_path):
    synthetic.write_raw(tmp_path / "train.txt", num_rows=20_000, seed=0)
    trained = run_command_line(
        "python -m tfdlrm.train --raw train.txt --run_dir runs/first "
        "--prepare.min_frequency 3",
        cwd=tmp_path,
    )
    assert trained.returncode == 0, trained.stderr
    outputs = {}
    for command in commands(PAGE):
        if "benchmarks" in command:
            command += " --table_scale 0.0001"
        result = run_command_line(command, cwd=tmp_path)
        assert result.returncode == 0, f"{command}\n{result.stderr}"
        outputs[command] = result.stdout
    assert len(outputs) == 4
    assert sorted(path.name for path in (tmp_path / "deployment").iterdir()) == [
        "batching_parameters.txt",
        "compose.yaml",
        "models.config",
        "monitoring.config",
    ]
    assert "| int8 " in "".join(outputs.values())
    assert (tmp_path / "saved_models" / "dlrm_int8" / "1").is_dir()


def test_the_requests_of_the_tf_serving_page_are_json():
    (request,) = blocks(PAGE, "json")
    assert json.loads(request)["signature_name"] == "raw"
    (curl,) = (block for block in blocks(PAGE, "bash") if block.startswith("curl"))
    assert json.loads(curl.split("'")[1])["signature_name"] == "classify"
