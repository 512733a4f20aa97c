"""`python -m tfdlrm.export`: a SavedModel from a finished training run."""

from dataclasses import dataclass
from pathlib import Path

from tfdlrm.command_line import parse, run_command
from tfdlrm.errors import InputError
from tfdlrm.run_directory import RunDirectory
from tfdlrm.schema import FeatureSchema


@dataclass(frozen=True)
class ExportCommand:
    """Write the next version of a SavedModel for TF Serving.

    Args:
        run_dir: Directory of a finished run of `tfdlrm.train`.
        export_dir: Directory of the model's versions.
    """

    run_dir: Path
    export_dir: Path = Path("saved_models/dlrm")


def export(command: ExportCommand) -> Path:
    """Export the run's weights and return the new version's directory.

    Raises:
        InputError: If the run or the data set that it was trained on is not there.
    """
    run = RunDirectory(command.run_dir)
    config = run.load_config()
    if config.data_dir is None:
        raise InputError(f"{run.config_file} has no data_dir: add the one of the run")
    schema = FeatureSchema.load(config.data_dir)

    from tfdlrm.checkpoints import load_weights
    from tfdlrm.models import DLRM
    from tfdlrm.serving.saved_model import export_model

    model = DLRM.from_schema(schema, config.model)
    load_weights(model, run.checkpoint_prefix)
    return export_model(model, schema, config.data_dir, command.export_dir)


def main() -> None:
    exported = export(parse(ExportCommand, "tfdlrm.export"))
    print(f"Model: {exported}")


if __name__ == "__main__":
    run_command(main)
