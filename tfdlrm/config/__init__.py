"""All settings, as frozen dataclasses; loads no TensorFlow."""

from tfdlrm.config.early_stopping import EarlyStoppingConfig
from tfdlrm.config.models import (
    DCNConfig,
    DCNV2Config,
    DeepFMConfig,
    DLRMConfig,
    FMConfig,
    LogisticRegressionConfig,
    MFConfig,
    MLPConfig,
    ModelConfig,
)
from tfdlrm.config.optimizers import (
    DenseOptimizerConfig,
    OptimizerConfig,
    OptimizerName,
)
from tfdlrm.config.preparing import PrepareConfig
from tfdlrm.config.rolling import RollingConfig
from tfdlrm.config.schedules import (
    CosineConfig,
    PiecewiseConfig,
    PlateauConfig,
    ScheduleConfig,
)
from tfdlrm.config.stream import StreamConfig
from tfdlrm.config.training import (
    CheckpointConfig,
    TrainConfig,
)

__all__ = [
    "CheckpointConfig",
    "CosineConfig",
    "DCNConfig",
    "DCNV2Config",
    "DLRMConfig",
    "DeepFMConfig",
    "DenseOptimizerConfig",
    "EarlyStoppingConfig",
    "FMConfig",
    "LogisticRegressionConfig",
    "MFConfig",
    "MLPConfig",
    "ModelConfig",
    "OptimizerConfig",
    "OptimizerName",
    "PiecewiseConfig",
    "PlateauConfig",
    "PrepareConfig",
    "RollingConfig",
    "ScheduleConfig",
    "StreamConfig",
    "TrainConfig",
]
