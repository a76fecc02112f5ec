"""How long the whole cine takes: 240 frames (12 slices x 20 phases of 256 x 256) by the shipped model.

The cine is SCD0000101 of the Sunnybrook data where they are at hand, else the phantom of the same size. The
time is that of the job the window and `segment` run: normalisation, network, clean-up, uncertainty; the
loading of files and of the model is not in it. Goal: at most 5 s on the CPU.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.harness import REPOSITORY, Report, main
from napari_cardioseg.domain import Cine, drain
from napari_cardioseg.io import load_cine, scan
from napari_cardioseg.io.phantom import make_phantom
from napari_cardioseg.predict import Model, PredictOptions, predict_cine
from napari_cardioseg.store.models import DEFAULT_MODEL, read_model

GOAL = 5.0  # seconds


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what this benchmark can be told."""
    parser.add_argument("--device", default="cpu", help="where to compute (default: cpu)")
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, help="a model's name or file (default: the shipped one)"
    )


def load() -> tuple[Cine, str]:
    """Load the real cine, or make the phantom; tell which."""
    default = REPOSITORY.parent / "shared" / "data" / "sunnybrook"
    folder = Path(os.environ.get("CARDIOSEG_SUNNYBROOK", default)) / "dicom" / "SCD0000101"
    if not folder.is_dir():
        return make_phantom().cine, "phantom"
    return drain(load_cine(drain(scan(folder)).series[0])), "Sunnybrook SCD0000101"


def run(report: Report, options: argparse.Namespace) -> None:
    """Segment the cine with and without test-time augmentation."""
    cine, source = load()
    file = read_model(options.model)
    model = Model.build(file.card, file.weights)
    report.fact("cine", source)
    report.fact("frames", cine.n_slices * cine.n_phases)
    report.fact("matrix", list(cine.data.shape[2:]))
    report.fact("model", model.card.name)
    report.fact("device", options.device)
    report.fact("torch threads", torch.get_num_threads())
    plain = PredictOptions(device=options.device, tta=False)
    averaged = replace(plain, tta=True)
    with_tta, without = "240 frames, averaged over views", "240 frames, each image once"
    report.compare(
        with_tta,
        lambda: drain(predict_cine(cine, model, options=averaged)),
        without,
        lambda: drain(predict_cine(cine, model, options=plain)),
    )
    report.fact("what segment does by default", with_tta if PredictOptions().tta else without)
    for way in (with_tta, without):
        report.goal(way, at_most=GOAL)


if __name__ == "__main__":
    main(run, __doc__, add_options)
