"""`python -m tfdlrm.tune`: search for settings of training by the validation rows."""

from tfdlrm.base.command_line import parse, run_command
from tfdlrm.config.help_subjects import TUNE
from tfdlrm.config.tuning import TuneConfig


def main() -> None:
    config = parse(TuneConfig, "tfdlrm.tune", subjects=TUNE)
    from tfdlrm.tuning.search import search  # not for --help

    search(config)


if __name__ == "__main__":
    run_command(main)
