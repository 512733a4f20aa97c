"""The base of all models that are built from parts."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, ClassVar

import keras
from keras import ops

from tfdlrm.data.schema import FeatureSchema
from tfdlrm.layers._devices import has_gpu
from tfdlrm.layers._id_forms import is_shape
from tfdlrm.models.click_inputs import (
    check_inputs,
    name_columns,
    order_columns,
    parts_of,
    without_frame,
)


class ClickModel(keras.Model):
    """A model from features to click logits, built from parts.

    A subclass takes its parts as arguments, lists their names in `PARTS`, builds them
    in `build_parts` and combines them in `logits`.

    Call arguments:
        inputs: `{"dense_features": (batch, n) float, "categorical_features": ids}`,
            ids in any form that `EmbeddingCollection` takes.
        training: Whether dropout is on.

    Returns:
        Float32 logits of shape `(batch, 1)`; `keras.ops.sigmoid` turns them into
        probabilities.
    """

    PARTS: ClassVar[tuple[str, ...]] = ()

    train_function: Any
    test_function: Any

    def __init__(self, **kwargs: Any) -> None:
        # Keras would cast ids to the compute dtype; each part casts its own inputs.
        super().__init__(autocast=False, **kwargs)
        self.supports_jit = keras.backend.backend() != "tensorflow"
        self._input_form: Any = None
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            from tfdlrm.optimizers._collective_keys import use_own_keys

            use_own_keys(tf.distribute.get_strategy())

    def build_parts(self, dense_shape: Any, ids_shape: Any) -> None:
        """Create the weights of the parts."""
        raise NotImplementedError

    def logits(self, dense: Any, ids: Any, training: bool | None) -> Any:
        """Return logits `(batch, 1)` of one batch."""
        raise NotImplementedError

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        inputs = without_frame(inputs)
        check_inputs(inputs, self.name)
        return super().__call__(inputs, *args, **kwargs)

    def order_ids(self, ids: dict[str, Any]) -> list[Any]:
        """Return columns of ids in the order of the model's vocabularies."""
        return order_columns(ids, parts_of(self), self.name)

    def build(self, input_shape: dict[str, Any]) -> None:
        check_inputs(input_shape, self.name)
        dense_shape = input_shape["dense_features"]
        ids_shape = input_shape["categorical_features"]
        self.build_parts(dense_shape, ids_shape)
        if keras.backend.backend() == "tensorflow" and is_shape(ids_shape):
            from tfdlrm.models.input_form import InputForm

            self._input_form = InputForm.from_shapes(dense_shape, ids_shape)

    def build_from_config(self, config: dict[str, Any]) -> None:
        self.build(config["input_shape"])

    def build_for(self, schema: FeatureSchema) -> None:
        """Create the weights for the columns of a data set, and take their names."""
        names = [feature.name for feature in schema.categorical_features]
        name_columns(parts_of(self), names)
        self.build(
            {
                "dense_features": (None, len(schema.dense_features)),
                "categorical_features": (None, len(schema.categorical_features)),
            }
        )

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        if keras.backend.backend() == "tensorflow":
            from tfdlrm.models.input_form import InputForm

            self._input_form = InputForm.from_inputs(inputs)
        ids = inputs["categorical_features"]
        if isinstance(ids, dict):
            ids = self.order_ids(ids)
        logits = self.logits(inputs["dense_features"], ids, training)
        return ops.cast(logits, "float32")  # (batch, 1)

    def export(
        self,
        filepath: str,
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """Export the model, as `keras.Model.export` does.

        Args:
            filepath: Path to write to.
            format: Format, such as `tf_saved_model` or `onnx`.
            verbose: Whether to print the signatures.
            input_signature: A list of one dictionary of the inputs' types and shapes.
                `None` means float32 and int64, with ids in the form of the last call.
            kwargs: Further arguments of the format.
        """
        if input_signature is None and self._input_form is not None:
            input_signature = [self._input_form.signature]
        with self._as_stored():
            self._export(filepath, format, verbose, input_signature, **kwargs)

    def _as_stored(self) -> Any:
        """Return a context in which rows are looked up without the optimizer."""
        if keras.backend.backend() != "tensorflow":
            return nullcontext()
        from tfdlrm.optimizers._late_decay import as_stored

        return as_stored(self)

    def _export(
        self,
        filepath: str,
        format: str,
        verbose: bool | None,
        input_signature: Any,
        **kwargs: Any,
    ) -> None:
        if format == "tf_saved_model" and _has_ragged(input_signature):
            from tfdlrm.models.input_form import export_function

            export_function(self, input_signature, str(filepath))
            return
        super().export(filepath, format, verbose, input_signature, **kwargs)

    @property
    def _default_save_signature(self) -> Any:
        # TensorFlow asks for it whenever it saves the model as part of something else.
        input_form = self._input_form
        if input_form is None or not input_form.is_flat:
            return None
        from tfdlrm.models.input_form import function_of_names

        return function_of_names(self, input_form)

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Train the model, as `keras.Model.fit` does.

        A `tf.data.Dataset` reaches a GPU ahead of the step that needs it.

        Args:
            x: Inputs, or batches of inputs and labels.
            args: See Keras.
            kwargs: See Keras.
        """
        # Keras weighs classes in the data set itself.
        x = without_frame(x)
        if kwargs.get("class_weight") is None:
            x = self._for_devices(x)
        if "validation_data" in kwargs:
            batches = kwargs["validation_data"]
            if isinstance(batches, tuple | list):
                batches = (without_frame(batches[0]), *batches[1:])
            batches = self._for_devices(batches)
            kwargs["validation_data"] = batches
        with self._new_after_errors("train_function"):
            return super().fit(x, *args, **kwargs)

    def train_on_batch(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        with self._new_after_errors("train_function"):
            return super().train_on_batch(without_frame(x), *args, **kwargs)

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Measure the model, as `keras.Model.evaluate` does.

        Args:
            x: Inputs, or batches of inputs and labels.
            args: See Keras.
            kwargs: See Keras.
        """
        with self._new_after_errors("test_function"):
            return super().evaluate(self._for_devices(x), *args, **kwargs)

    def test_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        x = without_frame(x)
        if not self._has_replicas:
            return super().test_on_batch(x, y, sample_weight, return_dict)
        logs = super().test_on_batch(x, y, sample_weight, return_dict=True)
        # The step returns the values of one replica, as in `evaluate`.
        results = self._get_metrics_result_or_logs(logs)
        values = {name: float(value) for name, value in results.items()}
        return values if return_dict else self._flatten_metrics_in_order(values)

    @contextmanager
    def _new_after_errors(self, name: str) -> Iterator[None]:
        """Make a compiled function again if it failed, perhaps half traced."""
        # TensorFlow would go on failing, also with inputs that are right.
        try:
            yield
        except Exception:
            setattr(self, name, None)
            raise

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Score rows, as `keras.Model.predict` does.

        Args:
            x: Inputs, or batches of inputs.
            args: See Keras.
            kwargs: See Keras.
        """
        return super().predict(without_frame(x), *args, **kwargs)

    def predict_on_batch(self, x: Any) -> Any:
        return super().predict_on_batch(without_frame(x))

    def _for_devices(self, batches: Any) -> Any:
        batches = without_frame(batches)
        if keras.backend.backend() != "tensorflow":
            return batches
        from tfdlrm.models.device_batches import for_devices

        return for_devices(batches, self.distribute_strategy, self.weights)

    def make_train_function(self, force: bool = False) -> None:
        if self.train_function is not None and not force:
            return
        self._make_train_function(force)
        if has_gpu():
            from tfdlrm.models.metric_values import read_together

            self.train_function = read_together(self.train_function)

    def _make_train_function(self, force: bool) -> None:
        if self._has_replicas:
            from tfdlrm.models.replicas import function_of_iterator

            self.train_function = function_of_iterator(self, self.train_step)
            return
        super().make_train_function(force)
        if keras.backend.backend() != "tensorflow":
            return
        is_plain = not (self.run_eagerly or self.jit_compile)
        if self.steps_per_execution == 1 and is_plain:
            from tfdlrm.models.single_step import single_step

            step = self._autoconvert_optionals(self.train_step)
            self.train_function = single_step(step, self.train_function)

    def _maybe_symbolic_build(
        self, iterator: Any = None, data_batch: Any = None
    ) -> None:
        # Under a strategy Keras traces a model with the mean of the devices' batches.
        # The mean of ids is no id, and bags of ids have no mean: the batch of one
        # device serves instead. Without a strategy Keras traces nothing, and the input
        # must not be opened here.
        strategy = self._distribute_strategy
        if iterator is not None and strategy is not None:
            _, _, batches = next(iter(iterator))
            data_batch = keras.tree.map_structure(
                lambda values: strategy.experimental_local_results(values)[0],
                next(batches),
            )
            iterator = None
            from tfdlrm.models.device_batches import with_bags

            data_batch = with_bags(data_batch)
        super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)

    @property
    def _has_replicas(self) -> bool:
        return (
            keras.backend.backend() == "tensorflow"
            and self.distribute_strategy.num_replicas_in_sync > 1
        )

    def train_step(self, *args: Any) -> Any:
        args = _with_bags(args)
        if not self._has_replicas:
            return super().train_step(*args)
        from tfdlrm.models import replicas

        return replicas.train_step(self, *args)

    def test_step(self, *args: Any) -> Any:
        args = _with_bags(args)
        if not self._has_replicas:
            return super().test_step(*args)
        from tfdlrm.models import replicas

        if not replicas.has_one_copy(self.distribute_strategy):
            return super().test_step(*args)
        return replicas.test_step(self, *args)

    def make_test_function(self, force: bool = False) -> None:
        if not self._has_replicas:
            super().make_test_function(force)
        elif self.test_function is None or force:
            from tfdlrm.models.replicas import function_of_iterator

            self.test_function = function_of_iterator(self, self.test_step)

    def get_config(self) -> dict[str, Any]:
        parts = {
            name: keras.saving.serialize_keras_object(getattr(self, name))
            for name in self.PARTS
        }
        return {**super().get_config(), **parts}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        parts = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in cls.PARTS
            if name in config
        }
        return cls(**{**config, **parts})


def _with_bags(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the arguments of a step, with ragged ids in the batch, the last one."""
    if keras.backend.backend() != "tensorflow":
        return args
    from tfdlrm.models.device_batches import with_bags

    return *args[:-1], with_bags(args[-1])


def _has_ragged(signature: Any) -> bool:
    return any(
        hasattr(spec, "row_splits_dtype") for spec in keras.tree.flatten(signature)
    )
