"""How well a model segments patients that it has not seen, and what each step of prediction adds.

Measured on the Sunnybrook patients that configs/unet-validation.toml keeps for validation, by the model that
this configuration trains (`napari-cardioseg train configs/unet-validation.toml`; the shipped model has
learnt from these patients too, so that its figures here would mean nothing). Every patient and every
failed frame is listed in the JSON. Variants: as `segment` does it, without test-time augmentation, without
clean-up, and the bare network on whole frames.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.harness import REPOSITORY, Report, main, say
from napari_cardioseg.domain import LabelledFrame, drain
from napari_cardioseg.io.frames import read_frames
from napari_cardioseg.predict import Model, PredictOptions
from napari_cardioseg.predict.infer import batches, probabilities
from napari_cardioseg.predict.preprocess import normalise
from napari_cardioseg.quantify.overlap import dice
from napari_cardioseg.store.models import read_model
from napari_cardioseg.train import evaluate_frames, load_config

_CONFIG = REPOSITORY / "configs" / "unet-validation.toml"
_VARIANTS = {
    "default": PredictOptions(),
    "without test-time augmentation": PredictOptions(tta=False),
    "without clean-up": PredictOptions(clean_up=False),
}


def run(report: Report, options: argparse.Namespace) -> None:
    """Evaluate each variant and note its scores."""
    config = load_config(_CONFIG)
    frames = read_frames(config.data.frames, config.data.validation)
    path = options.model or config.output / f"{config.name}.safetensors"
    model_file = read_model(path)
    taught = set(model_file.card.training.get("patients", ())) & set(config.data.validation)
    if taught:
        raise SystemExit(
            f"{path} was trained on {', '.join(sorted(taught))}; this would not be a validation."
        )
    model = Model.build(model_file.card, model_file.weights)
    report.fact("model", model_file.card.name)
    report.fact("patients", list(config.data.validation))
    for name, how in _VARIANTS.items():
        result = drain(evaluate_frames(frames, model, how))
        report.facts[name] = result
        for key, scores in result["classes"].items():
            say(f"{name}: {key}", _line(scores))
    report.facts["bare network"] = _bare(frames, model)
    for key, score in report.facts["bare network"].items():
        say(
            f"bare network: {key}",
            f"Dice by slice {score['dice_slice_mean']:.3f}, failures {score['failures']}",
        )


def _line(scores: dict[str, Any]) -> str:
    return (
        f"Dice by slice {scores['dice_slice_mean']:.3f}, by volume {scores['dice_volume_mean']:.3f}, "
        f"failures {scores['failures']} of {scores['n_slices']}"
    )


def _bare(frames: Sequence[LabelledFrame], model: Model) -> dict[str, dict[str, float]]:
    """Score the network's most probable class on whole frames, each on its own."""
    images = torch.from_numpy(normalise(np.stack([f.image for f in frames]), model.card.preprocessing))
    found = torch.cat([probabilities(model.network, images[b]).argmax(1) for b in batches(len(images), 8)])
    result = {}
    for channel, c in enumerate(model.card.scheme, start=1):
        scores = [
            dice(found[i].numpy() == channel, f.labels == c.value)
            for i, f in enumerate(frames)
            if c.value in f.known
        ]
        result[c.key] = {
            "dice_slice_mean": float(np.mean(scores)),
            "failures": sum(s < 0.5 for s in scores),
            "n_slices": len(scores),
        }
    return result


def add_options(parser: argparse.ArgumentParser) -> None:
    """Let another model be measured."""
    parser.add_argument("--model", help="a model file (default: what the configuration trains)")


if __name__ == "__main__":
    main(run, __doc__, add_options)
