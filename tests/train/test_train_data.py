from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_cardioseg.domain import (
    LV_SCHEME,
    ConfigError,
    LabelledFrame,
    LabelScheme,
    ModelCard,
    Preprocessing,
    drain,
)
from napari_cardioseg.domain.labels import MYOCARDIUM
from napari_cardioseg.predict import Model
from napari_cardioseg.predict.stack import Stack
from napari_cardioseg.quantify.overlap import dice
from napari_cardioseg.train.data import IGNORED, fingerprint, prepare_frames
from napari_cardioseg.train.split import split_patients
from napari_cardioseg.train.teacher import fill_in_labels


def prepare(*args, **kwargs):
    return drain(prepare_frames(*args, **kwargs))


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
        # Between the bands, turned and enlarged views of the frame disagree.
        assert (after[:10][rest[:10]] == 2).all()
        assert (after[28:32][rest[28:32]] == IGNORED).all()
        assert (after[50:][rest[50:]] == 0).all()


def test_a_finer_grid_keeps_everything_at_its_place(make_frames):
    frames = [replace(f, pixel_size=(1.3, 1.3)) for f in make_frames()]
    plain = prepare(frames, LV_SCHEME, Preprocessing(), fully_labelled_share=0.5)
    fine = prepare(frames, LV_SCHEME, Preprocessing(spacing=0.65), fully_labelled_share=0.5)
    assert fine.images.shape == (12, 128, 128)
    assert fine.images.dtype == torch.float32
    torch.testing.assert_close(fine.pixel_size, torch.full((12, 2), 0.65))
    torch.testing.assert_close(fine.centres, (plain.centres + 0.5) * 2 - 0.5)
    for before, after in zip(plain.labels, fine.labels, strict=True):
        for channel in (1, 2):
            area = int((before == channel).sum())
            assert int((after == channel).sum()) == pytest.approx(4 * area, rel=0.03)
    down = torch.nn.functional.avg_pool2d(fine.images[:, None], 2)[:, 0]
    assert torch.corrcoef(torch.stack((down.flatten(), plain.images.flatten())))[0, 1] > 0.98


def test_labels_on_a_finer_grid_have_no_stairs():
    y, x = np.ogrid[:64, :64]
    labels = (np.hypot(y - 31.5, x - 31.5) <= 20).astype(np.uint8)
    frame = LabelledFrame("A", 1, labels * 9, labels, frozenset({1, 2}), (2.0, 2.0))
    fine = prepare([frame], LV_SCHEME, Preprocessing(spacing=0.5), fully_labelled_share=0.5).labels[0].numpy()
    y, x = np.ogrid[:256, :256]
    round_one = np.hypot(y - 127.5, x - 127.5) <= 80.5
    stairs = np.kron(labels, np.ones((4, 4), np.uint8))
    assert dice(fine == 1, round_one) > dice(stairs == 1, round_one)


def test_without_millimetres_a_usual_field_of_view_is_resampled(make_frames):
    data = prepare(
        make_frames(side=128), LV_SCHEME, Preprocessing(spacing=340 / 192), fully_labelled_share=0.5
    )
    assert data.images.shape[1:] == (192, 192)
    torch.testing.assert_close(data.pixel_size, torch.full((12, 2), 340 / 192))


def test_frames_of_any_size_are_brought_to_one(make_frames):
    frames = make_frames(("A",), 2, side=64) + make_frames(("B",), 2, side=48)
    how = Preprocessing(resize=(96, 80), locate=False)
    data = prepare(frames, LV_SCHEME, how, fully_labelled_share=0.5)
    assert data.images.shape == (4, 96, 80)
    assert set(data.labels.unique().tolist()) == {0, 1, 2}
    for labels, centre in zip(data.labels, data.centres, strict=True):
        places = (labels > 0).nonzero().float().mean(0)
        torch.testing.assert_close(places, centre, atol=0.5, rtol=0)


def test_one_class_alone_is_taught_by_what_belongs_to_another_too(make_frames):
    frames = make_frames(("A",), 2)
    data = prepare(frames, LabelScheme((MYOCARDIUM,)), Preprocessing(), fully_labelled_share=0.5)
    both, cavity_only = frames
    np.testing.assert_array_equal(data.labels[0], both.labels == 2)
    np.testing.assert_array_equal(data.labels[1], np.where(cavity_only.labels == 1, 0, IGNORED))
    assert data.known.all()
    assert data.complete.tolist() == [True, False]
    assert data.draw.tolist() == [0.5, 0.5]


def test_one_class_alone_is_filled_in_by_a_teacher_where_it_is_open(make_frames):
    frames = [replace(frame, pixel_size=(1.3, 1.3)) for frame in make_frames(("A",), 2)]
    scheme = LabelScheme((MYOCARDIUM,))
    data = prepare(frames, scheme, Preprocessing(), fully_labelled_share=0.5)

    class Teacher(torch.nn.Module):
        stride, reach = 1, None

        def forward(self, images):  # all is wall
            return torch.tensor([-9.0, 9.0])[:, None, None].expand(len(images), 2, *images.shape[-2:])

    filled = drain(fill_in_labels(data, Model(Teacher(), ModelCard("t", {}, scheme)), torch.device("cpu")))
    assert torch.equal(filled.labels[0], data.labels[0])
    np.testing.assert_array_equal(filled.labels[1], frames[1].labels != 1)


def test_frames_without_labels_teach_nothing_and_lie_where_their_patients_heart_does(make_frames):
    frames = make_frames(("A", "B"), 3)
    empty = np.zeros_like(frames[0].labels)
    frames[1] = replace(frames[1], labels=empty, known=frozenset())
    data = prepare(frames, LV_SCHEME, Preprocessing(), fully_labelled_share=0.5)
    assert not data.labels[1].any()
    assert data.known[1].tolist() == [True, False, False]
    torch.testing.assert_close(data.centres[1], (data.centres[0] + data.centres[2]) / 2)
    alone = prepare(frames[1:2], LV_SCHEME, Preprocessing(), fully_labelled_share=0.5)
    assert alone.centres[0].tolist() == [31.5, 31.5]


def test_a_teacher_of_another_spacing_sees_as_many_millimetres_as_in_prediction(make_frames):
    frames = [replace(f, pixel_size=(2.0, 2.0)) for f in make_frames(("A",), 2, side=200)]
    data = prepare(frames, LV_SCHEME, Preprocessing(spacing=1.0), fully_labelled_share=0.5)
    seen = []

    class Teacher(torch.nn.Module):
        stride, reach = 16, None

        def forward(self, images):
            seen.append(images)
            wall = (images - images.mean()).clamp(max=0)
            return torch.cat((0 * wall, 0 * wall - 50, 30 * (-wall - 0.5)), 1)  # dark is wall

    card = ModelCard("t", {}, preprocessing=Preprocessing(spacing=1.33))
    filled = drain(fill_in_labels(data, Model(Teacher(), card), torch.device("cpu")))
    assert {tuple(images.shape) for images in seen} == {(1, 1, 128, 128)}
    assert seen[0].mean().abs() < 1e-4
    assert seen[0].std() == pytest.approx(1, abs=1e-3)
    ring = make_frames(("A",), 2, side=200)[0].labels  # another heart, but nearly as large
    assert (filled.labels[1] == 2).sum() > 0.3 * 4 * (ring == 2).sum()


@pytest.mark.parametrize("scope", ["slice", "volume"])
def test_landmarks_are_learnt_from_the_training_set(scope, make_frames):
    how = Preprocessing(method="nyul", scope=scope)
    data = prepare(make_frames(), LV_SCHEME, how, fully_labelled_share=0.5)
    assert len(data.preprocessing.landmarks) == 11
    assert (data.near is not None) == (scope != "slice")
    assert abs(data.images.mean()) < 0.1
    assert data.images.std() == pytest.approx(1, abs=0.2)
    again = prepare(make_frames(), LV_SCHEME, data.preprocessing, fully_labelled_share=0.5)
    assert torch.equal(again.images, data.images)
    assert prepare(make_frames(), LV_SCHEME, Preprocessing(), fully_labelled_share=0.5).near is None


def test_training_frames_are_what_prediction_shows_the_network(make_frames):
    frame = make_frames(("A",), 1, side=128)[0]
    how = Preprocessing(resize=(96, 96), locate=False, method="percentile")
    data = prepare([frame], LV_SCHEME, how, fully_labelled_share=0.5)
    stack = Stack(frame.image[None], None, None, how)
    assert torch.equal(stack.whole(np.array([0])), data.images)


def test_the_coils_field_is_evened_out_in_training_too(make_frames):
    pytest.importorskip("SimpleITK", reason="N4 is SimpleITK's; install the extra n4 to test it")
    frame = make_frames(("A",), 1, side=128)[0]
    shaded = (frame.image * 20 * np.exp(np.linspace(-0.7, 0.7, 128))).astype(np.uint16)
    job = prepare_frames(
        [replace(frame, image=shaded)],
        LV_SCHEME,
        Preprocessing(bias_correction="n4"),
        fully_labelled_share=0.5,
    )
    said = []
    evened = drain(job, lambda p: said.append(p.message)).images[0]
    plain = prepare(
        [replace(frame, image=shaded)], LV_SCHEME, Preprocessing(), fully_labelled_share=0.5
    ).images[0]
    assert said == ["Evening out the brightness"]
    left, right = slice(0, 20), slice(108, 128)
    assert abs(evened[:, left].mean() - evened[:, right].mean()) < 0.6 * abs(
        plain[:, left].mean() - plain[:, right].mean()
    )
