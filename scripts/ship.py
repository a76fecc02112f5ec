#!/usr/bin/env python3
"""Put the trained models into the package, each with what its twin scored on patients it had not seen.

    python scripts/ship.py

Needs the runs of configs/unet-sunnybrook.toml and deeplab-sunnybrook.toml, and the results of
`python -m benchmarks.accuracy`, which measures the twins: the same networks before they learnt from the
validation patients.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_cardioseg.store.models import SUFFIX, read_model, shipped_folder, write_model

REPOSITORY = Path(__file__).resolve().parent.parent
ACCURACY = REPOSITORY / "benchmarks" / "results" / "accuracy.json"
TWINS = {"unet-sunnybrook": "unet-validation", "deeplab-sunnybrook": "deeplab-validation"}
_KEPT = ("dice_slice_mean", "dice_volume_mean", "hd95_mm_slice_mean", "failures", "n_slices")
_KEPT_BY_PATIENT = ("dice_slice_mean", "dice_volume", "hd95_mm_slice_mean", "failures", "n_slices")


def main() -> None:
    """Ship every model."""
    accuracy = json.loads(ACCURACY.read_text(encoding="utf-8"))
    for name, twin in TWINS.items():
        trained = read_model(REPOSITORY / "runs" / name / f"{name}{SUFFIX}")
        card = replace(trained.card, metrics=metrics_of(accuracy, twin))
        path = shipped_folder() / f"{name}{SUFFIX}"
        write_model(path, replace(trained, card=card))
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def metrics_of(accuracy: dict[str, Any], twin: str) -> dict[str, Any]:
    """Take a twin's scores as `segment` does it by default, by class and by patient."""
    scores = accuracy["facts"][twin]["default"]
    return {
        "validation of its twin": {
            "twin": twin,
            "command": accuracy["command"],
            "commit": accuracy["commit"],
            "date": accuracy["date"],
            "classes": {key: _only(_KEPT, found) for key, found in scores["classes"].items()},
            "patients": {
                patient: {key: _only(_KEPT_BY_PATIENT, found) for key, found in classes.items()}
                for patient, classes in scores["patients"].items()
            },
            "ejection_fractions": scores["ejection_fractions"],
            "failures": scores["failures"],
        }
    }


def _only(keys: tuple[str, ...], scores: dict[str, Any]) -> dict[str, Any]:
    """Take some of the scores, to four digits."""
    return {key: round(v, 4) if isinstance(v := scores.get(key), float) else v for key in keys}


if __name__ == "__main__":
    main()
