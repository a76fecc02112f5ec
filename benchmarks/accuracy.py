"""How well the shipped models segment patients they have not seen, and what each step of prediction adds.

The shipped models have learnt from all patients at hand, so that their figures there would mean nothing.
Measured are their twins, which have not learnt from the validation patients of configs/unet-validation.toml
(`napari-cardioseg train` with unet-validation.toml and deeplab-validation.toml makes them). Every patient and
every failed frame is listed in the JSON. Variants: as `segment` does it, without test-time augmentation, with
each pixel's most probable class, and without clean-up. The ejection fraction is that of the areas on the
frames that the reader contoured.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any
from unittest import mock

import torch

from benchmarks.harness import REPOSITORY, Report, main, say
from napari_cardioseg.domain import LabelledFrame, drain
from napari_cardioseg.io.frames import read_frames
from napari_cardioseg.predict import Model, PredictOptions
from napari_cardioseg.predict.decide import choose_labels
from napari_cardioseg.store.models import read_model
from napari_cardioseg.train import evaluate_frames, load_config
from napari_cardioseg.train.evaluate import taught

TWINS = ("unet-validation", "deeplab-validation")
"""Runs whose models are measured; the first is the default model's twin."""

_PHASES = 20  # of every Sunnybrook cine: instances are numbered slice by slice (its README)
_PROBABLE = "most probable class of each pixel"
_VARIANTS = {
    "default": PredictOptions(),
    "without test-time augmentation": PredictOptions(tta=False),
    _PROBABLE: PredictOptions(),
    "without clean-up": PredictOptions(clean_up=False),
}


def run(report: Report, options: argparse.Namespace) -> None:
    """Evaluate each twin and note its scores."""
    config = load_config(REPOSITORY / "configs" / f"{TWINS[0]}.toml")
    frames = read_frames(config.data.frames, config.data.validation)
    report.fact("patients", list(config.data.validation))
    for name in options.models:
        model = _read(name, config.data.validation)
        report.facts[name] = {"network": dict(model.card.network), **_variants(frames, model)}


def _read(name: str, held_out: Sequence[str]) -> Model:
    config = load_config(REPOSITORY / "configs" / f"{name}.toml")
    model_file = read_model(config.output / f"{name}.safetensors")
    known = taught(model_file.card) & set(held_out)
    if known:
        raise SystemExit(f"{name} was trained on {', '.join(sorted(known))}; this would not be a validation.")
    return Model.build(model_file.card, model_file.weights)


def _variants(frames: Sequence[LabelledFrame], model: Model) -> dict[str, Any]:
    """Score one model in all ways."""
    found: dict[str, Any] = {}
    for variant, how in _VARIANTS.items():
        choice = _most_probable if variant == _PROBABLE else choose_labels
        with mock.patch("napari_cardioseg.predict.frames.choose_labels", choice):
            result = drain(evaluate_frames(frames, model, how))
        rows = result.pop("slices")
        found[variant] = {**result, "ejection_fractions": _ejection_fractions(rows)}
        for key, scores in result["classes"].items():
            say(f"{model.card.name}, {variant}: {key}", _line(scores))
    return found


def _most_probable(p: torch.Tensor) -> torch.Tensor:
    return p.argmax(dim=1)


def _ejection_fractions(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Give each patient's EF in percent from the areas of the cavity at the two contoured phases.

    All slices of a patient are equally far apart, so that areas are as good as volumes.
    """
    areas: dict[str, dict[int, list[int]]] = {}
    for row in rows:
        if row["class"] == "lv":
            phase = (row["instance"] - 1) % _PHASES
            sums = areas.setdefault(row["patient"], {}).setdefault(phase, [0, 0])
            sums[0] += row["area_true"]
            sums[1] += row["area_found"]
    found = {}
    for patient, phases in areas.items():
        ed = max(phases, key=lambda phase: phases[phase][0])
        es = min(phases, key=lambda phase: phases[phase][0])
        true, model = (100 * (1 - phases[es][i] / phases[ed][i]) for i in (0, 1))
        found[patient] = {"reader": round(true, 1), "model": round(model, 1)}
    return found


def _line(scores: dict[str, Any]) -> str:
    return (
        f"Dice by slice {scores['dice_slice_mean']:.3f}, by volume {scores['dice_volume_mean']:.3f}, "
        f"failures {scores['failures']} of {scores['n_slices']}"
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Let fewer models be measured."""
    parser.add_argument("--models", nargs="+", choices=TWINS, default=TWINS, help="(default: all)")


if __name__ == "__main__":
    main(run, __doc__, add_options)
