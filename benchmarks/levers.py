"""What does each part of our recipe bring? The U-Net of `benchmarks.architectures`, with one thing changed.

All runs learn from the same patients with the budget of that comparison. Results are written one by one and
not made again; `--page` then writes docs/benchmarks/levers.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import REPOSITORY, say
from benchmarks.learning import (
    RESULTS,
    RUNS,
    Deadline,
    Notebook,
    add_options,
    learn,
    measure_all,
    say_scores,
    score,
    settings_of,
)
from napari_cardioseg.io.frames import read_frames
from napari_cardioseg.predict import PredictOptions
from napari_cardioseg.train import TrainConfig, load_config

PAGE = REPOSITORY / "docs" / "benchmarks" / "levers.md"
_CONFIG = REPOSITORY / "configs" / "architectures.toml"
_BUDGET = {"cpu": {"steps": 1000, "batch": 8, "crop": 128}, "gpu": {"steps": 4000, "batch": 16, "crop": 160}}
_TEACHER = RUNS / "unet-validation" / "unet-validation.safetensors"

# What is changed in the recipe, by what the page calls it.
LEVERS: Mapping[str, Mapping[str, Any]] = {
    "as in the comparison of networks": {},
    "hearts keep their shape": {"augmentation": {"reshaped": 0.0}},
    "hearts reshaped more often and further": {
        "augmentation": {"contraction": 3.0, "hypertrophy": 3.0, "reshaped": 0.65}
    },
    "a teacher fills in the walls that nobody drew": {"teacher": str(_TEACHER)},
    "with SC-N-06, whose masks do not lie on its heart": {"data": {"left_out": []}},
    "Dice over the batch instead of frame by frame": {"loss": {"per_frame": False}},
    "cross entropy alone": {"loss": {"dice": 0.0}},
    "crops on the whole frame's scale of intensities": {"augmentation": {"local": 0.0}},
    "no change of intensities": {
        "augmentation": {
            "gamma": 1.0,
            "contrast": 0.0,
            "brightness": 0.0,
            "bias": 0.0,
            "noise": 0.0,
            "blur": 0.0,
        }
    },
    "elastic deformation": {"augmentation": {"elastic": 5.0}},
    "pixels of 0.885 mm": {
        "preprocessing": {"spacing": 0.885},
        "augmentation": {"shift": 60.0},
        "optimiser": {"crop": 192},
    },
}

_HEAD = """\
# What each part of the recipe brings

The U-Net of [the comparison of networks](architectures.md), trained once for each row with one thing
changed: `python -m benchmarks.levers`, which writes this page with `--page` from
`benchmarks/results/levers-*.json`. One run each, on eight patients: differences below about 0.01 say little.

| | LV Dice, slice | volume | failures | myocardium, slice | volume | failures |
| --- | --- | --- | --- | --- | --- | --- |
"""


def configured(changes: Mapping[str, Any], profile: str, steps: int | None) -> TrainConfig:
    """Lay one lever over the recipe."""
    how = {**_BUDGET[profile], **({} if steps is None else {"steps": steps})}
    how |= changes.get("optimiser", {})
    return load_config(
        _CONFIG,
        {
            **changes,
            "name": f"lever-{profile}",
            "output": str(RUNS / "levers" / profile),
            "device": "cuda" if profile == "gpu" else "cpu",
            "optimiser": {**how, "validate_every": how["steps"]},
        },
    )


def run(options: argparse.Namespace) -> None:
    """Train and measure what has no result yet."""
    notebook = Notebook(options.json or RESULTS / f"levers-{options.profile}.json")
    runs = []
    for name, changes in LEVERS.items():
        config = configured(changes, options.profile, options.steps)
        settings = {**settings_of(config, _CONFIG), "changes": dict(changes)}
        runs.append((name, config, settings))
    measure_all(runs, notebook, Deadline(options.minutes), _measure)


def _measure(config: TrainConfig, deadline: Deadline) -> dict[str, Any] | None:
    frames = read_frames(config.data.frames)
    learnt = learn(config, frames, deadline)
    if learnt is None:
        return None
    held_out = [f for f in frames if f.patient in set(config.data.validation)]
    scores = score(learnt[0].path, held_out, PredictOptions(device=config.device, tta=False))
    say_scores(config.name, scores)
    return {"training_seconds": round(learnt[1], 1), **scores}


def page(path: Path) -> str:
    """Put the page together from a file of results."""
    entries = json.loads(path.read_text(encoding="utf-8"))["entries"]
    text = _HEAD
    for name in (n for n in LEVERS if n in entries):
        text += (
            f"| {name} | "
            + " | ".join(_cells(entries[name]["classes"][key]) for key in ("lv", "myo"))
            + " |\n"
        )
    first = next(iter(entries.values()))
    steps = "{steps} steps of {batch} crops of {crop} x {crop} pixels".format(**first["settings"])
    machine = first["machine"]
    dates = sorted(entry["date"][:10] for entry in entries.values())
    return text + (
        f"\nEach: {steps} but where stated, from random weights. Measured on {machine['processor']}, "
        f"{machine['cores']} cores; {' to '.join(dict.fromkeys((dates[0], dates[-1])))}.\n"
    )


def _cells(scores: Mapping[str, Any]) -> str:
    dices = (f"{scores[key]:.3f}" for key in ("dice_slice_mean", "dice_volume_mean"))
    return " | ".join((*dices, f"{scores['failures']} of {scores['n_slices']}"))


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.levers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser)
    options = parser.parse_args()
    if options.page:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(page(options.json or RESULTS / f"levers-{options.profile}.json"))
        say("written", PAGE)
    else:
        run(options)


if __name__ == "__main__":
    main()
