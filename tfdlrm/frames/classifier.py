"""`DLRMClassifier`: a model with the conventions of scikit-learn."""

from contextlib import ExitStack, redirect_stdout
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np

from tfdlrm.base.errors import InputError
from tfdlrm.config import EarlyStoppingConfig, TrainConfig
from tfdlrm.frames.encoder import Description, FeatureEncoder
from tfdlrm.frames.fitted_model import FittedModel
from tfdlrm.frames.inference import InferredColumn
from tfdlrm.frames.named_columns import width_of_array
from tfdlrm.frames.own_settings import kept_settings
from tfdlrm.frames.parameters import Parameters
from tfdlrm.frames.summary import summarize
from tfdlrm.frames.training_rows import TrainingRows, labels_of
from tfdlrm.frames.training_settings import Overrides, train_config


class DLRMClassifier(Parameters):
    """A classifier of two classes that trains a DLRM, or another model of `tfdlrm`.

    It has the conventions of scikit-learn, which need not be installed: `fit`,
    `predict_proba`, `predict`, `score`, `get_params` and `set_params`, so that
    `cross_val_score`, `GridSearchCV`, `clone` and `Pipeline` take it. Rows become a
    data set as by `python -m pipelines.prepare`, in the order of the frame, and are
    trained on as by `python -m tfdlrm.train`.

    Args:
        columns: As for `FeatureEncoder`: `None` takes all columns by their types.
        label: Name of the label's column, or its entry in `columns.yaml`; `None` with
            `fit(frame, y)`.
        embedding_dim: Width of every embedding vector.
        learning_rate: Step size of the optimizer.
        batch_size: Rows in one training step; `None` without `config` means 64.
        epochs: Passes over the training rows; `None` without `config` means as many as
            make 100 steps, at least one and at most 20.
        min_frequency: A categorical value that fewer rows of training have shares the
            id, and so the vector, of unknown values, which trains it; `None` without
            `config` means 2.
        validation_fraction: Share of the rows, those at the end, that are held out to
            watch training, and not trained on.
        early_stopping: Points in a row of the validation curve, ten each epoch, whose
            log loss is no lower than before, after which training ends with the best
            weights; an `EarlyStoppingConfig` may choose the AUC instead; `None` trains
            all epochs.
        seed: Seed of the initial weights and of the order of rows.
        config: Further settings, such as the architecture. The arguments above, unless
            `None`, take precedence.
        verbose: Whether `fit` prints what `tfdlrm.train` prints.

    Attributes:
        classes_: The two classes in ascending order; the second has the probability
            that an exported model returns, unless `label` says `positive`.
        n_features_in_: Number of columns of the frame that was fitted.
        feature_names_in_: Their names, if they were text.

    Example:

    ```python
    model = tfdlrm.DLRMClassifier(label="clicked").fit(train_frame)
    print(model.describe())
    print(model.evaluate(test_frame)["auc"])
    model.save("saved_models/clicks")
    model = tfdlrm.DLRMClassifier.load("saved_models/clicks")
    probabilities = model.predict_proba(new_frame)[:, 1]
    ```
    """

    _estimator_type = "classifier"

    _inferred: tuple[InferredColumn, ...] = ()

    def __init__(
        self,
        columns: Description | None = None,
        *,
        label: Any = None,
        embedding_dim: int | None = None,
        learning_rate: float | None = None,
        batch_size: int | None = None,
        epochs: int | None = None,
        min_frequency: int | None = None,
        validation_fraction: float = 0.0,
        early_stopping: int | EarlyStoppingConfig | None = None,
        seed: int | None = None,
        config: TrainConfig | None = None,
        verbose: bool = False,
    ) -> None:
        self.columns = columns
        self.label = label
        self.embedding_dim = embedding_dim
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.epochs = epochs
        self.min_frequency = min_frequency
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.seed = seed
        self.config = config
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Train on the rows of a frame; what an earlier fit learned is forgotten.

        Args:
            X: A frame as `FeatureEncoder` takes it, except `tf.data`.
            y: The labels: two values of whatever type. `None` if `label` is a column
                of the frame.

        Raises:
            InputError: If rows, labels or settings cannot be used.
        """
        from tfdlrm.base.figures import no_pictures
        from tfdlrm.runs.training_run import run_training

        rows = TrainingRows.of(X, y, self.columns, self.label)
        rows.require_both_classes(self.validation_fraction)
        with TemporaryDirectory(prefix="tfdlrm-") as folder:
            log, description = rows.write(Path(folder))
            overrides = Overrides(
                embedding_dim=self.embedding_dim,
                learning_rate=self.learning_rate,
                batch_size=self.batch_size,
                epochs=self.epochs,
                min_frequency=self.min_frequency,
                early_stopping=self.early_stopping,
                seed=self.seed,
            )
            config = train_config(
                self.config,
                overrides,
                self.validation_fraction,
                log,
                description,
                rows.table.num_rows,
                has_days=rows.description.get("split") is not None,
            )
            with ExitStack() as stack:
                stack.enter_context(kept_settings())
                if not self.verbose:
                    stack.enter_context(redirect_stdout(StringIO()))
                if self.config is None or self.config.run_dir is None:
                    stack.enter_context(no_pictures())
                run = run_training(config)
            assert run is not None  # no other worker trains
            self._fitted = FittedModel.of(run.model, rows.classes, rows.feature_names)
        self._inferred = rows.inferred
        self._set_fitted_attributes()
        return self

    def _set_fitted_attributes(self) -> None:
        self.classes_ = self._fitted.classes.values
        names = self._fitted.feature_names
        self.n_features_in_ = len(names)
        self.feature_names_in_ = np.array(names, dtype=object)

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the probabilities of the two classes, float64 `(rows, 2)`.

        The second column is what `tfdlrm.predict` writes for the same rows. If 100 rows
        or more have many more unknown values than training had, a warning says so.

        Raises:
            InputError: If a column is missing or has a value that cannot be used.
        """
        fitted = self._require_fitted()
        width = width_of_array(X)
        if width is not None and width != self.n_features_in_:
            raise InputError(
                f"X has {width} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input: give the columns of training"
            )
        positive = fitted.probabilities(X).astype(np.float64)
        return np.stack([1 - positive, positive], axis=1)

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the more probable class of each row, one of `classes_`."""
        probabilities = self.predict_proba(X)[:, 1]
        classes: np.ndarray = self.classes_[(probabilities > 0.5).astype(np.int64)]
        return classes

    def score(
        self,
        X: Any,  # noqa: N803
        y: Any = None,
        sample_weight: Any = None,
    ) -> float:
        """Return the accuracy, the share of rows whose class is predicted.

        Args:
            X: The rows.
            y: Their labels; `None` if they are a column of the frame.
            sample_weight: A weight for each row.
        """
        labels = self._labels(X, y)
        is_right = (self.predict_proba(X)[:, 1] > 0.5) == (labels > 0.5)
        return float(np.average(is_right, weights=sample_weight))

    def evaluate(self, X: Any, y: Any = None) -> dict[str, float]:  # noqa: N803
        """Return the measures that `tfdlrm.evaluate` reports, such as `auc`.

        Args:
            X: The rows.
            y: Their labels; `None` if they are a column of the frame.
        """
        from tfdlrm.metrics.binary import binary_metrics

        labels = self._labels(X, y)
        return asdict(binary_metrics(labels, self.predict_proba(X)[:, 1]))

    def _labels(self, frame: Any, target: Any) -> np.ndarray:
        fitted = self._require_fitted()
        return labels_of(frame, target, fitted.classes, self.encoder.to_schema().label)

    @property
    def encoder(self) -> FeatureEncoder:
        """The encoder of the columns that the model was trained with."""
        return self._require_fitted().encoder

    def describe(self) -> str:
        """Return a line for each column: what it is to the model, and why."""
        return summarize(self.encoder.to_schema(), self._inferred)

    def save(self, directory: str | Path, allow_other_columns: bool = False) -> Path:
        """Write the model as the next version in a directory of versions.

        `tfdlrm.serve`, TF Serving, `tfdlrm.predict` and `tfdlrm.evaluate` take it.

        Args:
            directory: Directory of the versions, such as `saved_models/clicks`.
            allow_other_columns: Whether the newest version there may have other
                columns, ids or labels, which its clients would notice.

        Returns:
            The directory of the version, such as `saved_models/clicks/1`.

        Raises:
            InputError: If the directory cannot be used.
        """
        return self._require_fitted().save(Path(directory), allow_other_columns)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save`, `tfdlrm.train` or `tfdlrm.export` wrote.

        Args:
            path: Directory of a version, or of versions for the newest.

        Raises:
            InputError: If there is no model, or a file of it is damaged.
        """
        classifier = cls()
        classifier._fitted = FittedModel.load(Path(path))
        classifier.label = classifier.encoder.to_schema().label
        classifier._set_fitted_attributes()
        return classifier

    def _require_fitted(self) -> FittedModel:
        if not self.__sklearn_is_fitted__():
            _raise_not_fitted(type(self).__name__)
        return self._fitted

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_fitted")

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(multi_class=False),
            input_tags=InputTags(string=True, categorical=True, allow_nan=True),
        )

    def __getstate__(self) -> dict[str, Any]:
        state = {**vars(self)}
        if self.__sklearn_is_fitted__():
            fitted = state.pop("_fitted")
            state["_contents"] = fitted.contents(), fitted.to_json()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        contents = state.pop("_contents", None)
        vars(self).update(state)
        if contents is not None:
            self._fitted = FittedModel.of_contents(*contents)


def _raise_not_fitted(name: str) -> None:
    """Raise scikit-learn's error if it is there, which its checks expect."""
    message = (
        f"{name} is not fitted yet, expected fit(frame) or {name}.load(path) first"
    )
    try:
        from sklearn.exceptions import NotFittedError
    except ImportError:
        raise InputError(message) from None
    raise type("NotFittedError", (NotFittedError, InputError), {})(message)
