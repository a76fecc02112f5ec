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


@dataclass
class RunState:
    """All that changes during a run, and so all that a checkpoint holds.

    Parameters
    ----------
    network, average : SegmentationNetwork
        The network that learns, and the moving average of its weights.
    optimiser : torch.optim.AdamW
    rng : torch.Generator
        Source of all randomness.
    digest : str
        Of the run's settings and data (`run_digest`): a checkpoint of another run is refused.
    step : int
        Steps done.
    unchecked : float, optional
        The loss of a step whose validation is still to come.
    best, best_weights
        The best validation score, and the averaged weights that reached it.
    history : list of dict
        The record of each validation.
    """

    network: SegmentationNetwork
    average: SegmentationNetwork
    optimiser: torch.optim.AdamW
    rng: torch.Generator
    digest: str = ""
    step: int = 0
    unchecked: float | None = None
    best: float = -math.inf
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write a checkpoint in one step."""
        partial = path.with_name(path.name + ".partial")
        torch.save(
            {
                "digest": self.digest,
                "network": self.network.state_dict(),
                "average": self.average.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "rng": self.rng.get_state(),
                "step": self.step,
                "unchecked": self.unchecked,
                "best": self.best,
                "best_weights": self.best_weights,
                "history": self.history,
            },
            partial,
        )
        partial.replace(path)

    def load(self, path: Path) -> None:
        """Take up a checkpoint.

        Raises
        ------
        ConfigError
            If it is of a run with other settings or data, or damaged.
        """
        hint = "Delete it, name another output folder, or train with --no-resume to start anew."
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
            if saved["digest"] != self.digest:
                raise ConfigError(f"{path} is of a run with other settings, patients or labels. {hint}")
            self.network.load_state_dict(saved["network"])
            self.average.load_state_dict(saved["average"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.rng.set_state(saved["rng"])
            self.step, self.unchecked = int(saved["step"]), saved["unchecked"]
            self.best, self.best_weights = float(saved["best"]), saved["best_weights"]
            self.history = list(saved["history"])
        except (pickle.UnpicklingError, RuntimeError, LookupError, ValueError, TypeError, OSError) as error:
            raise ConfigError(f"The checkpoint {path} is damaged. {hint}") from error


def run_digest(
    config: TrainConfig, chosen: Sequence[LabelledFrame], held_out: Sequence[LabelledFrame]
) -> str:
    """Sum up all that decides a run: its settings, its data, and the models it starts from."""
    settings = asdict(config)
    for where in ("output", "device", "description"):  # these decide nothing
        settings.pop(where)
    settings["data"].pop("frames")
    for role in ("parent", "teacher"):
        if settings[role]:
            settings[role] = hashlib.sha256(find_model(settings[role]).read_bytes()).hexdigest()
    settings["frames"] = [fingerprint(chosen), fingerprint(held_out)]
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()
