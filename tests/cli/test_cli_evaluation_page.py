"""The page of an evaluation and its pictures."""

from __future__ import annotations

import io
from html.parser import HTMLParser

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from napari_cardioseg.cli.evaluation_page import page, worst_slices
from napari_cardioseg.cli.evaluation_picture import draw_slice
from napari_cardioseg.domain import LabelledFrame
from napari_cardioseg.train.compare import compare_frames

WHITE, GREEN, MAGENTA = (255, 255, 255), (0, 255, 0), (255, 0, 255)


def square(start: int, stop: int, side: int = 128) -> NDArray[np.bool_]:
    mask = np.zeros((side, side), dtype=bool)
    mask[start:stop, start:stop] = True
    return mask


def drawn(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Draw on black, and give the right of the two panels."""
    png = draw_slice(np.zeros(truth.shape), truth, found, truth)
    with Image.open(io.BytesIO(png)) as image:
        pixels = np.array(image)
    return pixels[:, -pixels.shape[0] :]


def colours(panel: NDArray[np.uint8]) -> set[tuple[int, ...]]:
    return {tuple(int(c) for c in pixel) for pixel in panel.reshape(-1, 3)}


def test_each_contour_has_its_colour_and_both_together_are_white() -> None:
    apart = colours(drawn(square(40, 60), square(45, 80)))
    assert {GREEN, MAGENTA} <= apart
    same = drawn(square(40, 60), square(40, 60))
    assert WHITE in colours(same)
    assert not {GREEN, MAGENTA} & colours(same)
    assert {tuple(pixel) for pixel in same.reshape(-1, 3) if len(set(pixel)) > 1} == set()
    assert MAGENTA not in colours(drawn(square(40, 60), square(0, 0)))


def test_a_contour_runs_between_the_pixels_inside_and_outside() -> None:
    # The window is 64 pixels wide, from pixel 32: the panel's 288 pixels make 4.5 of each.
    panel = drawn(square(48, 80), square(0, 0))
    rows = np.flatnonzero((panel[:, panel.shape[1] // 2, 1]) > 128)
    assert rows.min() == pytest.approx((48 - 32) * 4.5, abs=1.5)
    assert rows.max() == pytest.approx((80 - 32) * 4.5, abs=1.5)


def test_a_contour_at_the_images_edge_is_closed_and_a_distant_one_is_shown() -> None:
    assert GREEN in colours(drawn(square(0, 20), square(0, 0)))
    far = drawn(square(0, 20), square(110, 128))
    assert {GREEN, MAGENTA} <= colours(far)


def test_an_image_without_any_mask_is_shown_whole() -> None:
    rng = np.random.default_rng(0)
    empty = square(0, 0, 80)
    png = draw_slice(rng.integers(0, 4000, (80, 80)).astype(np.uint16), empty, empty, empty)
    with Image.open(io.BytesIO(png)) as image:
        pixels = np.array(image)
    assert pixels.std() > 20
    np.testing.assert_array_equal(pixels[:, : pixels.shape[0]], pixels[:, -pixels.shape[0] :])


class Tags(HTMLParser):
    """Check that tags are closed in turn, and collect their texts."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_names_cannot_break_the_page() -> None:
    name = "<script>alert('A & \"B\"')</script>"
    labels = square(40, 60).astype(np.uint8)
    frames = [LabelledFrame(name, i, labels * 50, labels, frozenset({1})) for i in range(3)]
    found = [square(40 + i, 60).astype(np.uint8) for i in range(2)] + [np.zeros_like(labels)]
    report = {"model": "<b>m", "trained_on": [name], **compare_frames(frames, found)}
    tags = Tags()
    tags.feed(page(report, frames, found))
    assert tags.open == []
    assert "script" not in tags.seen
    assert f"{name}, image 2, LV cavity" in tags.text
    assert "Dice 0.000: nothing found" in tags.text
    assert "<b>m: 1 patient, 3 frames" in tags.text
    assert "Caution: the model has learnt from all of these patients" in tags.text


def test_the_worst_slices_come_first_and_each_class_has_its_share() -> None:
    labels = square(30, 60).astype(np.uint8)
    labels[40:50, 40:50] = 2
    frames = [LabelledFrame("A", i, labels, labels, frozenset({1, 2})) for i in range(20)]
    found = [np.roll(labels, i, axis=0) for i in range(18)] + [np.zeros_like(labels)] * 2
    worst = worst_slices(compare_frames(frames, found))
    assert [len(rows) for rows in worst.values()] == [12, 12]
    assert [row["instance"] for row in worst["lv"][:3]] == [18, 19, 17]  # nothing found is worst of all
    assert worst["myo"][2]["hd95_mm"] >= worst["myo"][3]["hd95_mm"]
