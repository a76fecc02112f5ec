"""The systems that are compared: what each is, its size on a CPU and on a GPU, and what others measured.

`cpu` makes each small enough to be trained on two cores (some 3 to 11 GFLOPs for a slice of 256 x 256), with
atrous rates that suit crops a third as large as the papers'; `gpu` is the size of its paper. Figures of the
seeds are those of the texts in shared/reference/seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_QURE = "Chilamkurthy 2017"
_RADOVIC = "Radovic"
_FEILLES = "Feilles 2018"


@dataclass(frozen=True)
class Published:
    """A figure that one of the seeds gives: what it is, on which images, by whom collected."""

    figure: str
    images: str
    seed: str


@dataclass(frozen=True)
class System:
    """One system of the comparison; `cpu` and `gpu` are descriptions for `build_network`."""

    title: str
    paper: str
    cpu: Mapping[str, Any]
    gpu: Mapping[str, Any]
    published: tuple[Published, ...] = ()

    def network(self, profile: str) -> Mapping[str, Any]:
        """Give the network's description for the profile "cpu" or "gpu"."""
        return {"cpu": self.cpu, "gpu": self.gpu}[profile]


def _voc2012(figure: str) -> Published:
    return Published(f"mean IoU {figure}", "Pascal VOC 2012, test", _QURE)


def _voc2011(figure: str) -> Published:
    return Published(f"mean IoU {figure}", "Pascal VOC 2011", _RADOVIC)


def _camvid(iou: str, parameters: str) -> Published:
    return Published(f"mean IoU {iou}, {parameters} M parameters", "CamVid, 11 classes", _RADOVIC)


def _hearts(iou: str, dice: str) -> Published:
    return Published(f"IoU {iou}, Dice {dice} of the myocardium", "cardiac MRI, about 100 patients", _FEILLES)


_VGG = {"width": 24, "fc": 256}
_RESNET = {"backbone": "resnet18", "output_stride": 8, "width": 32}

SYSTEMS: Mapping[str, System] = {
    "fcn32s": System(
        "FCN-32s",
        "Long 2015",
        {"name": "fcn32s", **_VGG},
        {"name": "fcn32s"},
        (_voc2011("59.4"),),
    ),
    "fcn16s": System(
        "FCN-16s",
        "Long 2015",
        {"name": "fcn16s", **_VGG},
        {"name": "fcn16s"},
        (_voc2011("62.4"),),
    ),
    "fcn8s": System(
        "FCN-8s",
        "Long 2015",
        {"name": "fcn8s", **_VGG},
        {"name": "fcn8s"},
        (_voc2011("62.7"), _voc2012("62.2; 67.2 with more momentum"), _camvid("57.0", "134.5")),
    ),
    "unet": System(
        "U-Net",
        "Ronneberger 2015",
        {"name": "unet", "widths": [16, 32, 64, 128, 192, 192]},
        {"name": "unet", "widths": [64, 128, 256, 512, 1024]},
        (
            Published("IoU 0.920", "cells, ISBI 2015, PhC-U373", _RADOVIC),
            Published("IoU 0.776", "cells, ISBI 2015, DIC-HeLa", _RADOVIC),
        ),
    ),
    "segnet": System(
        "SegNet",
        "Badrinarayanan 2015",
        {"name": "segnet", "width": 20},
        {"name": "segnet"},
        (_voc2012("59.9"), _camvid("46.4", "29.5")),
    ),
    "dilated": System(
        "dilated front end + context",
        "Yu & Koltun 2016",
        {"name": "dilated", "width": 16, "fc": 256},
        {"name": "dilated"},
        (
            _voc2012("71.3 front end, 73.5 with context, 74.7 with CRF, 75.3 with CRF-RNN"),
            _camvid("65.3", "140.8"),
        ),
    ),
    "deeplabv2": System(
        "DeepLabv2",
        "Chen 2016",
        {"name": "deeplabv2", **_RESNET, "rates": [3, 6, 9, 12]},
        {"name": "deeplabv2", "backbone": "resnet101"},
        (_voc2012("79.7 with CRF"), _hearts("0.39", "0.56")),
    ),
    "deeplabv3": System(
        "DeepLabv3, ASPP",
        "Chen 2017",
        {"name": "deeplabv3", **_RESNET, "rates": [3, 6, 9], "features": 128},
        {"name": "deeplabv3", "backbone": "resnet101"},
        (_voc2012("85.7"), _hearts("0.46", "0.63")),
    ),
    "deeplabv3_cascade": System(
        "DeepLabv3, cascade",
        "Chen 2017",
        {"name": "deeplabv3_cascade", "backbone": "resnet18", "width": 32},
        {"name": "deeplabv3_cascade", "backbone": "resnet101"},
    ),
    "refinenet": System(
        "RefineNet",
        "Lin 2016",
        {"name": "refinenet", "backbone": "resnet18", "width": 48, "features": 64},
        {"name": "refinenet", "backbone": "resnet101"},
        (_voc2012("84.2 with CRF, several scales, COCO"),),
    ),
    "pspnet": System(
        "PSPNet",
        "Zhao 2016",
        {"name": "pspnet", **_RESNET},
        {"name": "pspnet", "backbone": "resnet101"},
        (_voc2012("82.6; 85.4 with COCO"),),
    ),
    "gcn": System(
        "GCN",
        "Peng 2017",
        {"name": "gcn", "backbone": "resnet18"},
        {"name": "gcn", "backbone": "resnet101"},
        (_voc2012("82.2; 83.6 with better training"),),
    ),
    "fcdensenet56": System(
        "FC-DenseNet56",
        "Jégou 2017",
        {"name": "fcdensenet56", "growth": 4, "first": 16},
        {"name": "fcdensenet56"},
        (_camvid("58.9", "1.5"),),
    ),
    "fcdensenet67": System(
        "FC-DenseNet67",
        "Jégou 2017",
        {"name": "fcdensenet67", "growth": 4, "first": 16},
        {"name": "fcdensenet67"},
        (_camvid("65.8", "3.5"),),
    ),
    "fcdensenet103": System(
        "FC-DenseNet103",
        "Jégou 2017",
        {"name": "fcdensenet103", "growth": 4, "first": 16},
        {"name": "fcdensenet103"},
        (_camvid("66.9", "9.4"),),
    ),
}
