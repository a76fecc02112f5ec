"""Train in pieces, measure, and remember: what the comparisons of networks share.

A comparison trains many networks, which may take longer than anyone waits. Each result is written as soon as
it is there and not made again; a training that is stopped goes on from its checkpoint the next time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.harness import REPOSITORY, commit, machine, say, versions
from napari_cardioseg.domain import ConfigError, LabelledFrame, ModelCard, drain
from napari_cardioseg.predict import Model, PredictOptions
from napari_cardioseg.store.models import read_model
from napari_cardioseg.train import TrainConfig, TrainResult, evaluate_frames, train
from napari_cardioseg.train.evaluate import taught
from napari_cardioseg.train.recipes import find_recipe, laid_over

RESULTS = REPOSITORY / "benchmarks" / "results"
RUNS = REPOSITORY / "runs"
_CLOCK = "seconds.json"


@dataclass
class Notebook:
    """Results by name in a JSON file, each with the settings that it is of and where it was made.

    Parameters
    ----------
    path : Path
        The file; what it holds is taken up.
    """

    path: Path
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path.is_file():
            self.entries = json.loads(self.path.read_text(encoding="utf-8"))["entries"]

    def knows(self, name: str, settings: Mapping[str, Any]) -> bool:
        """Tell whether there is a result of just these settings."""
        known = self.entries.get(name, {}).get("settings")
        return known is not None and bool(known == json.loads(json.dumps(settings)))

    def write(self, name: str, settings: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """Add a result."""
        self.entries[name] = {
            "settings": dict(settings),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit(),
            "machine": machine(),
            "versions": versions(),
            **result,
        }
        self._save()

    def amend(self, name: str, **parts: Any) -> None:
        """Put other parts in a result's place, measured again on another day."""
        self.entries[name].update(parts)
        self._save()

    def _save(self) -> None:
        """Put the whole file in its place in one step."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(self.path.name + ".partial")
        partial.write_text(json.dumps({"entries": self.entries}, indent=1) + "\n", encoding="utf-8")
        partial.replace(self.path)


class Deadline:
    """A time after which no more is begun."""

    def __init__(self, minutes: float | None) -> None:
        self._end = float("inf") if minutes is None else time.monotonic() + 60 * minutes

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return time.monotonic() >= self._end


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every comparison has."""
    parser.add_argument("--profile", choices=("cpu", "gpu"), default="cpu", help="size of the networks")
    parser.add_argument("--steps", type=int, help="training steps of each run")
    parser.add_argument("--minutes", type=float, help="stop after so long; the next call goes on from there")
    parser.add_argument("--json", type=Path, metavar="OUT", help="file of the results")
    parser.add_argument("--page", action="store_true", help="only write the page from the results")


def measure_all(
    runs: Iterable[tuple[str, TrainConfig, Mapping[str, Any]]],
    notebook: Notebook,
    deadline: Deadline,
    measure: Callable[[TrainConfig, Deadline], Mapping[str, Any] | None],
) -> None:
    """Train and measure what has no result yet.

    Parameters
    ----------
    runs : iterable of (str, TrainConfig, mapping)
        Name of each result, what to train for it, and the settings that decide it (`settings_of`).
    notebook : Notebook
        Gets the results.
    deadline : Deadline
        After which no run is begun or gone on with.
    measure : callable
        Trains and measures one; gives None if the deadline came first.
    """
    for name, config, settings in runs:
        if notebook.knows(name, settings):
            say(name, "known")
            continue
        try:
            result = None if deadline.passed else measure(_in_its_folder(config, settings), deadline)
        except ConfigError as error:  # its loss was no number, say; the others go on
            say(name, f"failed: {error}")
            continue
        if result is None:
            say(name, "not finished; the same command goes on with it")
            return
        notebook.write(name, settings, result)


def learn(
    config: TrainConfig, frames: Sequence[LabelledFrame], deadline: Deadline
) -> tuple[TrainResult, float] | None:
    """Train, or go on training; gives the model and the seconds that all its steps took.

    Seconds are those of a step, checkpoints among them but no validation, times the number of steps; None if
    the deadline came first.
    """
    clock = _Clock(config.output / _CLOCK)
    job = train(config, frames)
    done = 0
    try:
        while not deadline.passed:
            start = time.perf_counter()
            try:
                progress = next(job)
            except StopIteration as end:
                return end.value, clock.seconds_a_step * config.optimiser.steps
            if done and progress.done == done + 1:  # the first step waits for the data
                clock.add(time.perf_counter() - start)
            done = progress.done
    finally:
        job.close()
        clock.save()
    return None


class _Clock:
    """Steps and the seconds they took, over all pieces of a run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        values = json.loads(path.read_text()) if path.is_file() else {}
        self.steps, self.seconds = values.get("steps", 0), values.get("seconds", 0.0)

    @property
    def seconds_a_step(self) -> float:
        return float(self.seconds / self.steps) if self.steps else float("nan")

    def add(self, seconds: float) -> None:
        self.steps += 1
        self.seconds += seconds

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps({"steps": self.steps, "seconds": self.seconds}))


def score(path: Path, frames: Sequence[LabelledFrame], options: PredictOptions) -> dict[str, Any]:
    """Measure a model file on frames, as `evaluate` does; single slices are listed only where they failed."""
    file = read_model(path)
    _refuse_taught(file.card, frames)
    report = drain(evaluate_frames(frames, Model.build(file.card, file.weights), options))
    return {key: value for key, value in report.items() if key not in ("slices", "model")}


def settings_of(config: TrainConfig, recipe: Path) -> dict[str, Any]:
    """Give what decides a result: network, budget, and a digest of the file `recipe` over what it names."""
    content = tomllib.loads(recipe.read_text(encoding="utf-8"))
    if config.recipe:
        content = laid_over(find_recipe(config.recipe).content, content)
    how = asdict(config.optimiser)
    return {
        "network": dict(config.network),
        **{name: how[name] for name in ("steps", "batch", "crop")},
        "recipe": _digest(content)[:12],
    }


def say_scores(name: str, scores: Mapping[str, Any]) -> None:
    """Print Dice and failures of each class."""
    for key, found in scores["classes"].items():
        if found["n_slices"]:
            say(
                f"{name}: {key}",
                f"Dice by slice {found['dice_slice_mean']:.3f}, by volume {found['dice_volume_mean']:.3f}, "
                f"failures {found['failures']} of {found['n_slices']}",
            )


def _refuse_taught(card: ModelCard, frames: Sequence[LabelledFrame]) -> None:
    known = taught(card) & {f.patient for f in frames}
    if known:
        raise SystemExit(f"{card.name} has learnt from {', '.join(sorted(known))}; this is no validation.")


def _in_its_folder(config: TrainConfig, settings: Mapping[str, Any]) -> TrainConfig:
    """Give each combination of settings a folder of its own, so that no run meets another's checkpoint."""
    return replace(config, output=config.output.with_name(f"{config.output.name}-{_digest(settings)[:8]}"))


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
