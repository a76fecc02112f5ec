"""Write docs/benchmarks/thesis.md from the results: the thesis' figure beside ours in each row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import REPOSITORY

PAGE = REPOSITORY / "docs" / "benchmarks" / "thesis.md"
_TITLES = {"deeplabv2": "Tables 1 and 2: DeepLabv2", "deeplabv3": "Tables 3 and 4: DeepLabv3"}

# What the thesis calls a measure, its name here, and the thesis' figure for DeepLabv2 and for DeepLabv3.
_ROWS: tuple[tuple[str, str, Mapping[str, float]], ...] = (
    ("Mean IoU", "mean_iou", {"deeplabv2": 0.69, "deeplabv3": 0.72}),
    ("Mean Dice", "mean_dice", {"deeplabv2": 0.78, "deeplabv3": 0.81}),
    ("Mean Acc", "mean_pixel_accuracy", {"deeplabv2": 0.77, "deeplabv3": 0.90}),
    ("FreqW Acc", "frequency_weighted_iou", {"deeplabv2": 0.98, "deeplabv3": 0.98}),
    ("Overall Acc", "pixel_accuracy", {"deeplabv2": 0.99, "deeplabv3": 0.99}),
    ("IoU, myocardium (class 0)", "iou", {"deeplabv2": 0.39, "deeplabv3": 0.46}),
    ("IoU, the rest (class 1)", "rest_iou", {"deeplabv2": 0.99, "deeplabv3": 0.99}),
    ("Dice, myocardium (class 0)", "dice", {"deeplabv2": 0.56, "deeplabv3": 0.63}),
    ("Dice, the rest (class 1)", "rest_dice", {"deeplabv2": 0.99, "deeplabv3": 0.99}),
)

_HEAD = """\
# The thesis' tables, on other hearts

P. Feilles, "Convolutional Neural Networks for Heart MRIs Segmentation" (Université de Franche-Comté, 2018),
trained DeepLabv2 and DeepLabv3 to tell the myocardium ("contour") from the rest. Its data, some six slices of
each of about a hundred patients, are not public. Here are its four tables beside the same networks trained on
Sunnybrook's frames, by its recipe (`feilles2018`) and by ours (`configs/architectures.toml`), measured by its
definitions: all pixels of all frames in one confusion matrix, the myocardium against the rest.
`python -m benchmarks.thesis` trains and, with `--page`, writes this page.
"""

_DIFFERENCES = """
## What differs

- **Hearts.** Six patients here have the myocardium drawn and are learnt from, three are measured on, all at
  end-diastole; the thesis had about a hundred patients in all. A network that takes many steps here sees the
  same few frames very often.
- **The start.** Here weights are random. The thesis does not say; the program that it was derived from
  (kazuto1011/deeplab-pytorch) starts from a ResNet trained on natural images.
- **Size.** Where the sentence under a table names a smaller backbone or fewer steps than the thesis'
  (DeepLabv2 100,000, DeepLabv3 35,000 of 2 crops of 450 from frames of 513), there was no GPU to hand.
- **Intensities.** The thesis subtracted one mean (144.686) from all images, and found that dark ones came out
  empty; it left those out of its discussion. Here each frame is normalised by itself, and every frame counts.
- **The choice of the checkpoint.** Both keep the best one as judged on the very images that are measured, so
  both are kind to themselves; our recipe keeps the last.
- **Momentum and weight decay.** Not in the thesis: those of the program it was derived from.
- **The rest.** Its share decides "FreqW" and "Overall": where nearly all pixels are background, both are near
  1 whatever becomes of the myocardium. Only the myocardium's rows tell networks apart.
- **Ours** learns cavity and myocardium together, also from frames on which only the cavity is drawn, on crops
  around the heart, with augmentation; it is measured after clean-up, as `segment` does it.
"""


def write_page(theirs: Path, ours: Path) -> Path:
    """Write the page from the results by the thesis' recipe and by ours; gives its path."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(_entries(theirs), _entries(ours)), encoding="utf-8")
    return PAGE


def page(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """Put the page together; networks without results show dashes."""
    text = _HEAD
    for name, title in _TITLES.items():
        text += f"\n## {title}\n\n| | thesis | `feilles2018` here | our recipe here |\n"
        text += "| --- | --- | --- | --- |\n"
        columns = [found.get(name, {}) for found in (theirs, ours)]
        measured = [c.get("classes", {}).get("myo", {}) for c in columns]
        for label, key, published in _ROWS:
            values = [_number(m.get("against_rest", {}).get(key)) for m in measured]
            text += f"| {label} | {published[name]:.2f} | {' | '.join(values)} |\n"
        frames = [str(m.get("against_rest", {}).get("n_frames", "-")) for m in measured]
        missed = [str(m.get("n_missed", "-")) for m in measured]
        text += f"| frames | not told | {' | '.join(frames)} |\n"
        text += f"| of these, nothing found on | not told | {' | '.join(missed)} |\n"
        for label, column in zip(("`feilles2018`", "Our recipe"), columns, strict=True):
            text += f"\n{label}: {_how(column)}\n" if column else f"\n{label}: not measured yet.\n"
    return text + _DIFFERENCES


def _how(entry: Mapping[str, Any]) -> str:
    """Tell of a run's network, budget, machine and date."""
    settings, machine = entry["settings"], entry["machine"]
    arguments = ", ".join(f"{k} {v}" for k, v in settings["network"].items() if k != "name")
    size = f", of frames resized to {settings['resize'][0]}" if settings.get("resize") else ""
    kept = f", of which that after step {entry['kept_step']} was kept" if entry.get("kept_step") else ""
    return (
        f"{arguments or 'as in the paper'}; {settings['steps']} steps of {settings['batch']} crops of "
        f"{settings['crop']}{size}{kept}; {entry['training_seconds'] / 60:.0f} minutes on "
        f"{machine['processor']}, {machine['cores']} cores; {entry['date'][:10]}."
    )


def _entries(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    entries: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))["entries"]
    return entries


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
