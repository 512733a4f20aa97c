"""How compared models were trained, in a few sentences."""

from tfdlrm.comparison.settings import CompareCommand
from tfdlrm.data.schema import FeatureSchema


def describe_training(command: CompareCommand, schema: FeatureSchema) -> str:
    """Return the sentences above the table: rows, passes, and choices."""
    sizes = {item.name: item.candidates[0].batch_size for item in command.contenders}
    if len(set(sizes.values())) == 1:
        batches = f"batch size {next(iter(sizes.values()))}, the same order of rows"
    else:
        listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
        batches = f"batch sizes ({listed}), the same rows"
    return (
        f"{schema.num_rows('train'):,} training rows of {command.data_dir} "
        f"({schema.dialect} dialect), {command.num_epochs} epoch(s), {batches} for "
        f"all. {' '.join(_choices(command))}{_reachable(schema)}"
    )


def _choices(command: CompareCommand) -> list[str]:
    """Return how the settings of the models were chosen."""
    sentences = []
    own = [item for item in command.contenders if item.has_own_settings]
    others = [item for item in command.contenders if not item.has_own_settings]
    if others:
        rates = [f"{c.optimizer.learning_rate:g}" for c in others[0].candidates]
        if len(rates) == 1:
            sentences.append(f"Learning rate: {rates[0]}.")
        else:
            sentences.append(
                f"Learning rate: the best of {len(rates)} ({', '.join(rates)}) by "
                "validation log loss with the first seed, the same number for each."
            )
    if own:
        names = ", ".join(item.name for item in own)
        sentences.append(f"With all settings of a file, and no choice here: {names}.")
    early = [item.name for item in own if item.candidates[0].early_stopping is not None]
    if early:
        sentences.append(f"With early stopping: {', '.join(early)}.")
    return sentences


def _reachable(schema: FeatureSchema) -> str:
    if not schema.reachable:
        return ""
    measures = [
        f"AUC {values['auc']:.4f}, log loss {values['log_loss']:.4f} on {split} rows"
        for split, values in schema.reachable.items()
        if split in schema.held_out_splits
    ]
    return f" The model that drew the labels reaches {'; '.join(measures)}."
