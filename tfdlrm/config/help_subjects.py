"""The order of options in `--help`: those used most, then the rest by subject."""

from tfdlrm.base.help_text import Subjects

_FIRST = "most used"

_REST_OF_TRAINING = {
    "model; for the settings of another one, add its --model.name to --help": (
        "model.",
    ),
    "optimizer": ("optimizer.",),
    "training": (
        "early_stopping.",
        "evaluations_per_epoch",
        "seed",
        "ensemble",
        "init_from",
        "allow_one_class",
        "allow_other_columns",
    ),
    "what the report shows": ("baselines", "weight_histograms", "profile_steps"),
    "devices, precision and speed": (
        "strategy",
        "tables",
        "precision",
        "tf32",
        "steps_per_execution",
    ),
    "checkpoints": ("checkpoints.",),
    "preparing a raw log": ("prepare.",),
}

TRAIN: Subjects = {
    _FIRST: (
        "data_dir",
        "raw",
        "prepare.columns",
        "run_dir",
        "export_dir",
        "model.name",
        "optimizer.learning_rate",
        "batch_size",
        "epochs",
        "early_stopping.patience",
    ),
    **_REST_OF_TRAINING,
}

PLAN: Subjects = {
    _FIRST: (
        "data_dir",
        "vocabulary_sizes",
        "rows",
        "model.name",
        "model.embedding_dim",
        "optimizer.name",
        "batch_size",
        "epochs",
        "memory",
        "device_memory",
    ),
    "machine": ("num_devices", "samples_per_second"),
    **_REST_OF_TRAINING,
}

ROLLING: Subjects = {
    _FIRST: (
        "raw",
        "data_dirs",
        "prepare.columns",
        "output",
        "export_dir",
        "compare",
        "keep",
        "forget_days",
        "model.name",
        "epochs",
    ),
    "one day's training": ("batch_size",),
    "of tfdlrm.train only": ("data_dir", "run_dir"),
    **_REST_OF_TRAINING,
}

TUNE: Subjects = {
    _FIRST: (
        "data_dir",
        "space",
        "trials",
        "output",
        "metric",
        "prune",
        "storage",
        "model.name",
        "batch_size",
        "epochs",
    ),
    "of tfdlrm.train only": ("raw", "run_dir", "export_dir"),
    **_REST_OF_TRAINING,
}

PREPARE: Subjects = {
    _FIRST: (
        "raw",
        "output",
        "columns",
        "days",
        "validation_days",
        "test_days",
        "min_frequency",
        "dialect",
        "on_bad_row",
        "extend",
    ),
    "splits that are used as they are": ("train", "validation", "test"),
    "ids": ("hash_buckets", "max_index_range", "forget_days"),
    "numbers of Criteo's format": (
        "dense_transform",
        "dense_buckets",
        "missing_flags",
    ),
    "files": ("record_format", "seed"),
    "machine": ("memory_budget", "engine", "master"),
}
