"""The values that every other room speaks in; numpy only."""

from napari_cardioseg.domain.cine import Cine, FrameTable
from napari_cardioseg.domain.errors import CardioSegError, ConfigError, DataError, ModelError
from napari_cardioseg.domain.geometry import Geometry
from napari_cardioseg.domain.kinds import misfit, unknown_names
from napari_cardioseg.domain.labelled_frame import LabelledFrame
from napari_cardioseg.domain.labels import LV_SCHEME, Code, LabelClass, LabelScheme
from napari_cardioseg.domain.model_card import ModelCard, Preprocessing
from napari_cardioseg.domain.progress import Job, Progress, as_part, drain, retold, seconds_left
from napari_cardioseg.domain.segmentation import Segmentation, SliceState

__all__ = [
    "LV_SCHEME",
    "CardioSegError",
    "Cine",
    "Code",
    "ConfigError",
    "DataError",
    "FrameTable",
    "Geometry",
    "Job",
    "LabelClass",
    "LabelScheme",
    "LabelledFrame",
    "ModelCard",
    "ModelError",
    "Preprocessing",
    "Progress",
    "Segmentation",
    "SliceState",
    "as_part",
    "drain",
    "misfit",
    "retold",
    "seconds_left",
    "unknown_names",
]
