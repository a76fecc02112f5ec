"""Which network for my hearts? Every system of benchmarks/systems.py, trained and measured alike.

All learn from the same patients by the recipe of configs/architectures.toml, from random weights, with the
same number of steps of the same number of crops, and are measured on the patients kept for validation, as
`segment` does it without test-time augmentation. Results are written one by one and not made again, so that
the command can be stopped (or told to stop, `--minutes`) and repeated until it has them all; `--page` then
writes docs/benchmarks/architectures.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks import costs
from benchmarks.architectures_page import write_page
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
from benchmarks.systems import SYSTEMS
from napari_cardioseg.io.frames import read_frames
from napari_cardioseg.predict import PredictOptions
from napari_cardioseg.train import TrainConfig, load_config

_CONFIG = REPOSITORY / "configs" / "architectures.toml"
_BUDGET = {
    "cpu": {"steps": 1000, "batch": 8, "crop": 128},
    "gpu": {"steps": 4000, "batch": 16, "crop": 160},
}


def run(options: argparse.Namespace) -> None:
    """Train and measure what has no result yet."""
    configs = {name: configured(name, options) for name in options.systems}
    runs = [(name, config, settings_of(config, _CONFIG)) for name, config in configs.items()]
    measure_all(runs, _notebook(options), Deadline(options.minutes), _measure)


def measure_costs_again(options: argparse.Namespace) -> None:
    """Measure times and memory of the networks that have results once more, on a machine at rest."""
    notebook = _notebook(options)
    for name in (n for n in options.systems if n in notebook.entries):
        config = configured(name, options)
        how = config.optimiser
        found = costs.summary(config.network, config.device, batch=how.batch, crop=how.crop)
        notebook.amend(name, costs=found)
        say(name, f"{found['cpu_ms']} ms a slice")


def _notebook(options: argparse.Namespace) -> Notebook:
    return Notebook(options.json or RESULTS / f"architectures-{options.profile}.json")


def configured(name: str, options: argparse.Namespace) -> TrainConfig:
    """Put one system in the place of the recipe's network, within the budget."""
    how: dict[str, Any] = dict(_BUDGET[options.profile])
    how |= {key: value for key in how if (value := getattr(options, key)) is not None}
    changes = {
        "name": f"{name}-{options.profile}",
        "output": str(RUNS / "architectures" / f"{name}-{options.profile}"),
        "device": "cuda" if options.profile == "gpu" else "cpu",
        "network": dict(SYSTEMS[name].network(options.profile)),
        "optimiser": {**how, "validate_every": how["steps"]},
    }
    return load_config(_CONFIG, changes)


def _measure(config: TrainConfig, deadline: Deadline) -> dict[str, Any] | None:
    """Train one system and measure it; None if the deadline came first."""
    frames = read_frames(config.data.frames)
    learnt = learn(config, frames, deadline)
    if learnt is None:
        return None
    result, seconds = learnt
    held_out = [f for f in frames if f.patient in set(config.data.validation)]
    scores = score(result.path, held_out, PredictOptions(device=config.device, tta=False))
    say_scores(config.name, scores)
    how = config.optimiser
    return {
        "training_seconds": round(seconds, 1),
        "costs": costs.summary(config.network, config.device, batch=how.batch, crop=how.crop),
        **scores,
    }


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.architectures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser)
    parser.add_argument("--systems", type=_systems, default=tuple(SYSTEMS), help="names, with commas between")
    parser.add_argument("--batch", type=int, help="crops in a step")
    parser.add_argument("--crop", type=int, help="side of a crop in pixels")
    parser.add_argument("--costs", action="store_true", help="only measure the costs of known results again")
    options = parser.parse_args()
    if options.page:
        paths: list[Path] = [options.json] if options.json else sorted(RESULTS.glob("architectures-*.json"))
        say("written", write_page(paths))
    elif options.costs:
        measure_costs_again(options)
    else:
        run(options)


def _systems(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = sorted(set(names) - set(SYSTEMS))
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown {', '.join(unknown)}; known are {', '.join(SYSTEMS)}")
    return names


if __name__ == "__main__":
    main()
