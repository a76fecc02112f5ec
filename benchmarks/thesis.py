"""The tables of the thesis that this project began with, on Sunnybrook's hearts.

P. Feilles, "Convolutional neural networks for heart MRIs segmentation" (2018), trained DeepLabv2 (tables 1
and 2) and DeepLabv3 (3 and 4) to tell the myocardium from the rest. Here both learn by its recipe
(`feilles2018`), and are measured by its definitions (its section 3.1), on whole frames and without clean-up.
Beside them stand the same networks by our recipe, from the results of `benchmarks.architectures`.

`--profile gpu` takes the thesis' sizes and steps; `cpu` takes smaller networks, frames of half the side and
fewer steps. Runs can be stopped and are taken up again; `--page` writes docs/benchmarks/thesis.md.
"""

from __future__ import annotations

import argparse
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
from benchmarks.thesis_page import write_page
from napari_cardioseg.domain import LV_SCHEME
from napari_cardioseg.io.frames import read_frames
from napari_cardioseg.predict import PredictOptions
from napari_cardioseg.train import TrainConfig, load_config

_CONFIG = REPOSITORY / "configs" / "thesis.toml"
# How each network of the thesis learnt: DeepLabv2 at one rate throughout (section 6.1), DeepLabv3 15000 steps
# at it and 20000 of poly decay (6.2).
_STEPS = {"deeplabv2": 100_000, "deeplabv3": 35_000}
_HELD = {"deeplabv2": 1.0, "deeplabv3": 15 / 35}
_CHECKS = 7  # validations, of which the best is kept: every 5000 steps of DeepLabv3's, as its figures show
_CPU_STEPS = 3000
_CPU_SIZE = {"resize": [257, 257], "crop": 225}  # half of 513 and 450, and so are the atrous rates
_NETWORKS: dict[str, dict[str, dict[str, Any]]] = {
    "cpu": {
        "deeplabv2": {"backbone": "resnet18", "width": 32, "rates": [3, 6, 9, 12]},
        "deeplabv3": {"backbone": "resnet18", "width": 32, "rates": [3, 6, 9], "features": 128},
    },
    "gpu": {"deeplabv2": {"backbone": "resnet101"}, "deeplabv3": {"backbone": "resnet101"}},
}


def run(options: argparse.Namespace) -> None:
    """Train and measure what has no result yet."""
    notebook = Notebook(options.json or RESULTS / f"thesis-{options.profile}.json")
    configs = {name: configured(name, options) for name in _STEPS}
    runs = [
        (name, config, {**settings_of(config, _CONFIG), "resize": config.preprocessing.resize})
        for name, config in configs.items()
    ]
    measure_all(runs, notebook, Deadline(options.minutes), _measure)


def configured(name: str, options: argparse.Namespace) -> TrainConfig:
    """Lay the network and the budget over the thesis' recipe."""
    small = options.profile == "cpu"
    steps = options.steps or (_CPU_STEPS if small else _STEPS[name])
    optimiser: dict[str, Any] = {"steps": steps, "validate_every": -(-steps // _CHECKS)}
    optimiser["hold"] = round(_HELD[name] * steps)
    changes: dict[str, Any] = {
        "name": f"{name}-{options.profile}",
        "output": str(RUNS / "thesis" / f"{name}-{options.profile}"),
        "device": "cpu" if small else "cuda",
        "network": {"name": name, **_NETWORKS[options.profile][name]},
        "optimiser": optimiser,
    }
    if small:
        optimiser["crop"] = _CPU_SIZE["crop"]
        changes["preprocessing"] = {"resize": _CPU_SIZE["resize"]}
    return load_config(_CONFIG, changes)


def _measure(config: TrainConfig, deadline: Deadline) -> dict[str, Any] | None:
    """Train one network and measure it; None if the deadline came first."""
    frames = read_frames(config.data.frames)
    learnt = learn(config, frames, deadline)
    if learnt is None:
        return None
    result, seconds = learnt
    myocardium = LV_SCHEME.by_key("myo").value
    held_out = [f for f in frames if f.patient in set(config.data.validation) and myocardium in f.known]
    options = PredictOptions(device=config.device, tta=False, clean_up=False)
    scores = score(result.path, held_out, options)
    say_scores(config.name, scores)
    kept = result.card.metrics.get("validation", {}).get("step")
    return {"training_seconds": round(seconds, 1), "kept_step": kept, **scores}


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.thesis",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser)
    options = parser.parse_args()
    if options.page:
        ours = RESULTS / f"architectures-{options.profile}.json"
        theirs: Path = options.json or RESULTS / f"thesis-{options.profile}.json"
        say("written", write_page(theirs, ours))
    else:
        run(options)


if __name__ == "__main__":
    main()
