"""`python -m tfdlrm.collect`: rows of logged requests, with labels, as a log."""

from dataclasses import dataclass
from pathlib import Path

from pipelines.logs.scored_rows import scored_rows
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.errors import InputError
from tfdlrm.base.output_file import check_output, messages_apart


@dataclass(frozen=True)
class CollectCommand:
    """Write the rows of logged requests as a log, once their labels are known.

    The log has the format that the model's data set was prepared from, so that
    `tfdlrm.evaluate --raw` and `pipelines.prepare` read it.

    Args:
        requests: File of logged requests, or a folder of them, as `tfdlrm.serve` writes
            them for the `logging_config` of a model.
        model: SavedModel directory, such as saved_models/dlrm/1, or the directory of
            its versions for the newest; it says what the columns of the log are.
        output_file: Log to write; `-` for standard output.
        labels: CSV or Parquet file with a column of the label's name; its other columns
            say which rows a label is for, by their values in the request. They may be
            columns of the log, or further features of `tf.train.Example`s. Rows without
            a label are left out; null writes all rows, without labels.
    """

    requests: Path
    model: Path
    output_file: Path
    labels: Path | None = None

    def __post_init__(self) -> None:
        inputs = {"requests": self.requests, "model": self.model}
        if self.labels is not None:
            inputs["labels"] = self.labels
        check_output("output_file", self.output_file, **inputs)


@dataclass
class Collected:
    """Numbers of what was collected.

    Args:
        rows: Rows written.
        unlabelled: Rows left out, since they have no label.
        requests: Logged requests.
        skipped: Requests without raw rows of this model.
    """

    rows: int = 0
    unlabelled: int = 0
    requests: int = 0
    skipped: int = 0

    def __str__(self) -> str:
        text = f"Collected {self.rows:,} rows of {self.requests:,} requests"
        if self.unlabelled:
            text += f"; {self.unlabelled:,} rows have no label"
        if self.skipped:
            text += (
                f"; {self.skipped:,} requests hold ids or other columns, not raw rows "
                "of this model"
            )
        return text


def collect(command: CollectCommand) -> Collected:
    """Write the rows of logged requests, complete or not at all.

    Raises:
        InputError: If a file cannot be used, or there is no row to write.
    """
    from tfdlrm.serving.collected_log import LogFormat, columns_of_model
    from tfdlrm.serving.logged_labels import Labels
    from tfdlrm.serving.logged_rows import PROBABILITY, LoggedRows, request_files

    columns = columns_of_model(command.model)
    labels = None
    if command.labels is not None:
        labels = Labels.read(command.labels, columns.label)
    log = LogFormat(columns, has_labels=labels is not None)
    log.check(command.output_file)
    keys = () if labels is None else labels.keys
    rows = LoggedRows(columns, [key for key in keys if key not in columns.raw_columns])
    result, absent = Collected(), set(keys)
    with scored_rows(
        "output_file", command.output_file, log.names, log.has_head
    ) as output:
        for path in request_files(command.requests):
            for frame in rows.read(path):
                if labels is not None:
                    num_rows = frame.height
                    absent -= {key for key in keys if frame[key].count()}
                    frame = labels.join(frame)
                    result.unlabelled += num_rows - frame.height
                if frame.height:
                    output.write(log.series(frame), frame[PROBABILITY], log.style)
                    result.rows += frame.height
        result.requests, result.skipped = rows.num_requests, rows.num_skipped
        if not result.rows:
            problem = f"{command.requests}: no row to write. {result}"
            if absent:
                names = ", ".join(sorted(absent))
                problem += (
                    f"; no request has a value of {names}, a column of the labels"
                )
            raise InputError(problem)
    return result


def main() -> None:
    command = parse(CollectCommand, "tfdlrm.collect")
    with messages_apart(command.output_file):
        print(f"{collect(command)}: {command.output_file}")


if __name__ == "__main__":
    run_command(main)
