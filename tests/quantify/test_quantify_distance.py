"""Distances, held against brute force between all pairs of points and against MONAI's figures."""

from itertools import product

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from napari_cardioseg.quantify.distance import (
    average_surface_distance,
    border,
    hausdorff95,
    surface_distances,
)


def disc_and_ellipse():
    y, x = np.ogrid[:64, :64]
    return (y - 30) ** 2 + (x - 28) ** 2 <= 12**2, ((y - 33) / 9) ** 2 + ((x - 31) / 15) ** 2 <= 1


def ellipsoids():
    z, y, x = np.ogrid[:10, :40, :40]
    a = ((z - 4) / 3) ** 2 + ((y - 20) / 11) ** 2 + ((x - 18) / 9) ** 2 <= 1
    return a, ((z - 5) / 4) ** 2 + ((y - 18) / 9) ** 2 + ((x - 20) / 12) ** 2 <= 1


def blobs(shape, seed):
    """Draw two ragged masks that overlap, reach the array's limits, and may fall into parts."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=shape)
    return (
        ndimage.gaussian_filter(noise, 2) > 0.03,
        ndimage.gaussian_filter(noise + 0.5 * rng.normal(size=shape), 2) > 0.02,
    )


def border_points(mask, spacing):
    """Collect the places in mm of elements with a face neighbour outside, looked at one by one."""
    steps = [step for step in product((-1, 0, 1), repeat=mask.ndim) if sum(map(abs, step)) == 1]
    inside = {tuple(int(i) for i in point) for point in np.argwhere(mask)}
    points = [
        point
        for point in sorted(inside)
        if any(tuple(i + s for i, s in zip(point, step, strict=True)) not in inside for step in steps)
    ]
    return np.array(points) * spacing


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("shape", "spacing"), [((24, 32), (1.25, 1.25)), ((24, 32), (1.2, 1.9)), ((5, 14, 16), (8.0, 1.3, 1.5))]
)
def test_distances_agree_with_brute_force(shape, spacing, seed):
    a, b = blobs(shape, seed)
    pairs = cdist(border_points(a, spacing), border_points(b, spacing))
    a_to_b, b_to_a = pairs.min(axis=1), pairs.min(axis=0)
    ours = surface_distances(a, b, spacing)
    assert np.sort(ours[0]) == pytest.approx(np.sort(a_to_b))
    assert np.sort(ours[1]) == pytest.approx(np.sort(b_to_a))
    assert hausdorff95(*ours) == pytest.approx(max(np.quantile(a_to_b, 0.95), np.quantile(b_to_a, 0.95)))
    assert average_surface_distance(*ours) == pytest.approx(np.concatenate((a_to_b, b_to_a)).mean())


@pytest.mark.parametrize(
    ("masks", "spacing", "hd95", "asd"),
    [
        (disc_and_ellipse(), (1.25, 1.5), 8.784838, 3.609212),
        (ellipsoids(), (8.0, 1.25, 1.5), 12.298374, 3.880086),
    ],
    ids=["in a slice", "in a volume"],
)
def test_distances_agree_with_monai(masks, spacing, hd95, asd):
    # MONAI 1.6.1 on these masks: compute_hausdorff_distance(percentile=95) and
    # compute_average_surface_distance(symmetric=True). It warns of its own deprecated calls and brings 16 MB,
    # so its figures stand here and not the package.
    distances = surface_distances(*masks, spacing)
    assert hausdorff95(*distances) == pytest.approx(hd95, rel=1e-5)
    assert average_surface_distance(*distances) == pytest.approx(asd, rel=1e-5)


def test_a_mask_that_moves_is_as_far_away_as_it_moved():
    mask = np.zeros((40, 40), bool)
    mask[10:20, 10:20] = True
    distances = surface_distances(mask, np.roll(mask, 3, axis=1), (1.0, 2.0))
    assert hausdorff95(*distances) == pytest.approx(6)
    assert surface_distances(mask, mask, (1.0, 2.0))[0].max() == 0


def test_one_stray_pixel_hardly_moves_the_95th_percentile():
    mask = np.zeros((80, 80), bool)
    mask[10:40, 10:40] = True
    stray = mask.copy()
    stray[75, 75] = True
    distances = surface_distances(mask, stray, (1.0, 1.0))
    assert distances[1].max() > 50
    assert hausdorff95(*distances) == 0
    assert 0 < average_surface_distance(*distances) < 0.5


def test_the_border_is_the_outermost_pixels_also_at_the_images_limits():
    mask = np.zeros((6, 6), bool)
    mask[0:4, 1:5] = True
    expected = mask.copy()
    expected[1:3, 2:4] = False
    assert border(mask).tolist() == expected.tolist()


@pytest.mark.parametrize("which", ["truth", "found", "both"])
def test_nothing_has_no_distance(which):
    mask, empty = np.ones((4, 4), bool), np.zeros((4, 4), bool)
    pair = {"truth": (empty, mask), "found": (mask, empty), "both": (empty, empty)}[which]
    distances = surface_distances(*pair, (1.0, 1.0))
    assert hausdorff95(*distances) is None
    assert average_surface_distance(*distances) is None


@pytest.mark.parametrize(
    ("shape", "spacing", "message"),
    [
        ((4, 5), (1.0, 1.0), "different grids"),
        ((4, 4), (1.0,), "as many positive"),
        ((4, 4), (1.0, 0.0), "as many positive"),
        ((4, 4), (1.0, float("nan")), "as many positive"),
    ],
)
def test_impossible_grids_are_refused(shape, spacing, message):
    with pytest.raises(ValueError, match=message):
        surface_distances(np.ones((4, 4), bool), np.ones(shape, bool), spacing)
