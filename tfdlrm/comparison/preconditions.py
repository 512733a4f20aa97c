"""What must hold before models are compared: of the data set, and of the output."""

import json
from pathlib import Path

from tfdlrm.base import directories, storage
from tfdlrm.base.errors import InputError
from tfdlrm.comparison.settings import CompareCommand
from tfdlrm.data.meaning import Meaning, read_meaning
from tfdlrm.data.meaning_differences import differences, summarize
from tfdlrm.data.one_class import require_both_labels
from tfdlrm.data.schema import FeatureSchema


def check_splits(command: CompareCommand, schema: FeatureSchema) -> None:
    """Refuse a data set without the rows that a comparison needs.

    Raises:
        InputError: If it is such a data set.
    """
    if not schema.num_rows("train"):
        raise InputError(f"{command.data_dir} has no train rows: prepare it with some")
    require_both_labels(command.data_dir, schema)
    if not schema.held_out_splits:
        raise InputError(
            f"{command.data_dir} holds out no rows to measure models on: prepare it "
            "with some"
        )
    chooses = any(len(contender.candidates) > 1 for contender in command.contenders)
    if not schema.num_rows("validation") and chooses:
        raise InputError(
            f"{command.data_dir} has no validation rows to choose a learning rate by: "
            "prepare it with some, or give one learning rate"
        )


def keep_to_one_data_set(output: Path, schema: FeatureSchema) -> None:
    """Refuse an output directory whose runs learned from other rows."""
    fingerprint, meaning = output / "data_set.txt", output / "meaning.json"
    if not fingerprint.exists():
        for name in ("schema.json", "config.yaml", "saved_model.pb"):
            if (output / name).exists():
                raise InputError(
                    f"output {output} has a {name}: it is a data set, a run or a "
                    "model, expected a new directory or one of a comparison"
                )
        directories.make_directory("output", output)
        storage.replace_json(meaning, Meaning.of(schema).to_json())
        storage.replace_text(fingerprint, schema.fingerprint)
        return
    reasons: list[str] = []
    if meaning.exists():  # earlier releases did not write it
        old_meaning = read_meaning(meaning.read_bytes())
        reasons = differences(old_meaning, Meaning.of(schema))
    if not reasons and fingerprint.read_text(encoding="utf-8") != schema.fingerprint:
        reasons = ["its shards have other checksums"]
    if reasons:
        raise InputError(
            f"{output} compares runs on another data set: {summarize(reasons)}; give "
            "another --output"
        )


def keep_report(command: CompareCommand) -> None:
    """Refuse to replace a report that compares models which are not compared now."""
    path = command.output / "report.json"
    try:
        contenders = json.loads(path.read_bytes())
        names = [contender["name"] for contender in contenders]
    except (OSError, ValueError, TypeError, KeyError):
        return  # there is none, or it is damaged
    compared = {contender.label for contender in command.contenders}
    missing = [name for name in names if name not in compared]
    if missing:
        raise InputError(
            f"{path} also compares {'; '.join(missing)}: add these to --models and "
            "--optimizers, since their runs are not trained again, or give another "
            "--output"
        )
