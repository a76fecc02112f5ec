"""Write docs/benchmarks/architectures.md from the results, so that no figure is copied by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import REPOSITORY
from benchmarks.systems import SYSTEMS

PAGE = REPOSITORY / "docs" / "benchmarks" / "architectures.md"
_ALIKE = 0.01  # of Dice: eight patients tell no finer difference

Entries = Mapping[str, Mapping[str, Any]]

_HEAD = """\
# Which network for my hearts?

Every system here learnt from the same patients by the same recipe with the same budget, and was measured on
the same patients by the same code: `python -m benchmarks.architectures`, which writes this page with `--page`
from `benchmarks/results/architectures-*.json`. There, too, are all patients and every slice that failed.

The recipe is `configs/architectures.toml`: Sunnybrook's frames at end-diastole and end-systole, 20 patients
to learn from, eight to measure on; random weights at the start, partial labels, no teacher, the last weights.
It answers what a network makes of few hearts in a short time, not what it can reach at best: the shipped
models learnt longer and in several runs (`docs/results.md`). Networks whose papers begin with ImageNet's
weights miss those here.
"""

_QUALITY = """
Means of the Dice coefficient and of the 95th percentile of the Hausdorff distance over slices, and over
patients of their slices pooled ("volume"); a failure is a slice below 0.5. The myocardium counts where its
outer border was drawn: three of the patients, at end-diastole. Best mean of both volumes first.

| system | LV Dice, slice | volume | HD95 mm | failures | myo Dice, slice | volume | HD95 mm | failures |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""

_COSTS = """
GFLOPs count two operations for each multiply-add of convolutions for one slice of 256 x 256; CPU and GPU are
the median time of one such slice by itself; memory is the peak for it, and for a training step, weights
included.

| system | network | parameters, M | GFLOPs | training, min | CPU, ms | GPU, ms | slice, MiB | training, MiB |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""

_SEEDS = """
## What others measured

The figures that the texts this project began with give for these systems, as they stand there. They are of
other images and classes, and of networks of the papers' full size, most of which began with ImageNet's
weights (not the U-Net and the FC-DenseNets), so that only their order may be compared, and that with care.

| system | figure | images | given by |
| --- | --- | --- | --- |
"""


def write_page(paths: Iterable[Path]) -> Path:
    """Write the page from files of results, one for each profile; gives its path."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page([json.loads(path.read_text(encoding="utf-8"))["entries"] for path in paths]))
    return PAGE


def page(profiles: Sequence[Entries]) -> str:
    """Put the page together from the entries of each profile."""
    text = _HEAD
    for entries in profiles:
        text += _profile(entries)
    text += _SEEDS
    for system in SYSTEMS.values():
        for found in system.published:
            text += f"| {system.title} ({system.paper}) | {found.figure} | {found.images} | {found.seed} |\n"
    return text


def _profile(entries: Entries) -> str:
    """Describe what was measured with one size of the networks."""
    names = sorted((name for name in SYSTEMS if name in entries), key=lambda n: -_merit(entries[n]))
    if not names:
        return ""
    text = f"\n## {_budget(entries, names)}\n\n{_answer(entries, names)}\n" + _QUALITY
    for name in names:
        classes = entries[name]["classes"]
        text += f"| {SYSTEMS[name].title} | {_quality(classes['lv'])} | {_quality(classes['myo'])} |\n"
    text += _COSTS
    for name in names:
        text += f"| {SYSTEMS[name].title} | {_cost(entries[name])} |\n"
    text += _patients(entries, names)
    missing = [SYSTEMS[name].title for name in SYSTEMS if name not in entries]
    if missing:
        text += f"\nNot measured yet: {'; '.join(missing)}.\n"
    return text + f"\n{_where(entries, names)}\n"


def _budget(entries: Entries, names: Sequence[str]) -> str:
    budgets = {
        "{steps} steps of {batch} crops of {crop} x {crop} pixels".format(**entries[n]["settings"])
        for n in names
    }
    where = (
        "On a GPU" if any("gpu" in entries[n]["costs"] for n in names) else "On a CPU, with small networks"
    )
    return f"{where}: {' or '.join(sorted(budgets))}"


def _answer(entries: Entries, names: Sequence[str]) -> str:
    best, merit = names[0], _merit(entries[names[0]])
    alike = [n for n in names if merit - _merit(entries[n]) <= _ALIKE]
    fastest = min(alike, key=lambda n: entries[n]["costs"]["cpu_ms"])
    smallest = min(alike, key=lambda n: entries[n]["costs"]["parameters"])
    text = f"**{SYSTEMS[best].title}** has the best volumes (mean Dice of both {merit:.3f}). "
    if len(alike) == 1:
        return text + f"No other comes within {_ALIKE}."
    others = "; ".join(SYSTEMS[n].title for n in alike[1:])
    return text + (
        f"Within {_ALIKE} of it, which these patients cannot tell apart: {others}. Of these {len(alike)}, "
        f"{SYSTEMS[fastest].title} is the fastest on a CPU, and {SYSTEMS[smallest].title} has the fewest "
        "parameters."
    )


def _merit(entry: Mapping[str, Any]) -> float:
    """Mean of the Dice of both volumes, by which networks are ranked."""
    volumes = [entry["classes"][key]["dice_volume_mean"] or 0.0 for key in ("lv", "myo")]
    return float(sum(volumes) / len(volumes))


def _quality(scores: Mapping[str, Any]) -> str:
    dices = [_number(scores[key], 3) for key in ("dice_slice_mean", "dice_volume_mean")]
    distance = _number(scores["hd95_mm_slice_mean"], 1)
    return " | ".join((*dices, distance, f"{scores['failures']} of {scores['n_slices']}"))


def _cost(entry: Mapping[str, Any]) -> str:
    costs = entry["costs"]
    arguments = ", ".join(f"{k} {v}" for k, v in entry["settings"]["network"].items() if k != "name")
    return " | ".join(
        (
            arguments or "as in the paper",
            _number(costs["parameters"] / 1e6, 2),
            _number(costs["gflops"], 1),
            _number(entry["training_seconds"] / 60, 1),
            _number(costs["cpu_ms"], 0),
            _number(costs.get("gpu_ms"), 2),
            _number(costs["inference_mib"], 0),
            _number(costs["training_mib"], 0),
        )
    )


def _patients(entries: Entries, names: Sequence[str]) -> str:
    """Give a table of the LV's Dice by volume, a column for each patient."""
    patients = sorted(entries[names[0]]["patients"])
    text = "\nThe LV's Dice by volume, patient by patient:\n\n"
    text += f"| system | {' | '.join(patients)} |\n|{' --- |' * (len(patients) + 1)}\n"
    for name in names:
        found = entries[name]["patients"]
        cells = [_number(found[p]["lv"]["dice_volume"] if p in found else None, 3) for p in patients]
        text += f"| {SYSTEMS[name].title} | {' | '.join(cells)} |\n"
    return text


def _where(entries: Entries, names: Sequence[str]) -> str:
    """Tell on which machines, and when."""
    machines = {
        f"{m['processor']}, {m['cores']} cores" + (f", {gpu}" if gpu else "")
        for m, gpu in ((entries[n]["machine"], entries[n]["costs"].get("gpu")) for n in names)
    }
    dates = sorted(entries[n]["date"][:10] for n in names)
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    return (
        f"Measured on {'; '.join(sorted(machines))}; {when}. Other work may have run there at the same time."
    )


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
