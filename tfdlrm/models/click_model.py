"""What models that are put together from parts share."""

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import keras
from keras import ops

from tfdlrm.data.schema import FeatureSchema
from tfdlrm.layers import EmbeddingCollection
from tfdlrm.layers._devices import has_gpu
from tfdlrm.layers._id_forms import is_shape


class EmbeddingSettings(Protocol):
    """What the settings of every model with embeddings have."""

    @property
    def embedding_dim(self) -> int: ...

    @property
    def initial_bound(self) -> float | None: ...

    @property
    def embedding_l2(self) -> float: ...


class ClickModel(keras.Model):
    """A model from features to click logits, put together from parts.

    A subclass takes its parts as arguments, lists their names in `PARTS`, builds them
    in `build_parts` and says in `logits` how they go together.

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
        # Keras would turn ids into the compute dtype; each part casts what it takes.
        super().__init__(autocast=False, **kwargs)
        self.supports_jit = keras.backend.backend() != "tensorflow"
        self._input_form: Any = None

    def build_parts(self, dense_shape: Any, ids_shape: Any) -> None:
        """Create the weights of the parts."""
        raise NotImplementedError

    def logits(self, dense: Any, ids: Any, training: bool | None) -> Any:
        """Logits `(batch, 1)` of one batch."""
        raise NotImplementedError

    def build(self, input_shape: dict[str, Any]) -> None:
        dense_shape = input_shape["dense_features"]
        ids_shape = input_shape["categorical_features"]
        self.build_parts(dense_shape, ids_shape)
        if keras.backend.backend() == "tensorflow" and is_shape(ids_shape):
            from tfdlrm.models.input_form import InputForm

            self._input_form = InputForm.of_shapes(dense_shape, ids_shape)

    def build_from_config(self, config: dict[str, Any]) -> None:
        self.build(config["input_shape"])

    def build_for(self, schema: FeatureSchema) -> None:
        """Create the weights for the columns of a data set."""
        self.build(
            {
                "dense_features": (None, len(schema.dense_features)),
                "categorical_features": (None, len(schema.categorical_features)),
            }
        )

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        if keras.backend.backend() == "tensorflow":
            from tfdlrm.models.input_form import InputForm

            self._input_form = InputForm.of_inputs(inputs)
        logits = self.logits(
            inputs["dense_features"], inputs["categorical_features"], training
        )
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
            filepath: Where to write.
            format: What to write, such as `tf_saved_model` or `onnx`.
            verbose: Whether to say what was written.
            input_signature: A list of one dictionary of the inputs' types and shapes.
                When `None` that of the last call: float32 and int64, ids in the form
                that they had there.
            kwargs: What else the format takes.
        """
        if input_signature is None and self._input_form is not None:
            input_signature = [self._input_form.signature]
        if format == "tf_saved_model" and _has_ragged(input_signature):
            from tfdlrm.models.input_form import export_function

            export_function(self, input_signature, str(filepath))
            return
        super().export(filepath, format, verbose, input_signature, **kwargs)

    @property
    def _default_save_signature(self) -> Any:
        # TensorFlow asks for it wherever the model is part of what it saves.
        form = self._input_form
        if form is None or not form.is_flat:
            return None
        from tfdlrm.models.input_form import named_function

        return named_function(self, form)

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Train the model, as `keras.Model.fit` does.

        A `tf.data.Dataset` reaches a GPU ahead of the step that needs it.

        Args:
            x: Inputs, or batches of inputs and labels.
            args: See Keras.
            kwargs: See Keras.
        """
        # Keras weighs classes in the data set itself.
        if kwargs.get("class_weight") is None:
            x = self._for_devices(x)
        if "validation_data" in kwargs:
            batches = self._for_devices(kwargs["validation_data"])
            kwargs["validation_data"] = batches
        return super().fit(x, *args, **kwargs)

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Measure the model, as `keras.Model.evaluate` does.

        Args:
            x: Inputs, or batches of inputs and labels.
            args: See Keras.
            kwargs: See Keras.
        """
        return super().evaluate(self._for_devices(x), *args, **kwargs)

    def _for_devices(self, batches: Any) -> Any:
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
        # Under a strategy Keras traces a model with the mean of the devices' batches:
        # of ids that is none, and bags of ids have no mean. One device's batch does.
        # Without one Keras traces nothing, and the input is not to be opened for it.
        strategy = self._distribute_strategy
        if iterator is not None and strategy is not None:
            _, _, batches = next(iter(iterator))
            data_batch = keras.tree.map_structure(
                lambda each: strategy.experimental_local_results(each)[0], next(batches)
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


def embeddings_of(
    vocabulary_sizes: Sequence[int], config: EmbeddingSettings, **kwargs: Any
) -> EmbeddingCollection | None:
    """Embeddings of categorical columns, `None` where there are none."""
    if not vocabulary_sizes:
        return None
    regularizer = None
    if config.embedding_l2:
        # Of a batch Keras takes the mean over its rows: an id that comes often is held
        # back often, one that does not come is not touched.
        regularizer = keras.regularizers.L2(config.embedding_l2)
    return EmbeddingCollection(
        vocabulary_sizes,
        config.embedding_dim,
        initial_bound=config.initial_bound,
        activity_regularizer=regularizer,
        name="embeddings",
        **kwargs,
    )


def _with_bags(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments of a step, of which the last is a batch."""
    if keras.backend.backend() != "tensorflow":
        return args
    from tfdlrm.models.device_batches import with_bags

    return *args[:-1], with_bags(args[-1])


def _has_ragged(signature: Any) -> bool:
    return any(
        hasattr(each, "row_splits_dtype") for each in keras.tree.flatten(signature)
    )


def build_layer(layer: keras.layers.Layer, shape: Any) -> Any:
    """Build a layer, unless it is, and return the shape of what it gives."""
    # A part may come built: shared with another model, or loaded from a file.
    if not layer.built:
        layer.build(shape)
    return layer.compute_output_shape(shape)


def build_side_by_side(
    embeddings: keras.layers.Layer | None, dense_shape: Any, ids_shape: Any
) -> tuple[int | None, int]:
    """Build the embeddings and return the shape that `side_by_side` gives."""
    batch, width = dense_shape
    if embeddings is None:
        return batch, width
    _, features, dim = build_layer(embeddings, ids_shape)
    return batch, width + features * dim


def side_by_side(embeddings: keras.layers.Layer | None, dense: Any, ids: Any) -> Any:
    """The embeddings of a row, one after another, and then its dense features."""
    if embeddings is None:
        return dense
    vectors = embeddings(ids)
    flat = ops.reshape(vectors, (-1, vectors.shape[1] * vectors.shape[2]))
    # In mixed precision the embeddings are narrower than what comes in.
    return ops.concatenate([flat, ops.cast(dense, flat.dtype)], axis=1)
