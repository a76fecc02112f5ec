"""Losses, augmentation, partial labels, the training loop, and evaluation."""

from napari_cardioseg.train.config import TrainConfig, load_config
from napari_cardioseg.train.evaluate import evaluate_frames
from napari_cardioseg.train.loop import TrainResult, train

__all__ = ["TrainConfig", "TrainResult", "evaluate_frames", "load_config", "train"]
