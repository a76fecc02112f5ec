"""From images to masks: normalise, resample, find the heart, infer, map back, clean up."""

from napari_cardioseg.predict.cine import Prediction, predict_cine, predict_ed_es
from napari_cardioseg.predict.device import available_devices
from napari_cardioseg.predict.frames import PredictOptions, predict_frames
from napari_cardioseg.predict.model import Model

__all__ = [
    "Model",
    "PredictOptions",
    "Prediction",
    "available_devices",
    "predict_cine",
    "predict_ed_es",
    "predict_frames",
]
