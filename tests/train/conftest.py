"""Labelled frames small enough to train on within a test."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

from napari_cardioseg.domain import LabelledFrame


@pytest.fixture
def make_frames():
    """Give a function that draws bright discs in dim rings in noise, some without a labelled ring."""

    def make(patients=("A", "B", "C"), per_patient=4, side=64, seed=0):
        rng = np.random.default_rng(seed)
        y, x = np.ogrid[:side, :side]
        frames = []
        for name in patients:
            for i in range(per_patient):
                cy, cx = rng.uniform(side * 0.35, side * 0.65, 2)
                inner = rng.uniform(side * 0.1, side * 0.16)
                r = np.hypot(y - cy, x - cx)
                labels = np.where(r <= inner, 1, np.where(r <= inner * 1.6, 2, 0)).astype(np.uint8)
                image = np.choose(labels, (90, 220, 30)) + rng.normal(0, 8, (side, side))
                known = frozenset({1, 2}) if i % 2 == 0 else frozenset({1})
                shown = np.where(np.isin(labels, list(known)), labels, 0).astype(np.uint8)
                frames.append(LabelledFrame(name, i, image.clip(0, 255).astype(np.uint8), shown, known))
        return frames

    return make


@pytest.fixture
def frames_folder(tmp_path, make_frames):
    """Give a folder of such frames, of the patients A to C, as `read_frames` takes it."""
    folder = tmp_path / "frames"
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    rows = []
    for f in make_frames():
        Image.fromarray(f.image).save(folder / "images" / f"{f.patient}_{f.instance}.png")
        Image.fromarray(f.labels).save(folder / "masks" / f"{f.patient}_{f.instance}.png")
        rows.append((f.patient, f.instance, int(2 in f.known)))
    with (folder / "frames.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("patient", "instance", "epicardium_known"), *rows])
    return folder
