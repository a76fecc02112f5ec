"""What a run writes down."""

from __future__ import annotations

import csv
import sys

import numpy as np
import pytest

from napari_cardioseg.domain import LV_SCHEME, ConfigError
from napari_cardioseg.train.journal import BOARD, LOG, Journal, draw


def rows(folder):
    with (folder / LOG).open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_log_has_a_row_for_each_note(tmp_path):
    with Journal(tmp_path, LV_SCHEME, 0) as journal:
        journal.note(5, {"learning_rate": 0.1, "loss": 2.5})
        journal.note(10, {"loss": 1.5, "dice": {"lv": 0.9}, "failures": {"lv": 3}, "score": 0.9})
    first, second = rows(tmp_path)
    assert (first["step"], first["learning_rate"], first["loss"], first["dice_lv"]) == ("5", "0.1", "2.5", "")
    assert (second["score"], second["dice_lv"], second["failures_lv"]) == ("0.9", "0.9", "3")
    assert second["dice_myo"] == ""


def test_a_resumed_run_drops_the_rows_that_it_will_write_again(tmp_path):
    with Journal(tmp_path, LV_SCHEME, 0) as journal:
        for step in (5, 10, 15):
            journal.note(step, {"loss": float(step)})
    with (tmp_path / LOG).open("a") as file:
        file.write("2")  # killed while it wrote
    with Journal(tmp_path, LV_SCHEME, 12) as journal:
        journal.note(15, {"loss": 0.5})
    assert [(row["step"], row["loss"]) for row in rows(tmp_path)] == [
        ("5", "5.0"),
        ("10", "10.0"),
        ("15", "0.5"),
    ]
    with Journal(tmp_path, LV_SCHEME, 0):
        pass
    assert rows(tmp_path) == []


def test_a_picture_shows_image_truth_and_prediction_side_by_side():
    image = np.tile(np.linspace(0, 1000, 10), (8, 1))
    truth, found = np.zeros((2, 8, 10), dtype=np.uint8)
    truth[2, 3], found[4, 5] = 1, 2
    picture = draw(image, truth, found, LV_SCHEME).astype(int)
    assert picture.shape == (8, 30, 3)
    plain, true, predicted = picture[:, :10], picture[:, 10:20], picture[:, 20:]
    assert np.ptp(plain, axis=2).max() == 0
    assert np.argwhere((true != plain).any(axis=2)).tolist() == [[2, 3]]
    assert np.argwhere((predicted != plain).any(axis=2)).tolist() == [[4, 5]]
    assert true[2, 3].argmax() == 0  # red, as the cavity
    assert draw(np.zeros((4, 4)), truth[:4, :4], truth[:4, :4], LV_SCHEME).shape == (4, 12, 3)


def test_tensorboard_that_is_missing_is_asked_for_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"pip install .napari-cardioseg\[tensorboard\]"):
        Journal(tmp_path, LV_SCHEME, 0, tensorboard=True)


def test_tensorboard_gets_curves_and_pictures(tmp_path, make_frames):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    frames = make_frames(patients=("A", "B"), per_patient=3)
    with Journal(tmp_path, LV_SCHEME, 0, tensorboard=True) as journal:
        for step in (5, 10):
            journal.note(step, {"loss": 1 / step, "dice": {"lv": step / 10}})
            journal.show(step, frames, [f.labels for f in frames], 3)
    seen = EventAccumulator(str(tmp_path / BOARD), size_guidance={"images": 0, "scalars": 0}).Reload()
    assert [(e.step, round(e.value, 3)) for e in seen.Scalars("dice_lv")] == [(5, 0.5), (10, 1.0)]
    assert sorted(seen.Tags()["images"]) == ["A 0", "A 2", "B 2"]
    assert [e.step for e in seen.Images("A 0")] == [5, 10]
