from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

from napari_cardioseg.domain import Cine, Geometry, LabelScheme, ModelCard, Preprocessing, drain
from napari_cardioseg.domain.labels import MYOCARDIUM
from napari_cardioseg.io.frames import read_frames
from napari_cardioseg.io.phantom import make_phantom
from napari_cardioseg.models import SegmentationNetwork
from napari_cardioseg.predict import Model, PredictOptions, predict_cine, predict_frames
from napari_cardioseg.predict.decide import choose_labels
from napari_cardioseg.predict.infer import probabilities
from napari_cardioseg.predict.region import region_of_heart, sides_in_pixels
from napari_cardioseg.quantify.overlap import dice
from napari_cardioseg.store.models import DEFAULT_MODEL, read_model

QUICK = PredictOptions(tta=False, batch_size=8)


@pytest.fixture(scope="module")
def shipped():
    file = read_model(DEFAULT_MODEL)
    return Model.build(file.card, file.weights)


@pytest.fixture
def watched(threshold_model):
    """Give a function that makes the threshold model with other preprocessing, and what it was shown."""

    def make(**preprocessing):
        shown = []
        card = replace(threshold_model.card, preprocessing=Preprocessing(**preprocessing))

        class Watched(SegmentationNetwork):
            classes, stride, reach = 3, 8, None

            def forward(self, images):
                shown.append(images.clone())
                return threshold_model.network(images)

        network = Watched().eval()
        network.__deepcopy__ = lambda _: network  # the engine's copy would show its images to nobody
        return Model(network, card), shown

    return make


@pytest.mark.parametrize(
    ("pixel", "stride", "expected"),
    [(1.33, 32, 128), (1.328125, 32, 128), (0.885, 32, 192), (0.664, 32, 256), (1.0, 32, 192), (1.3, 8, 136)],
)
def test_the_region_has_one_size_in_mm_and_fits_the_network(pixel, stride, expected):
    assert sides_in_pixels((pixel, pixel), stride) == (expected, expected)
    assert sides_in_pixels((pixel, 2 * pixel), 1)[1] == pytest.approx(85 / pixel, abs=1)


def test_the_heart_is_found_at_the_same_place_at_any_spacing():
    y, x = np.mgrid[:64, :64]
    evidence = np.exp(-0.5 * (np.square((y - 20) / 4) + np.square((x - 40) / 4)))
    found = [
        region_of_heart(evidence, (round(256 * k), round(256 * k)), sides_in_pixels((1.33 / k,) * 2, 32))
        for k in (1, 1.5, 2)
    ]
    starts = np.array([(r.rows.start, r.columns.start) for r in found]) / np.array([[1], [1.5], [2]])
    np.testing.assert_allclose(starts, starts[:1].repeat(3, axis=0), atol=1)


def test_at_a_spacing_of_1_33_mm_the_region_is_128_pixels_and_prediction_as_ever(shipped):
    """What came out when the region was stated in pixels, step by step."""
    model = Model(shipped.network, replace(shipped.card, preprocessing=Preprocessing(spacing=1.33)))
    frames = make_phantom(2, n_phases=2).cine.data[0, ::2]

    def z_scores(images):
        scaled = []
        for image in images:
            low, high = np.percentile(image.astype(np.float32), (0.5, 99.5))
            clipped = np.clip(image.astype(np.float32), low, high)
            scaled.append(((clipped - clipped.mean()) / clipped.std()).astype(np.float32))
        return np.stack(scaled)

    whole = z_scores(frames)
    heart = 1 - probabilities(shipped.network, torch.from_numpy(whole))[:, :1]
    cells = F.avg_pool2d(heart, 4).sum((0, 1)).numpy()
    peak = np.unravel_index(gaussian_filter(cells, 3.0, mode="constant").argmax(), cells.shape)
    box = []
    for place, length in zip(peak, whole.shape[1:], strict=True):
        start = min(max(round((int(place) + 0.5) * 4 - 64), 0), length - 128)
        box.append(slice(start, start + 128))
    near = torch.from_numpy(z_scores(whole[:, box[0], box[1]]))
    expected = np.zeros(frames.shape, np.uint8)
    expected[:, box[0], box[1]] = choose_labels(probabilities(shipped.network, near)).numpy()

    options = replace(QUICK, clean_up=False, batch_size=len(frames))
    found = drain(predict_frames(frames, None, model, options)).labels
    heart_pixels = np.count_nonzero(expected)
    assert heart_pixels > 2000
    assert np.count_nonzero(found != expected) <= 0.002 * heart_pixels  # bfloat16 rounds by memory layout


def test_whole_frames_of_one_size_are_segmented_in_one_pass(watched, disc):
    model, shown = watched(resize=(96, 112), locate=False)
    image, labels = disc(shape=(160, 200), centre=(80, 110), inner=20, outer=32)
    messages = []
    found = drain(
        predict_frames(np.stack([image] * 3), None, model, QUICK), lambda p: messages.append(p.message)
    )
    assert [tuple(seen.shape) for seen in shown] == [(3, 1, 96, 112)]
    assert set(messages) == {"Segmenting"}
    for one in found.labels:
        assert dice(one == 1, labels == 1) > 0.95
        assert dice(one == 2, labels == 2) > 0.85
    assert not found.notes


def test_whole_frames_are_cleaned_each_by_itself(watched, disc):
    model, _ = watched(locate=False)
    image, labels = disc(shape=(96, 160), centre=(48, 40), inner=14, outer=22)
    speck, _ = disc(shape=(96, 160), centre=(48, 130), inner=5, outer=8)
    found = drain(predict_frames((image + speck)[None], (1.3, 1.3), model, QUICK)).labels
    np.testing.assert_array_equal(found[0], labels)


def test_resized_frames_may_still_be_searched_for_the_heart(watched, disc):
    model, _ = watched(resize=(256, 256))
    image, labels = disc(shape=(160, 200), centre=(60, 130), inner=12, outer=20)
    found = drain(predict_frames(image[None], (1.3, 1.3), model, QUICK)).labels[0]
    assert dice(found == 1, labels == 1) > 0.93


def test_a_scheme_of_one_class_is_enough(disc):
    class Wall(SegmentationNetwork):
        classes, stride, reach = 2, 8, 0

        def forward(self, images):
            level = images - images.amin((2, 3), keepdim=True)
            level = level / level.amax((2, 3), keepdim=True).clamp(min=1e-6)
            wall = 100 * torch.minimum(level - 0.2, 0.7 - level)
            return torch.cat((torch.zeros_like(wall), wall), 1)

    how = Preprocessing(locate=False, method="percentile")
    model = Model(Wall().eval(), ModelCard("wall", {}, LabelScheme((MYOCARDIUM,)), how))
    image, labels = disc(shape=(96, 96), centre=(48, 48))
    options = replace(QUICK, clean_up=False)
    found = drain(predict_frames(image[None], None, model, options)).labels[0]
    np.testing.assert_array_equal(found, np.where(labels == 2, 2, 0))


@pytest.fixture
def fading():
    """A cine of two phases of three slices, the second phase darker, the slices ever brighter."""
    y, x = np.ogrid[:160, :160]
    r = np.hypot(y - 80, x - 80)
    image = np.where(r <= 12, 1000.0, np.where(r <= 19, 400.0, 0.0)) + 20 * np.cos(x / 5) + 30
    data = image * np.array([[1, 1.5, 2], [0.1, 0.15, 0.2]])[:, :, None, None]
    return Cine(data.astype(np.float32), Geometry.from_spacing((8, 1.3, 1.3)))


@pytest.mark.parametrize("scope", ["volume", "patient"])
def test_a_slice_alone_is_seen_as_it_is_among_the_others(scope, fading, watched):
    model, together = watched(spacing=1.3, scope=scope)
    drain(predict_cine(fading, model, options=QUICK))
    model, alone = watched(spacing=1.3, scope=scope)
    drain(predict_cine(fading, model, phases=[1], slices=[1], options=QUICK))
    torch.testing.assert_close(alone[-1][0], together[-1][4], atol=1e-4, rtol=0)


def test_a_volume_is_one_phase_and_a_patient_is_all_of_them(fading, watched):
    highest = {}
    for scope in ("slice", "volume", "patient"):
        model, shown = watched(spacing=1.3, scope=scope, method="percentile")
        drain(predict_cine(fading, model, options=QUICK))
        highest[scope] = shown[-1].amax((1, 2, 3)).reshape(2, 3).numpy()
    np.testing.assert_allclose(highest["slice"], 1, atol=1e-4)
    np.testing.assert_allclose(highest["volume"][0], highest["volume"][1], atol=1e-4)
    assert highest["volume"][0, 0] < 0.7
    np.testing.assert_allclose(highest["patient"][1], 0.1 * highest["patient"][0], atol=0.05)


def test_n4_runs_before_anything_else_and_says_so(watched, disc):
    pytest.importorskip("SimpleITK", reason="N4 is SimpleITK's; install the extra n4 to test it")
    image, labels = disc(shape=(128, 128), centre=(64, 64), inner=20, outer=32, dim=700)
    field = np.exp(np.linspace(-0.8, 0.8, 128))[None, :]
    body = (image + 300.0) * field
    said = []
    found = {}
    for bias_correction in ("none", "n4"):
        model, shown = watched(bias_correction=bias_correction, locate=False, method="percentile")
        drain(predict_frames(body[None], None, model, QUICK), lambda p: said.append(p.message))
        found[bias_correction] = shown[-1][0, 0].numpy()[labels == 2]
    assert said == ["Segmenting", "Evening out the brightness", "Segmenting"]
    assert found["n4"].std() / found["n4"].mean() < 0.6 * found["none"].std() / found["none"].mean()


RESCALED = (lambda x: x * 0.05, lambda x: x * 20, lambda x: x + 5000, lambda x: x * 20 - 3000)
CURVED = (lambda x: np.square(x / x.max()), lambda x: np.sqrt(x / x.max()))
COARSE = (lambda x: np.round(x * 0.1),)  # a tenth as bright, in whole numbers


def check_dark_copies(frames, pixel_size, model):
    """Hold copies of frames to the masks of the bright ones."""
    bright = drain(predict_frames(frames, pixel_size, model, QUICK)).labels
    for changes, cavity, wall in ((RESCALED, 0.999, 0.999), (CURVED, 0.93, 0.88), (COARSE, 0.9, 0.75)):
        for change in changes:
            changed = change(frames.astype(np.float64))
            copy = drain(predict_frames(changed, pixel_size, model, QUICK)).labels
            assert dice(copy == 1, bright == 1) >= cavity
            assert dice(copy == 2, bright == 2) >= wall
            for one, other in zip(copy, bright, strict=True):
                assert (one == 1).any() or np.count_nonzero(other == 1) < 20


@pytest.mark.sunnybrook
@pytest.mark.parametrize("patient", ["SC-HF-I-04", "SC-HYP-08", "SC-N-05"])
def test_dark_copies_of_real_frames_do_not_come_back_empty(patient, sunnybrook, shipped):
    frames = np.stack([f.image for f in read_frames(sunnybrook / "frames", [patient])[:4]])
    check_dark_copies(frames, None, shipped)


def test_dark_copies_of_the_phantom_do_not_come_back_empty(shipped):
    cine = make_phantom(1, n_phases=2).cine
    check_dark_copies(cine.data[0, ::3], cine.geometry.spacing[1:], shipped)
