"""Write docs/results.md from the runs in benchmarks/results, so that no figure is copied by hand.

python -m benchmarks.summary
"""

from __future__ import annotations

import json
from typing import Any

from benchmarks.harness import REPOSITORY

_RESULTS = REPOSITORY / "benchmarks" / "results"
_PAGE = REPOSITORY / "docs" / "results.md"

_HEAD = """\
# What was measured

Every figure here comes from a file of `benchmarks/results/`, written by the command named: {machine}, no
GPU, {date}. `python -m benchmarks.summary` writes this page.

## How well the shipped models do

`python -m benchmarks.accuracy`, after `napari-cardioseg train` with `configs/unet-teacher.toml`,
`unet-reshaped.toml`, `unet-validation.toml` and `deeplab-validation.toml`. The shipped models have learnt
from all patients at hand, so they are measured by their twins, which have not learnt from eight of them.
Given are means of the Dice coefficient over frames, and over patients of the Dice of their volumes; a
failure is a frame below 0.5. The myocardium counts only where its outer border was drawn (three of the
patients, at end-diastole). SC-N-06 plays no part: its masks do not lie on its heart.

| | LV by slice | by volume | failures | myocardium by slice | by volume | failures |
| --- | --- | --- | --- | --- | --- | --- |
"""

_PATIENTS = """
By patient, as `segment` does it by default; EF is that of the areas on the contoured frames:

| patient | LV by slice | by volume | failures | myocardium by slice | by volume | failures | EF | by model |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""

_CAUTION = """
These figures are kinder than a stranger's patients would be: which step of the first run was kept, how
hearts are reshaped in training, and which views test-time augmentation averages was chosen on these same
eight patients; and all patients come from one type of scanner. Eight patients, three of them for the
myocardium, are few. Only slices that the reader contoured are in the data: beyond the base and the apex
the networks often draw a ventricle where a reader draws none, and no figure here shows it. On SC-HF-NI-34
the networks' areas are a fifth larger than the reader's on all slices alike.

"""

_TIMES_HEAD = """\
## How long it takes

| what | median (least to greatest) | command |
| --- | --- | --- |
"""

_TWINS = {"unet-validation": "U-Net", "deeplab-validation": "DeepLabv3"}
_VARIANTS = (
    "default",
    "without test-time augmentation",
    "most probable class of each pixel",
    "without clean-up",
)

# What the page calls it, the benchmark, its sample, and the unit to show.
_TIMES = (
    ("segment 240 frames of 256 x 256, as by default", "segment", "240 frames, averaged over views", "s"),
    ("the same without test-time augmentation", "segment", "240 frames, each image once", "s"),
    ("scan and load a cine of 240 files", "load", "open (scan and load)", "ms"),
    (
        "the same, against a bare `pixel_array` loop over the files",
        "load",
        "open (scan and load) / bare pixel_array loop, again",
        "times",
    ),
    ("load it when it is scanned, against that loop", "load", "load / bare pixel_array loop", "times"),
    ("scan a folder of 5,000 files", "load", "scan", "s"),
    ("import the package (no torch, no Qt)", "startup", "import napari_cardioseg", "ms"),
    ("first window with the dock", "startup", "first window with the CardioSeg dock", "s"),
    ("first window of bare napari", "startup", "first window of bare napari", "s"),
)

_FOOT = """
The files were in the operating system's cache; windows ran under Xvfb with software OpenGL. No GPU has been
measured yet.
"""


def page() -> str:
    """Put the page together."""
    runs = {path.stem: json.loads(path.read_text()) for path in _RESULTS.glob("*.json")}
    accuracy = runs["accuracy"]
    machine = f"{accuracy['machine']['processor']}, {accuracy['machine']['cores']} cores"
    facts = accuracy["facts"]
    text = _HEAD.format(machine=machine, date=accuracy["date"][:10])
    for twin, title in _TWINS.items():
        for variant in _VARIANTS:
            scores = facts[twin][variant]["classes"]
            text += f"| {title}, {variant} | {_cells(scores['lv'])} | {_cells(scores['myo'])} |\n"
    for twin, title in _TWINS.items():
        text += f"\n### {title}\n" + _PATIENTS + _by_patient(facts[twin]["default"])
    text += _CAUTION + _TIMES_HEAD
    for what, run, sample, unit in _TIMES:
        text += f"| {what} | {_spread(runs[run]['results'][sample], unit)} | `python -m benchmarks.{run}` |\n"
    return text + _FOOT


def _by_patient(report: dict[str, Any]) -> str:
    """Give the table's rows, and the failures."""
    text = ""
    for patient, scores in sorted(report["patients"].items()):
        ef = report["ejection_fractions"][patient]
        text += f"| {patient} | {_cells(scores['lv'])} | {_cells(scores['myo'])} "
        text += f"| {ef['reader']:.1f} % | {ef['model']:.1f} % |\n"
    failures = [
        f"{f['patient']}, image {f['instance']}, {f['class']}, Dice {f['dice']:.2f}"
        for f in report["failures"]
    ]
    return text + f"\nThe failures: {'; '.join(failures) or 'none'}.\n"


def _cells(scores: dict[str, Any]) -> str:
    by_volume = scores.get("dice_volume_mean", scores.get("dice_volume"))
    dices = [f"{v:.3f}" if v is not None else "-" for v in (scores["dice_slice_mean"], by_volume)]
    return " | ".join((*dices, f"{scores['failures']} of {scores['n_slices']}"))


def _spread(sample: dict[str, Any], unit: str) -> str:
    factor, digits = (1000, 0) if unit == "ms" else (1, 2)
    median, least, most = (f"{factor * sample[key]:.{digits}f}" for key in ("median", "min", "max"))
    return f"{median} {unit} ({least} to {most})"


if __name__ == "__main__":
    _PAGE.write_text(page())
    print(f"written: {_PAGE}")
