from typing import get_args, get_type_hints

import keras
import pytest

from tfdlrm import optimizers
from tfdlrm.config import OptimizerConfig
from tfdlrm.training.compiling import compile_model

NAMES = get_args(get_type_hints(OptimizerConfig)["name"])


@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_of_the_settings_is_there(name):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    compile_model(model, OptimizerConfig(name, learning_rate=0.25))
    assert type(model.optimizer).__name__ in optimizers.__all__
    assert model.optimizer.name == name
    assert float(model.optimizer.learning_rate) == 0.25
