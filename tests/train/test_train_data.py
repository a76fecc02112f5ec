from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_cardioseg.domain import LV_SCHEME, ConfigError, ModelCard, Preprocessing, drain
from napari_cardioseg.predict import Model
from napari_cardioseg.train.augment import Augmentation, augment
from napari_cardioseg.train.data import IGNORED, fingerprint, prepare_frames
from napari_cardioseg.train.split import split_patients
from napari_cardioseg.train.teacher import fill_in_labels

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


@pytest.fixture
def data(make_frames):
    return prepare(make_frames(), LV_SCHEME, Preprocessing(), fully_labelled_share=0.5)


def prepare(*args, **kwargs):
    return drain(prepare_frames(*args, **kwargs))


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_patients_are_split_whole():
    training, validation = split_patients(["B", "A", "B", "C"], ["B"])
    assert (training, validation) == (["A", "C"], ["B"])
    with pytest.raises(ConfigError, match="no patient D"):
        split_patients(["A"], ["D"])
    with pytest.raises(ConfigError, match="No patient is left"):
        split_patients(["A"], ["A"])


def test_patients_and_full_labels_are_drawn_evenly(make_frames):
    frames = make_frames(("A",), 12) + make_frames(("B",), 2)
    data = prepare(frames, LV_SCHEME, Preprocessing(), fully_labelled_share=0.6)
    draw = data.draw.numpy()
    of_a = np.array([f.patient == "A" for f in frames])
    full = data.known.numpy().all(axis=1)
    assert draw.sum() == pytest.approx(1)
    assert draw[of_a].sum() == pytest.approx(0.5)
    assert draw[full].sum() == pytest.approx(0.6)


def test_frames_of_other_sizes_share_a_batch(make_frames):
    frames = make_frames(("A",), 2, side=64) + make_frames(("B",), 2, side=48)
    data = prepare(frames, LV_SCHEME, Preprocessing(), fully_labelled_share=0.5)
    assert data.images.shape == (4, 64, 64)
    assert not data.labels[2, 48:].any()
    assert torch.isfinite(data.images).all()


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


def test_a_fingerprint_sees_any_change(make_frames):
    assert fingerprint(make_frames()) == fingerprint(make_frames())
    assert fingerprint(make_frames()) != fingerprint(make_frames(seed=1))


def test_a_teacher_fills_in_what_nobody_labelled_and_nothing_else(make_frames):
    frames = [replace(frame, pixel_size=(1.3, 1.3)) for frame in make_frames()]
    data = prepare(frames, LV_SCHEME, Preprocessing(), fully_labelled_share=0.5)
    answer = torch.full((3, 64, 64), 0.01)
    answer[0], answer[2, :20], answer[2, 20:40] = 0.5, 20.0, 0.4  # sure of wall, then unsure, then none

    class Teacher(torch.nn.Module):
        stride = 1
        reach = None

        def forward(self, images):
            return answer.log().expand(len(images), 3, 64, 64)

    filled = drain(fill_in_labels(data, Model(Teacher(), ModelCard("t", {})), torch.device("cpu")))
    assert filled.known.all()
    assert torch.equal(filled.draw, data.draw)
    for before, after, known in zip(data.labels, filled.labels, data.known, strict=True):
        if known.all():
            assert torch.equal(before, after)
            continue
        assert torch.equal(before == 1, after == 1)
        rest = before != 1
        assert (after[:20][rest[:20]] == 2).all()
        assert (after[20:40][rest[20:40]] == IGNORED).all()
        assert (after[40:][rest[40:]] == 0).all()


@pytest.mark.parametrize("wrong", [{"scale": 0.0}, {"anywhere": 1.5}, {"noise": -1.0}])
def test_impossible_augmentations_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Augmentation(**wrong)
