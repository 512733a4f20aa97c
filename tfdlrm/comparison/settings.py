"""Settings of a comparison, and the runs that they ask for."""

from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import product
from pathlib import Path

from tfdlrm.base import storage
from tfdlrm.base.command_line import parse
from tfdlrm.base.errors import require
from tfdlrm.base.nearest import did_you_mean
from tfdlrm.base.setting_list import alternatives
from tfdlrm.comparison.contenders import (
    FILES,
    Contender,
    SettingsFile,
    common_epochs,
    in_comparison,
    name_of,
)
from tfdlrm.config import ModelConfig, OptimizerConfig, OptimizerName, TrainConfig

_MODELS = tuple(alternatives(TrainConfig)["model"])
_OPTIMIZERS: tuple[OptimizerName, ...] = ("sgd", "adagrad")
_LEARNING_RATES = (0.003, 0.01, 0.03, 0.1)
_BATCH_SIZE = 256
_EVALUATIONS = 20


@dataclass(frozen=True)
class CompareCommand:
    """Train several models on the same rows in the same order, and compare them.

    Each model with each optimizer is first trained once at every learning rate. The
    rate with the lowest log loss on the validation rows is chosen, and the other seeds
    are trained with it. A file that has an `optimizer`, such as the best settings of
    `tfdlrm.tune`, is trained with all its settings instead, unless optimizers or
    learning_rates are given. All models get the same number of passes over the rows.
    Test rows decide nothing. If the command is stopped, the same command resumes it.

    Args:
        data_dir: Data set directory written by `pipelines.prepare`.
        models: Names of models, or YAML files of `tfdlrm.train`.
        optimizers: Optimizers to train each model with; null means sgd and adagrad, and
            with a file that has one, its own.
        learning_rates: The learning rates to choose from; null means 0.003, 0.01, 0.03
            and 0.1, and with a file that has an optimizer, its own.
        seeds: Seeds of initial weights and order of rows; two or more show the spread.
        batch_size: Rows in one training step; null means 256, and with a file that has
            an optimizer, its own.
        epochs: Passes over the training rows, at most with early stopping; null means
            those of the files that have an optimizer, which must agree, or else 1.
        evaluations_per_epoch: Points of the curves in an epoch; null means 20, and with
            a file that has an optimizer, its own.
        output: Directory of the report and of the runs.
    """

    data_dir: Path
    models: tuple[str, ...] = ("dlrm", "dcn")
    optimizers: tuple[OptimizerName, ...] | None = None
    learning_rates: tuple[float, ...] | None = None
    seeds: tuple[int, ...] = (0,)
    batch_size: int | None = None
    epochs: int | None = None
    evaluations_per_epoch: int | None = None
    output: Path = Path("runs/compare")

    def __post_init__(self) -> None:
        storage.require_local("output", self.output)
        for name in ("batch_size", "epochs", "evaluations_per_epoch"):
            number = getattr(self, name)
            require(number is None or number >= 1, name, number, "null or >= 1")
        for name in ("models", "optimizers", "learning_rates", "seeds"):
            values = getattr(self, name)
            if values is not None:
                require(len(values) > 0, name, values, "one or more")
                require(len(set(values)) == len(values), name, values, "each once")
        names = {name_of(model) for model in self.models}
        expected = "names, and files, of which no two have the same name"
        require(len(names) == len(self.models), "models", self.models, expected)
        for model in self.models:
            is_known = model.endswith(FILES) or model in _MODELS
            hint = did_you_mean(model, _MODELS)
            expected = f"files or names among {', '.join(_MODELS)}{hint}"
            require(is_known, "models", model, expected)
        for contender, seed in product(self.contenders, self.seeds):
            for config in contender.candidates:
                replace(config, seed=seed)  # building the settings checks them

    @cached_property
    def contenders(self) -> list[Contender]:
        """What is compared, in the order of the report.

        Raises:
            InputError: If a file cannot be used.
        """
        contenders = []
        for model in self.models:
            file = self._own_settings.get(model)
            if file is not None:
                contenders.append(self._of_file(file))
                continue
            contenders += [
                Contender(
                    name_of(model),
                    tuple(
                        self.train_config(model, optimizer, rate, self.seeds[0])
                        for rate in self.learning_rates or _LEARNING_RATES
                    ),
                )
                for optimizer in self.optimizers or _OPTIMIZERS
            ]
        return contenders

    @cached_property
    def num_epochs(self) -> int:
        """The passes over the training rows that each model gets."""
        if self.epochs is not None:
            return self.epochs
        return common_epochs(list(self._own_settings.values()))

    def train_config(
        self, model: str, optimizer: OptimizerName, learning_rate: float, seed: int
    ) -> TrainConfig:
        """Return the settings of a run of a model that has no settings of its own."""
        file = self._files.get(model)
        config = TrainConfig(
            model=_named(model) if file is None else file.config.model,
            optimizer=OptimizerConfig(optimizer, learning_rate),
            batch_size=self.batch_size or _BATCH_SIZE,
            epochs=self.num_epochs,
            evaluations_per_epoch=self.evaluations_per_epoch or _EVALUATIONS,
        )
        return in_comparison(config, name_of(model), self.data_dir, self.output, seed)

    def with_seed(
        self, contender: Contender, config: TrainConfig, seed: int
    ) -> TrainConfig:
        """Return the settings of a run of a contender with another seed."""
        return in_comparison(config, contender.name, self.data_dir, self.output, seed)

    def _of_file(self, file: SettingsFile) -> Contender:
        """Return the contender that is trained with all settings of a file."""
        file.require_comparable()
        own = file.config
        config = replace(
            own,
            batch_size=self.batch_size or own.batch_size,
            evaluations_per_epoch=(
                self.evaluations_per_epoch or own.evaluations_per_epoch
            ),
            epochs=self.num_epochs,
        )
        name = name_of(file.path)
        config = in_comparison(config, name, self.data_dir, self.output, self.seeds[0])
        return Contender(name, (config,), has_own_settings=True)

    @cached_property
    def _files(self) -> dict[str, SettingsFile]:
        paths = [model for model in self.models if model.endswith(FILES)]
        return {path: SettingsFile.read(path) for path in paths}

    @cached_property
    def _own_settings(self) -> dict[str, SettingsFile]:
        """The files that say how to train, if the command does not."""
        if self.optimizers is not None or self.learning_rates is not None:
            return {}
        return {path: file for path, file in self._files.items() if file.says_how}


@cache
def _named(model: str) -> ModelConfig:
    """Return the settings of a model with a name."""
    return parse(TrainConfig, "tfdlrm.train", ["--model.name", model]).model
