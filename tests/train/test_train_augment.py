from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_cardioseg.domain import LV_SCHEME, ConfigError, Preprocessing, drain
from napari_cardioseg.predict.preprocess import normalise
from napari_cardioseg.train.augment import Augmentation, augment
from napari_cardioseg.train.data import prepare_frames

NOTHING = Augmentation(
    rotation=0,
    scale=1,
    stretch=1,
    shift=0,
    anywhere=0,
    turn=0,
    local=0,
    gamma=1,
    contrast=0,
    brightness=0,
    bias=0,
    noise=0,
    blur=0,
)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def data(make_frames):
    return drain(prepare_frames(make_frames(), LV_SCHEME, Preprocessing(), fully_labelled_share=0.5))


@pytest.fixture
def crops(data):
    """Give a function that cuts crops of 40 pixels around the hearts, changed in one way."""

    def cut(seed=0, preprocessing=None, near=None, **changes):
        how = replace(NOTHING, **changes)
        preprocessing = preprocessing or Preprocessing()
        return augment(
            data.images, data.labels, data.centres.round(), 41, how, preprocessing, rng(seed), near
        )

    return cut


def test_without_changes_a_crop_is_cut_around_the_heart(data):
    size = 33
    images, labels = augment(
        data.images, data.labels, data.centres.round(), size, NOTHING, Preprocessing(), rng()
    )
    for i, (y, x) in enumerate(data.centres.round().int().tolist()):
        rows, columns = slice(y - 16, y + 17), slice(x - 16, x + 17)
        assert torch.equal(labels[i], data.labels[i, rows, columns].long())
        torch.testing.assert_close(images[i, 0], data.images[i, rows, columns], atol=1e-3, rtol=0)


def test_a_seed_decides_everything(data):
    first = augment(data.images, data.labels, data.centres, 48, Augmentation(), Preprocessing(), rng(1))
    again = augment(data.images, data.labels, data.centres, 48, Augmentation(), Preprocessing(), rng(1))
    other = augment(data.images, data.labels, data.centres, 48, Augmentation(), Preprocessing(), rng(2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_image_and_labels_move_together(data):
    pose = replace(NOTHING, rotation=40, scale=1.3, stretch=1.2, shift=5, turn=1, mirror=0.5, elastic=4)
    images, labels = augment(data.images, data.labels, data.centres, 64, pose, Preprocessing(), rng(3))
    cavity = images[:, 0][labels == 1]
    outside = images[:, 0][labels == 0]
    assert cavity.mean() > outside.mean() + 2  # the bright disc is still under its label


def test_scaling_changes_areas_as_much_as_asked(data):
    bigger = replace(NOTHING, scale=1.5)
    _, plain = augment(data.images, data.labels, data.centres, 128, NOTHING, Preprocessing(), rng())
    _, scaled = augment(data.images, data.labels, data.centres, 128, bigger, Preprocessing(), rng(5))
    ratio = (scaled == 1).sum((1, 2)) / (plain == 1).sum((1, 2))
    assert (ratio < 1.5**2 * 1.1).all()
    assert (ratio > 1.5**-2 / 1.1).all()
    assert ratio.max() / ratio.min() > 1.3


@pytest.mark.parametrize(("frame", "size"), [((57, 57), 50), ((57, 80), 50), ((40, 57), 50)])
def test_crops_from_anywhere_stay_inside_a_larger_frame(frame, size):
    ramp = torch.arange(frame[0]).float()[:, None] + 100 * torch.arange(frame[1]).float()
    images = ramp.expand(64, *frame)
    labels = torch.ones(images.shape, dtype=torch.uint8)
    centres = torch.zeros(64, 2)
    how = replace(NOTHING, anywhere=1)
    cut, truth = augment(images, labels, centres, size, how, Preprocessing(locate=False), rng())
    inside = [frame[axis] >= size for axis in (0, 1)]
    assert (truth == 1).all() == all(inside)
    columns = (cut[:, 0, size // 2, 0] - cut[:, 0, size // 2, 0] % 100) / 100
    assert (columns <= frame[1] - size + 1).all()
    assert columns.unique().numel() > 4  # and they do move


def test_turned_and_scaled_crops_from_anywhere_stay_inside_too():
    labels = torch.ones(64, 128, 128, dtype=torch.uint8)
    how = replace(NOTHING, anywhere=1, rotation=30, scale=1.2, stretch=1.1, turn=1)
    _, truth = augment(
        labels.float(), labels, torch.zeros(64, 2), 64, how, Preprocessing(locate=False), rng()
    )
    assert (truth == 1).all()


def test_elastic_deformation_moves_image_and_labels_together(crops):
    _, plain_labels = crops()
    images, labels = crops(elastic=4)
    assert (labels != plain_labels).any(dim=(1, 2)).all()
    assert images[:, 0][labels == 1].mean() > images[:, 0][labels == 0].mean() + 2
    assert (plain_labels == 1).sum() == pytest.approx(int((labels == 1).sum()), rel=0.3)


def test_displacements_are_as_large_as_asked_and_smooth():
    y, x = torch.meshgrid(torch.arange(201.0), torch.arange(201.0), indexing="ij")
    fields = []
    for ramp in (y, x):
        images = ramp.expand(200, 201, 201)
        labels, centres = torch.zeros(200, 201, 201, dtype=torch.uint8), torch.full((200, 2), 100.0)
        cut, _ = augment(images, labels, centres, 61, replace(NOTHING, elastic=10), Preprocessing(), rng(1))
        fields.append(cut[:, 0] - ramp[70:131, 70:131])
    field = torch.stack(fields)
    assert field[:, :, 0, 0].std() == pytest.approx(10, rel=0.15)  # at a node of the coarse grid
    assert field.mean().abs() < 0.5
    assert field.diff(dim=-1).abs().max() < 4


def test_thick_pixels_lose_detail_and_no_more(crops):
    plain, labels = crops()
    thick, same = crops(thickness=3)
    assert torch.equal(labels, same)
    detail = [images.diff(dim=-1).square().mean((1, 2, 3)) for images in (plain, thick)]
    assert (detail[1] < detail[0]).all()
    torch.testing.assert_close(thick.mean((1, 2, 3)), plain.mean((1, 2, 3)), atol=0.02, rtol=0)


def test_ghosts_repeat_the_image_at_a_part_of_the_field_of_view():
    images = torch.zeros(40, 120, 120)
    images[:, 56:64, 56:64] = 1
    labels, centres = torch.zeros(40, 120, 120, dtype=torch.uint8), torch.full((40, 2), 59.5)
    ghosted, _ = augment(
        images, labels, centres, 120, replace(NOTHING, ghosting=0.5), Preprocessing(), rng(2)
    )
    level = ghosted[:, 0] - ghosted[:, 0, :4, :4].mean((1, 2), keepdim=True)
    peak = level[:, 56:64, 56:64].mean((1, 2))
    found = {}
    for period in (2, 3, 4):
        shift = 120 // period
        down, across = (level.roll(shift, axis)[:, 56:64, 56:64].mean((1, 2)) / peak for axis in (1, 2))
        found[period] = torch.maximum(down, across)
    strongest = torch.stack(list(found.values())).amax(0)
    assert (strongest < 0.6).all()
    assert (strongest > 0.05).float().mean() > 0.7
    assert all((values > 0.1).any() for values in found.values())


def test_contrast_curves_keep_the_order_of_intensities_and_inversion_turns_it(crops):
    plain, _ = crops()
    curved, _ = crops(curve=0.7)
    inverted, _ = crops(inversion=1)
    for before, after, turned in zip(plain.flatten(1), curved.flatten(1), inverted.flatten(1), strict=True):
        order = before.argsort()
        assert (after[order].diff() >= -1e-4).all()
        assert not torch.allclose(after, before, atol=0.05)
        torch.testing.assert_close(turned.mean(), before.mean(), atol=1e-4, rtol=0)
        assert torch.corrcoef(torch.stack((turned, before)))[0, 1] < -0.99


def test_no_contrast_is_rounded_to_less_than_nothing(data):
    how = replace(NOTHING, curve=0.3, inversion=1, gamma=2)  # 1 less a curve's end, to a fractional power
    for seed in range(12):
        image, _ = augment(data.images, data.labels, data.centres, 48, how, Preprocessing(), rng(seed))
        assert torch.isfinite(image).all()


def test_local_crops_are_on_their_own_scale_as_prediction_has_it(crops):
    plain, _ = crops()
    local, _ = crops(local=1)
    expected = normalise(plain[:, 0].numpy(), Preprocessing())
    np.testing.assert_allclose(local[:, 0].numpy(), expected, atol=2e-3)
    whole, _ = crops(local=1, preprocessing=Preprocessing(locate=False))
    assert torch.equal(whole, plain)


def test_local_crops_of_a_volume_are_on_the_scale_of_its_region(make_frames):
    how = Preprocessing(scope="volume")
    frames = [replace(f, pixel_size=(4.0, 4.0)) for f in make_frames()]  # the region: 43 of 64 pixels
    data = drain(prepare_frames(frames, LV_SCHEME, how, fully_labelled_share=0.5))
    assert data.near.shape == (12, 2, 2)
    assert torch.equal(data.near[0], data.near[3])  # of one patient
    assert not torch.equal(data.near[0], data.near[4])
    local = replace(NOTHING, local=1)
    found, _ = augment(data.images, data.labels, data.centres.round(), 41, local, how, rng(), near=data.near)
    plain, _ = augment(data.images, data.labels, data.centres.round(), 41, NOTHING, how, rng())
    (low, high), (darkest, brightest) = data.near.permute(1, 2, 0)[..., None, None, None]
    expected = darkest + ((plain - low) / (high - low)).clamp(0, 1) * (brightest - darkest)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


def test_noise_is_measured_by_the_image_whatever_its_units(make_frames):
    frames = make_frames()
    share = []
    for method in ("zscore", "percentile"):
        how = Preprocessing(method=method)
        data = drain(prepare_frames(frames, LV_SCHEME, how, fully_labelled_share=0.5))
        args = (data.images, data.labels, data.centres.round(), 41)
        plain, _ = augment(*args, NOTHING, how, rng(3))
        noisy, _ = augment(*args, replace(NOTHING, noise=0.4), how, rng(3))
        share.append(float((noisy - plain).std() / plain.std()))
    assert share[0] == pytest.approx(share[1], rel=0.1)


def test_new_changes_are_off_and_leave_the_draws_of_the_others_alone(crops):
    old = {"rotation": 30, "scale": 1.4, "gamma": 2.0, "bias": 0.3, "noise": 0.15, "blur": 1.0, "local": 0.5}
    off = {"elastic": 0, "thickness": 1, "ghosting": 0, "curve": 0, "inversion": 0, "mirror": 0}
    assert torch.equal(crops(4, **old)[0], crops(4, **old, **off)[0])
    for name, neutral in off.items():
        assert getattr(Augmentation(), name) == neutral


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale": 0.0},
        {"anywhere": 1.5},
        {"noise": -1.0},
        {"thickness": 0.5},
        {"ghosting": 1.5},
        {"curve": -1.0},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Augmentation(**wrong)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_makes_the_same_crops(data):
    how = Augmentation(elastic=5, thickness=2, ghosting=0.3, curve=0.3, inversion=0.2)
    here = augment(data.images, data.labels, data.centres, 48, how, Preprocessing(), rng(1))
    there = augment(
        data.images.cuda(), data.labels.cuda(), data.centres.cuda(), 48, how, Preprocessing(), rng(1)
    )
    torch.testing.assert_close(there[0].cpu(), here[0], atol=1e-2, rtol=1e-2)
    assert (there[1].cpu() != here[1]).float().mean() < 0.01


def test_hearts_are_reshaped_where_asked_for_and_where_their_ring_is_known(make_frames):
    frame = make_frames(("A",), 1)[0]
    image = torch.from_numpy(frame.image[None].astype(np.float32))
    labels = torch.from_numpy(frame.labels[None])
    centres = torch.tensor([[31.5, 31.5]])
    still = replace(NOTHING, contraction=2.5, hypertrophy=2.5, reshaped=1)
    sizes = {}
    for ring in (None, (1, 2)):
        _, crop = augment(
            image, labels, centres, 64, still, Preprocessing(), torch.Generator().manual_seed(0), ring=ring
        )
        sizes[ring] = [int((crop == value).sum()) for value in (1, 2)]
    assert sizes[None] == [int((labels == value).sum()) for value in (1, 2)]
    assert sizes[(1, 2)][0] != sizes[None][0]
    assert sizes[(1, 2)][1] != sizes[None][1]
