"""Exported models of random weights, and raw rows for them."""

from dataclasses import replace

import numpy as np

from pipelines.logs import criteo
from pipelines.prepare import prepare
from tests.support.own_log import CONFIG, DESCRIPTION, ROWS, write_log
from tests.support.raw_rows import make_rows, replace_field, write_rows
from tests.support.served import Served
from tfdlrm.config import PrepareConfig
from tfdlrm.config.models import LogisticRegressionConfig
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.exporting.saved_model import export_model
from tfdlrm.models import build_model
from tfdlrm.predict import PredictCommand, predict

NAMES = criteo.DENSE_FEATURES + criteo.CATEGORICAL_FEATURES

CONFIGS = {
    "default": PrepareConfig(min_frequency=5),
    "facebook": PrepareConfig(dialect="facebook"),
    "facebook modulo": PrepareConfig(dialect="facebook", max_index_range=20),
    "hash": PrepareConfig(dialect="hash", hash_buckets=30),
    "own": CONFIG,
    "own hash": PrepareConfig(
        dialect="hash", hash_buckets=7, validation_days=1, test_days=1.5
    ),
}

OWN_NAMES = ("price", "age", "user", "tags", "shops")

CRITEO_ROWS = make_rows(300)

UNUSUAL_ROWS = [
    replace_field(replace_field(CRITEO_ROWS[0], 2, count), 15, category)
    for count, category in [
        (b"0005", b"FFFFFFC0"),
        (b"-0", b"5"),
        (b"9223372036854775807", b"000000000051eb84"),
        (b"-9223372036854775808", b"051EB850"),
        (b"", b"0"),
    ]
]

BLANK_ROW = b"0" + b"\t" * len(NAMES)


class Case:
    """An exported model of random weights, and raw rows for it."""

    def __init__(self, case_name, directory):
        config = CONFIGS[case_name]
        self.is_own = case_name.startswith("own")
        if self.is_own:
            self.names = OWN_NAMES
            self.rows = [{name: row[name] for name in self.names} for row in ROWS[:200]]
            columns = directory / "columns.yaml"
            columns.write_text(DESCRIPTION)
            config = replace(config, columns=columns)
            log = self.raw = write_log(directory / "log.csv", ROWS[:900])
        else:
            self.names = NAMES
            log = write_rows(directory / "log.tsv", CRITEO_ROWS)
            lines = [*CRITEO_ROWS[200:], *UNUSUAL_ROWS, *make_rows(99, 1), BLANK_ROW]
            self.raw = write_rows(directory / "rows.tsv", lines)
            self.rows = [
                dict(zip(NAMES, line.decode().split("\t")[1:], strict=True))
                for line in lines
            ]
        self.data_dir = directory / "data"
        prepare([log], self.data_dir, config)
        self.schema = FeatureSchema.load(self.data_dir)
        model = build_model(self.schema, LogisticRegressionConfig())
        rng = np.random.default_rng(0)
        for weight in model.weights:
            weight.assign(rng.normal(0, 0.3, weight.shape))
        self.path = export_model(model, self.schema, self.data_dir, directory / "model")
        self.served = Served(self.path)
        predict(PredictCommand(self.path, self.raw, directory / "predictions.csv"))
        lines = (directory / "predictions.csv").read_text().splitlines()[1:]
        self.predicted = np.array(lines, np.float32)[: len(self.rows)]

    def columns(self, **changes):
        """Return the first rows as inputs of `raw`, with some columns changed."""
        first_rows = {name: [row[name] for row in self.rows[:3]] for name in self.names}
        return {**first_rows, **changes}
