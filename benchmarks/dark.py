"""Does an image that is too dark come back empty? Darkened and coarsened copies of real frames and a phantom.

The thesis reports that images which are too dark come out empty. Each copy is segmented by the shipped
default model without test-time augmentation, and compared with what the same model finds on the image as it
is. With `--json` the page docs/benchmarks/dark.md is written, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import REPOSITORY, Report, main, say
from napari_cardioseg.domain import drain
from napari_cardioseg.io.frames import read_frames
from napari_cardioseg.io.phantom import make_phantom
from napari_cardioseg.predict import Model, PredictOptions, predict_frames
from napari_cardioseg.quantify.overlap import dice
from napari_cardioseg.store.models import DEFAULT_MODEL, read_model

PAGE = REPOSITORY / "docs" / "benchmarks" / "dark.md"
_FRAMES = REPOSITORY.parent / "shared" / "data" / "sunnybrook" / "frames"
_PATIENTS = ("SC-HF-I-04", "SC-HF-NI-07", "SC-HYP-08", "SC-N-05", "SC-N-07")
_FRAMES_EACH = 10
_CAVITY_PIXELS = 20  # a slice with less of the cavity cannot be said to come back empty

Images = NDArray[np.generic]


def _gamma(exponent: float) -> Callable[[NDArray[np.float64]], Images]:
    def change(images: NDArray[np.float64]) -> Images:
        brightest = images.max()
        curved: NDArray[np.float64] = (images / brightest) ** exponent * brightest
        return curved

    return change


def _coarse(share: float) -> Callable[[NDArray[np.float64]], Images]:
    return lambda images: np.round(images * share).astype(np.uint8)


COPIES: Mapping[str, Callable[[NDArray[np.float64]], Images]] = {
    "a twentieth as bright": lambda images: images * 0.05,
    "twenty times as bright, less 3000": lambda images: images * 20 - 3000,
    "gamma 0.5": _gamma(0.5),
    "gamma 1.5": _gamma(1.5),
    "gamma 2": _gamma(2),
    "gamma 3": _gamma(3),
    "rounded to a tenth of the grey levels, about 26": _coarse(0.1),
    "rounded to a twentieth, about 13": _coarse(0.05),
}

_HEAD = """\
# Dark and bright images

`python -m benchmarks.dark --json benchmarks/results/dark.json` wrote this page: ten frames each of five
patients and a phantom, changed as stated and segmented by the shipped {model} without test-time augmentation;
the Dice coefficient to what the same model finds on the images as they are. Given are the least of the six,
and how many slices with a cavity came back without one.

| copy | LV cavity | myocardium | slices come back empty |
| --- | --- | --- | --- |
"""


def run(report: Report, options: argparse.Namespace) -> None:
    """Segment every copy."""
    file = read_model(DEFAULT_MODEL)
    model = Model.build(file.card, file.weights)
    report.fact("model", file.card.name)
    stacks = _stacks()
    how = PredictOptions(tta=False)
    plain = {name: drain(predict_frames(*stack, model, how)).labels for name, stack in stacks.items()}
    for copy, change in COPIES.items():
        found: dict[str, Any] = {}
        for name, (images, pixel_size) in stacks.items():
            changed = drain(predict_frames(change(images), pixel_size, model, how)).labels
            found[name] = _compare(changed, plain[name])
        report.facts[copy] = found
        say(copy, _cells(found))
    if options.json is not None:
        PAGE.write_text(page(report))


def _stacks() -> dict[str, tuple[NDArray[np.float64], tuple[float, float] | None]]:
    """Give the frames (n, y, x) of each patient and of the phantom, and their pixel size in mm if known."""
    frames = read_frames(str(_FRAMES), _PATIENTS)
    stacks: dict[str, tuple[NDArray[np.float64], tuple[float, float] | None]] = {
        patient: (np.stack([f.image for f in list(group)[:_FRAMES_EACH]]).astype(np.float64), None)
        for patient, group in groupby(frames, lambda f: f.patient)
    }
    cine = make_phantom(1, n_phases=4).cine
    dy, dx = cine.geometry.spacing[1:]
    stacks["phantom"] = cine.data[cine.present].astype(np.float64), (dy, dx)
    return stacks


def _compare(found: NDArray[np.uint8], plain: NDArray[np.uint8]) -> dict[str, float]:
    cavities = [(a == 1, b == 1) for a, b in zip(found, plain, strict=True)]
    return {
        "lv": round(dice(found == 1, plain == 1), 4),
        "myo": round(dice(found == 2, plain == 2), 4),
        "empty": int(sum(b.sum() >= _CAVITY_PIXELS and not a.any() for a, b in cavities)),
        "slices": int(sum(b.sum() >= _CAVITY_PIXELS for _, b in cavities)),
    }


def page(report: Report) -> str:
    """Put the page together."""
    text = _HEAD.format(model=report.facts["model"])
    for copy in COPIES:
        text += f"| {copy} | {_cells(report.facts[copy])} |\n"
    run = report.as_dict()
    machine = run["machine"]
    return text + f"\n{machine['processor']}, {machine['cores']} cores; {run['date'][:10]}.\n"


def _cells(found: Mapping[str, Mapping[str, float]]) -> str:
    least = (f"{min(one[key] for one in found.values()):.3f}" for key in ("lv", "myo"))
    empty, slices = (sum(one[key] for one in found.values()) for key in ("empty", "slices"))
    return " | ".join((*least, f"{empty:.0f} of {slices:.0f}"))


if __name__ == "__main__":
    main(run, __doc__)
