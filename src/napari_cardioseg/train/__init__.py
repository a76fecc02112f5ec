"""Losses, augmentation, partial labels and the training loop."""

from napari_cardioseg.train.config import TrainConfig, load_config
from napari_cardioseg.train.loop import TrainResult, train

__all__ = ["TrainConfig", "TrainResult", "load_config", "train"]
