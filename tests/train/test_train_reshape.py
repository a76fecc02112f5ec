"""Hearts of other shapes: image and labels move together, and only near the heart."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from napari_cardioseg.train.reshape import Radii, measure_hearts, move_radially, reshape_hearts

SIDE = 96


def ring_labels(inner, outer, centre=(50.0, 44.0), wall=True):
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    r = torch.hypot(y - centre[0], x - centre[1])
    return torch.where(r <= inner, 1, torch.where((r <= outer) & wall, 2, 0))[None]


def grid():
    steps = torch.arange(SIDE, dtype=torch.float32)
    return torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1)[None]


def read(labels, places):
    coordinates = (places.flip(-1) + 0.5) * 2 / SIDE - 1
    found = F.grid_sample(labels[:, None].float(), coordinates, mode="nearest", align_corners=False)
    return found[:, 0].long()


def test_a_hearts_centre_and_radii_are_measured():
    centres, radii = measure_hearts(ring_labels(12, 18), (1, 2))
    assert centres[0].tolist() == pytest.approx([50, 44], abs=0.1)
    assert float(radii.cavity) == pytest.approx(12, abs=0.3)
    assert float(radii.epicardium) == pytest.approx(18, abs=0.3)


def test_borders_come_to_lie_at_their_new_radii():
    old = Radii(*(torch.tensor([v]) for v in (12.0, 18.0, 40.0)))
    new = Radii(*(torch.tensor([v]) for v in (6.0, 20.0, 40.0)))
    asked = torch.tensor([0.0, 3.0, 6.0, 13.0, 20.0, 30.0, 40.0, 55.0])[None, None, :, None]
    found = move_radially(asked, new, old).flatten().tolist()
    assert found == pytest.approx([0, 6, 12, 15, 18, 29, 40, 55])


def test_hearts_contract_and_hypertrophy_within_their_ranges_and_all_else_stays():
    labels = ring_labels(12, 18)
    inner, wall_area = [], []
    for seed in range(40):
        rng = torch.Generator().manual_seed(seed)
        places = reshape_hearts(grid(), labels, (1, 2), 2.0, 2.5, 1.0, rng)
        changed = read(labels, places)
        inner.append(math.sqrt(int((changed == 1).sum()) / math.pi))
        wall_area.append(int((changed == 2).sum()) / int((labels == 2).sum()))
        far = torch.hypot(grid()[0, ..., 0] - 50, grid()[0, ..., 1] - 44) > 2.2 * 18.5
        assert torch.equal(places[0][far], grid()[0][far])
    # From half to 2 ** 0.35 of 12 pixels, and from 2.5 ** -0.35 to 2.5 of the wall's area.
    assert 5.5 < min(inner) < 7.5 < 13 < max(inner) < 15.8
    assert 0.65 < min(wall_area) < 0.9 < 2 < max(wall_area) < 2.6


def test_a_cavity_that_only_contracts_keeps_the_area_of_its_wall():
    labels = ring_labels(16, 20)
    before = int((labels == 2).sum())
    for seed in range(8):
        rng = torch.Generator().manual_seed(seed)
        changed = read(labels, reshape_hearts(grid(), labels, (1, 2), 2.5, 1.0, 1.0, rng))
        assert int((changed == 2).sum()) == pytest.approx(before, rel=0.09)


def test_the_wall_is_moved_with_its_guess_where_nobody_drew_it():
    labels = ring_labels(12, 18, wall=False)
    sizes = set()
    for seed in range(3):
        rng = torch.Generator().manual_seed(seed)
        changed = read(labels, reshape_hearts(grid(), labels, (1, 2), 2.0, 2.0, 1.0, rng))
        assert set(changed.unique().tolist()) == {0, 1}
        sizes.add(int((changed == 1).sum()))
    assert len(sizes) == 3


def test_frames_without_a_cavity_and_those_not_drawn_stay_as_they_are():
    empty = torch.zeros(1, SIDE, SIDE, dtype=torch.long)
    rng = torch.Generator().manual_seed(0)
    assert torch.equal(reshape_hearts(grid(), empty, (1, 2), 2.0, 2.0, 1.0, rng), grid())
    assert torch.equal(reshape_hearts(grid(), ring_labels(12, 18), (1, 2), 2.0, 2.0, 0.0, rng), grid())


def test_walls_never_fold_over_or_leave_their_surroundings():
    labels = torch.cat([ring_labels(inner, inner + wall) for inner, wall in ((4, 1), (6, 14), (20, 8))])
    for seed in range(20):
        rng = torch.Generator().manual_seed(seed)
        places = reshape_hearts(grid().expand(3, -1, -1, -1), labels, (1, 2), 3.0, 4.0, 1.0, rng)
        assert places.isfinite().all()
        centres, _ = measure_hearts(labels, (1, 2))
        ray = (places[:, 50, 44:, :] - centres[:, None]).norm(dim=-1)
        assert (ray.diff(dim=1) > -1e-4).all(), "further out in the crop is further out in the frame"


def test_the_same_seed_gives_the_same_hearts():
    labels = ring_labels(12, 18)
    first, second = (
        reshape_hearts(grid(), labels, (1, 2), 2.0, 2.0, 0.5, torch.Generator().manual_seed(3)) for _ in "ab"
    )
    assert torch.equal(first, second)
    assert math.isfinite(float(first.sum()))
