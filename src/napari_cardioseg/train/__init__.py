"""Losses, augmentation, partial labels, the training loop, cross-validation, and evaluation."""

from napari_cardioseg.train.config import TrainConfig, load_config
from napari_cardioseg.train.crossval import CrossValidation, cross_validate
from napari_cardioseg.train.evaluate import evaluate_frames
from napari_cardioseg.train.loop import TrainResult, train

__all__ = [
    "CrossValidation",
    "TrainConfig",
    "TrainResult",
    "cross_validate",
    "evaluate_frames",
    "load_config",
    "train",
]
