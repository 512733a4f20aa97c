"""`python -m tfdlrm.rolling`: score each day by yesterday's model, then learn it."""

from tfdlrm.base.command_line import parse, run_command
from tfdlrm.config.help_subjects import ROLLING
from tfdlrm.config.rolling import RollingConfig
from tfdlrm.daily.roll import roll


def main() -> None:
    config = parse(
        RollingConfig, "tfdlrm.rolling", several=("raw", "data_dirs"), subjects=ROLLING
    )
    print(f"Report: {roll(config)}")


if __name__ == "__main__":
    run_command(main)
