"""The measures of a model as tables, for the terminal and for the page."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_cardioseg.domain import LV_SCHEME

Report = dict[str, Any]

_SLICE_COLUMNS = (
    "patient",
    "instance",
    "class",
    "dice",
    "iou",
    "hd95_mm",
    "asd_mm",
    "area_true",
    "area_found",
)
_OVERLAP = ("Dice mean", "median", "worst", "by volume", "IoU")
_DISTANCE = ("HD95 mm", "worst", "by volume", "ASD mm", "area bias", "failures")


@dataclass(frozen=True)
class Table:
    """A titled table of ready-made texts; its first `names` columns are names, the others numbers."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int = 1

    def __str__(self) -> str:
        lines = (self.header, *self.rows)
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.header))]
        text = (
            "  ".join(
                cell.ljust(width) if i < self.names else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )
        return "\n".join((self.title, *text))


def heading(report: Report) -> str:
    """Say which model was measured, on how much."""
    frames = f"{_count(report['n_patients'], 'patient')}, {_count(report['n_frames'], 'frame')}"
    return f"{report['model']}: {frames}"


def millimetres(report: Report) -> str:
    """Say what the distances rest on."""
    size = report["pixel_size"]
    sizes = [f"{dy:.3g} mm" if dy == dx else f"{dy:.3g} x {dx:.3g} mm" for dy, dx in size["mm"]]
    pixel = f"{sizes[0] if len(sizes) == 1 else f'{sizes[0]} to {sizes[-1]}'} a pixel"
    assumed, n = size["n_frames_assumed"], report["n_frames"]
    if not assumed:
        return f"Distances: {pixel}, as stated."
    return (
        f"Distances: {'the frames' if assumed == n else f'{assumed} of {n} frames'} do not state their pixel "
        f"size, so the longer side of each image was taken for {size['field_of_view_mm']:.0f} mm ({pixel}); "
        "`evaluate --pixel-size` states the true one."
    )


def notes(report: Report) -> list[str]:
    """Say what the distances rest on, and whether the model knew the patients."""
    found = [millimetres(report)]
    if known := report.get("trained_on"):
        who = "all of these patients" if len(known) == report["n_patients"] else ", ".join(known)
        found.append(f"Caution: the model has learnt from {who}; on others expect worse.")
    return found


def tables(report: Report) -> list[Table]:
    """Lay out the measures by class, of all pixels, by patient, and the failures."""
    found = [_by_class(report), _by_pixels(report), _by_patient(report)]
    return [*found, _failures(report)] if report["failures"] else found


def write_slices(path: Path, report: Report) -> None:
    """Write the row of each slice and class as CSV; what has no value stays empty."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _SLICE_COLUMNS)
        writer.writeheader()
        writer.writerows(report["slices"])


def class_name(key: str) -> str:
    """Name a class for the reader."""
    return LV_SCHEME.by_key(key).name


def number(value: float | None, digits: int = 3) -> str:
    """Write a number, or a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def _by_class(report: Report) -> Table:
    rows = (
        (class_name(key), *_measures(m, "_volume_mean"), f"{m['failures']} of {m['n_slices']}")
        for key, m in report["classes"].items()
    )
    return Table("By class, over slices", ("class", *_OVERLAP, *_DISTANCE), tuple(rows))


def _by_patient(report: Report) -> Table:
    rows = (
        (patient, class_name(key), *_measures(m, "_volume"), f"{m['failures']} of {m['n_slices']}")
        for patient, found in report["patients"].items()
        for key, m in found.items()
        if m["n_slices"]
    )
    return Table("By patient", ("patient", "class", *_OVERLAP, *_DISTANCE), tuple(rows), names=2)


def _measures(m: Report, volume: str) -> tuple[str, ...]:
    bias = m.get("volume_bias_percent", m.get("volume_bias_percent_mean"))
    return (
        *(number(m[f"dice_slice_{how}"]) for how in ("mean", "median", "worst")),
        number(m[f"dice{volume}"]),
        number(m["iou_slice_mean"]),
        *(number(m[f"hd95_mm_slice_{how}"], 2) for how in ("mean", "worst")),
        number(m[f"hd95_mm{volume}"], 2),
        number(m["asd_mm_slice_mean"], 2),
        "-" if bias is None else f"{bias:+.1f} %",
    )


def _by_pixels(report: Report) -> Table:
    groups = {"all classes": report["pixels"]}
    groups |= {
        f"{class_name(key)} against the rest": m["against_rest"] for key, m in report["classes"].items()
    }
    keys = ("pixel_accuracy", "mean_pixel_accuracy", "mean_iou", "frequency_weighted_iou", "mean_dice")
    return Table(
        "By pixel, background included, on the frames on which the classes are known",
        ("classes", "accuracy", "mean accuracy", "MIoU", "FWIoU", "mean Dice", "frames"),
        tuple((name, *(number(m[key]) for key in keys), str(m["n_frames"])) for name, m in groups.items()),
    )


def _failures(report: Report) -> Table:
    rows = (
        (f["patient"], class_name(f["class"]), str(f["instance"]), number(f["dice"]), number(f["hd95_mm"], 2))
        for f in report["failures"]
    )
    header = ("patient", "class", "image", "Dice", "HD95 mm")
    return Table("Failures: Dice below 0.5", header, tuple(rows), names=2)


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
