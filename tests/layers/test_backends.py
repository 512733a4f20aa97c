"""The layers on the other backends of Keras, each in a process of its own."""

from importlib.util import find_spec

import pytest

from tests.support.processes import ROOT, run_command_line


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_layers_work_on_other_backends(backend, tmp_path):
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    script = ROOT / "tests" / "support" / "layers_on_backend.py"
    result = run_command_line(f"KERAS_BACKEND={backend} python {script} {tmp_path}")
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"the layers agree with NumPy on {backend}\n"
