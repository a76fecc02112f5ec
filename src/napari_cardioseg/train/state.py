"""What changes during a training run, and its checkpoint on disk."""

from __future__ import annotations

import hashlib
import json
import math
import pickle
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_cardioseg.domain import ConfigError, LabelledFrame
from napari_cardioseg.models import SegmentationNetwork
from napari_cardioseg.store.models import find_model
from napari_cardioseg.train.config import TrainConfig
from napari_cardioseg.train.data import fingerprint
from napari_cardioseg.train.optimise import OptimiserConfig

_HINT = "Delete it, name another output folder, or train with --no-resume to start anew."


@dataclass
class RunState:
    """All that changes during a run, and so all that a checkpoint holds.

    What is random in a step follows from the run's seed and the step's number (`batches`).

    Parameters
    ----------
    network, average : SegmentationNetwork
        The network that learns, and the moving average of its weights.
    optimiser : torch.optim.Optimizer
    scaler : torch.amp.GradScaler
        Scales the loss in float16, and does nothing in other precisions.
    digest : str
        Of the run's settings and data (`run_digest`): a checkpoint of another run is refused.
    step : int
        Steps done.
    losses : list of float
        Of the steps since the last row of the log.
    best, best_weights
        The best validation score, and the averaged weights that reached it.
    history : list of dict
        The record of each validation.
    """

    network: SegmentationNetwork
    average: SegmentationNetwork
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    digest: str = ""
    step: int = 0
    losses: list[float] = field(default_factory=list)
    best: float = -math.inf
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)

    def is_to_be_validated(self, how: OptimiserConfig) -> bool:
        """Tell whether a validation is due after this step and still to come."""
        due = self.step > 0 and (self.step % how.validate_every == 0 or self.step >= how.steps)
        return due and not (self.history and self.history[-1]["step"] == self.step)

    def is_finished(self, how: OptimiserConfig) -> bool:
        """Tell whether the run is over, by its steps or because it no longer gets better."""
        if self.step >= how.steps:
            return not self.is_to_be_validated(how)
        scores = [record["score"] for record in self.history if "score" in record]
        return 0 < how.patience <= len(scores) - 1 - scores.index(max(scores)) if scores else False

    def save(self, path: Path) -> None:
        """Write a checkpoint in one step."""
        partial = path.with_name(path.name + ".partial")
        torch.save(
            {
                "digest": self.digest,
                "network": self.network.state_dict(),
                "average": self.average.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "scaler": self.scaler.state_dict(),
                "step": self.step,
                "losses": self.losses,
                "best": self.best,
                "best_weights": self.best_weights,
                "history": self.history,
            },
            partial,
        )
        partial.replace(path)

    def restore(self, saved: dict[str, Any], path: Path) -> None:
        """Take up what a checkpoint held.

        Parameters
        ----------
        saved : dict
            From `read_checkpoint`.
        path : Path
            Where it was read from.

        Raises
        ------
        ConfigError
            If it is of a run with other settings or data, or damaged.
        """
        try:
            if saved["digest"] != self.digest:
                raise ConfigError(f"{path} is of a run with other settings, patients or labels. {_HINT}")
            self.network.load_state_dict(saved["network"])
            self.average.load_state_dict(saved["average"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.scaler.load_state_dict(saved["scaler"])
            self.step, self.losses = int(saved["step"]), list(saved["losses"])
            self.best, self.best_weights = float(saved["best"]), saved["best_weights"]
            self.history = list(saved["history"])
        except (RuntimeError, LookupError, ValueError, TypeError) as error:
            raise ConfigError(f"The checkpoint {path} is damaged. {_HINT}") from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `RunState.save` wrote.

    Raises
    ------
    ConfigError
        If it is damaged.
    """
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except (pickle.UnpicklingError, RuntimeError, LookupError, ValueError, TypeError, OSError) as error:
        raise ConfigError(f"The checkpoint {path} is damaged. {_HINT}") from error


def run_digest(
    config: TrainConfig, chosen: Sequence[LabelledFrame], held_out: Sequence[LabelledFrame]
) -> str:
    """Sum up all that decides a run: its settings, its data, and the models it starts from."""
    settings = asdict(config)
    for where in ("output", "device", "run", "recipe", "description"):  # these decide nothing
        settings.pop(where)
    for who in ("frames", "validation", "left_out"):  # the frames themselves do
        settings["data"].pop(who)
    for role in ("parent", "teacher"):
        if settings[role]:
            settings[role] = hashlib.sha256(find_model(settings[role]).read_bytes()).hexdigest()
    settings["frames"] = [fingerprint(chosen), fingerprint(held_out)]
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()
