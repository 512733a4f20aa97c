"""`tfdlrm.load`: a trained model that scores frames and says what it has learned."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfdlrm.base import storage
from tfdlrm.base.errors import InputError
from tfdlrm.base.nearest import did_you_mean
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.data.vocabulary_files import value_text
from tfdlrm.exporting.exported_weights import read_card
from tfdlrm.exporting.scorer import Scorer, load_scorer
from tfdlrm.exporting.versions import newest_whole
from tfdlrm.frames.encoder import FeatureEncoder
from tfdlrm.frames.fitted_model import warn_of_unknown
from tfdlrm.frames.named_columns import NamedColumns
from tfdlrm.frames.typed_rows import arrow_columns
from tfdlrm.metrics.binary import binary_metrics
from tfdlrm.metrics.splits import EVALUATION_BATCH_SIZE
from tfdlrm.training.run_directory import RunDirectory

if TYPE_CHECKING:
    import keras
    import pandas as pd


def load(path: Path | str) -> "TrainedModel":
    """Load a trained model.

    Args:
        path: Directory of a finished run, of an exported version, or of versions for
            the newest.

    Raises:
        InputError: If there is no model, or a file of it is damaged.
    """
    path = storage.at(path)
    version = newest_whole(path)
    if version is None:
        version = _version_of_run(path)
    return TrainedModel(load_scorer(version))


def _version_of_run(path: Path) -> Path:
    if path.suffix == ".keras":
        raise InputError(
            f"{path} is a file of Keras: load it by keras.saving.load_model, or give "
            "the directory of its run here"
        )
    run = RunDirectory(path)
    if not run.config_file.is_file() and not run.report_file.is_file():
        raise InputError(
            f"{path} holds no model: expected the directory of a run, or a directory "
            "such as saved_models/dlrm/1, written by tfdlrm.train or tfdlrm.export"
        )
    version = storage.at(run.load_summary()["model"])
    if newest_whole(version) is None:
        raise InputError(
            f"{path} exported {version}, which is not there any more: export it again "
            f"with python -m tfdlrm.export --run_dir {path}"
        )
    return version


class TrainedModel:
    """A trained model: rows to probabilities, and what it knows of values.

    Rows are frames as `tfdlrm.FeatureEncoder` takes them: a DataFrame of pandas or
    Polars, a table of PyArrow, a dictionary of columns, or a list of dictionaries.

    Args:
        scorer: The exported model.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._encoder = FeatureEncoder.load(scorer.path)

    @property
    def path(self) -> Path:
        """Directory of the version."""
        return self._scorer.path

    @property
    def schema(self) -> FeatureSchema:
        """The columns that it was trained with."""
        return self._scorer.schema

    @property
    def encoder(self) -> FeatureEncoder:
        """The encoder from frames to the features of `keras_model`."""
        return self._encoder

    @property
    def vocabularies(self) -> dict[str, list[Any]]:
        """For each categorical column its values by id, `None` for ids without one."""
        return {
            name: [None if value is None else value_text(value) for value in values]
            for name, values in self._encoder.vocabularies.items()
        }

    @cached_property
    def measures(self) -> dict[str, dict[str, Any]]:
        """The measures of each split that training held out; empty if unknown."""
        return dict(read_card(self.path).get("metrics") or {})

    @cached_property
    def keras_model(self) -> "keras.Model":
        """The Keras model from features to logits, with its weights.

        Raises:
            InputError: If the version does not say how its model is made.
        """
        from tfdlrm.exporting.rebuilt_model import rebuild_model

        return rebuild_model(self.path, self.schema)

    def score(self, rows: Any) -> np.ndarray:
        """Return the probability of each row, float64 `(rows,)`.

        Args:
            rows: A frame; a column of the label is not needed and not used.

        Raises:
            InputError: If a column is missing or has a value that cannot be used.
        """
        typed = self._encoder.typed_rows(rows)
        encode = self._encoder.counting()
        scores = [
            self._scorer(batch).numpy().ravel()
            for batch in _batches(encode(typed), EVALUATION_BATCH_SIZE)
        ]
        warn_of_unknown(encode.unknown, typed.height, stacklevel=2)
        return np.concatenate([np.empty(0), *scores])  # float64

    def evaluate(self, rows: Any) -> dict[str, float]:
        """Return the measures that `tfdlrm.evaluate` reports, such as `auc`.

        Args:
            rows: A frame with the column of the label.

        Raises:
            InputError: If a column is missing or has a value that cannot be used.
        """
        labels = self._encoder.label(rows).ravel()
        return asdict(binary_metrics(labels, self.score(rows)))

    def explain(self, row: Any) -> "pd.DataFrame":
        """Return what each column of a row contributes to its probability.

        A contribution is the probability less that of the same row without the value,
        as if the field were empty. Contributions of several columns do not add up.

        Args:
            row: A dictionary of values, or a frame with one row.

        Returns:
            A DataFrame with `column`, `value`, `probability_without` and
            `contribution`, the largest contributions first; its `attrs` have the
            `probability`.

        Raises:
            InputError: If it is not one row, or has a value that cannot be used.
        """
        import pandas as pd

        values = self._values_of(row)
        without = [{**values, name: None} for name in values]
        probability, *others = self.score([values, *without]).tolist()
        frame = pd.DataFrame(
            {
                "column": list(values),
                "value": pd.Series(list(values.values()), dtype=object),
                "probability_without": others,
                "contribution": [probability - other for other in others],
            }
        )
        order = frame["contribution"].abs().sort_values(ascending=False, kind="stable")
        frame = frame.loc[order.index].reset_index(drop=True)
        frame.attrs["probability"] = probability
        return frame

    def embedding(self, name: str) -> "pd.DataFrame":
        """Return the vectors of a categorical column, for a search of neighbours.

        Args:
            name: The column.

        Returns:
            A DataFrame with the `value` and the `vector` of each id, which is its
            index; `value` is `None` for ids without one, of which `note` says what they
            stand for: `unknown`, `missing`, or `no value`.

        Raises:
            InputError: If the model has no vectors of this column.
        """
        import pandas as pd

        vectors = self._vectors(name)
        values = self.vocabularies.get(name) or [None] * len(vectors)
        reserved = {number: word for word, number in self.schema.reserved_ids.items()}
        notes = [
            "" if value is not None else reserved.get(number, "no value")
            for number, value in enumerate(values)
        ]
        return pd.DataFrame(
            {
                "value": pd.Series(values, dtype=object),
                "note": notes,
                "vector": list(vectors),
            }
        ).rename_axis("id")

    def _vectors(self, name: str) -> np.ndarray:
        names = [feature.name for feature in self.schema.categorical_features]
        if name not in names:
            raise InputError(
                f"{name!r} is no categorical column of {self.path}, expected one of "
                f"{', '.join(map(repr, names))}{did_you_mean(name, names)}"
            )
        model = self.keras_model
        embeddings = getattr(model, "embeddings", None)
        # Matrix factorization uses two columns.
        columns = getattr(model, "columns", range(len(names)))
        position = names.index(name)
        if embeddings is None or position not in columns:
            raise InputError(
                f"the model {model.name} of {self.path} has no vectors of {name!r}"
            )
        return np.asarray(embeddings.table(list(columns).index(position)))

    def _values_of(self, row: Any) -> dict[str, Any]:
        """Return the values of one row, by the columns that features are read from."""
        if hasattr(row, "to_dict") and hasattr(row, "index") and row.ndim == 1:
            row = row.to_dict()  # a row of a DataFrame
        rows = NamedColumns([row] if isinstance(row, Mapping) else row)
        columns = arrow_columns(rows, self.schema.raw_columns)
        values = {name: column.to_pylist() for name, column in columns.items()}
        num_rows = len(next(iter(values.values())))
        if num_rows != 1:
            raise InputError(
                f"explain got {num_rows:,} rows, expected one: give a dictionary of "
                "values, or a frame of one row such as frame.iloc[[0]]"
            )
        return {name: column[0] for name, column in values.items()}

    def __repr__(self) -> str:
        return f"TrainedModel({str(self.path)!r})"


def _batches(features: dict[str, Any], batch_size: int) -> Iterator[dict[str, Any]]:
    num_rows = len(features["dense_features"])
    for start in range(0, num_rows, batch_size):
        rows = slice(start, start + batch_size)
        yield {name: values[rows] for name, values in features.items()}
