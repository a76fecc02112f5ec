import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_cardioseg.domain import Cine, ConfigError, DataError, Geometry, ModelError, drain
from napari_cardioseg.io import load_cine, scan
from napari_cardioseg.models import build_network
from napari_cardioseg.predict import Model, PredictOptions, predict_cine, predict_ed_es
from napari_cardioseg.predict import engine as engine_module
from napari_cardioseg.predict.decide import expected_error
from napari_cardioseg.predict.engine import Engine
from napari_cardioseg.predict.infer import AS_IT_IS, TEST_TIME_VIEWS, probabilities
from napari_cardioseg.predict.preprocess import normalise, resampling_factor
from napari_cardioseg.quantify.overlap import dice
from napari_cardioseg.store.models import DEFAULT_MODEL, read_model


@pytest.fixture
def beating(disc):
    """A cine of three slices whose cavity is largest at phase 1 and smallest at phase 3."""
    radii = (14, 16, 13, 9, 12)
    drawn = [[disc(inner=r, outer=r + 6) for _ in range(3)] for r in radii]
    data = np.stack([[image for image, _ in row] for row in drawn])
    truth = np.stack([[labels for _, labels in row] for row in drawn])
    return Cine(data, Geometry.from_spacing((8, 1.3, 1.3))), truth


def test_every_frame_is_segmented_at_its_place(beating, threshold_model):
    cine, truth = beating
    prediction = drain(predict_cine(cine, threshold_model))
    np.testing.assert_array_equal(prediction.labels, truth)
    assert prediction.predicted.all()
    assert (prediction.uncertainty < 0.05).all()
    assert prediction.as_segmentation().origin == "threshold"


def test_only_what_was_asked_for_is_segmented_and_missing_frames_are_not(beating, threshold_model):
    cine, truth = beating
    present = np.ones((5, 3), bool)
    present[2, 1] = False
    prediction = drain(predict_cine(replace(cine, present=present), threshold_model, phases=[2]))
    expected = np.zeros((5, 3), bool)
    expected[2, [0, 2]] = True
    np.testing.assert_array_equal(prediction.predicted, expected)
    np.testing.assert_array_equal(prediction.labels[2, 0], truth[2, 0])
    assert not prediction.labels[~expected].any()
    assert np.isnan(prediction.uncertainty[~expected]).all()
    with pytest.raises(DataError, match="no image"):
        drain(predict_cine(replace(cine, present=present), threshold_model, phases=[2], slices=[1]))
    with pytest.raises(DataError, match="no phase 7"):
        drain(predict_cine(cine, threshold_model, phases=[7]))


def test_a_second_heart_on_one_slice_is_not_segmented(disc, threshold_model):
    image, labels = disc(shape=(256, 256), centre=(120, 110), inner=10)
    other, _ = disc(shape=(256, 256), centre=(120, 158), inner=18, outer=24)  # within the heart's square
    data = np.stack([[image, image, image + other, image]] * 2)
    cine = Cine(data, Geometry.from_spacing((8, 1.3, 1.3)))
    alone = drain(predict_cine(cine, threshold_model, phases=[0], slices=[2]))
    np.testing.assert_array_equal(alone.labels[0, 2], labels)
    raw = drain(predict_cine(cine, threshold_model, options=PredictOptions(clean_up=False)))
    assert raw.labels[0, 2].sum() >= labels.sum()


@pytest.mark.parametrize("spacing", [(0.7, 0.7), (2.0, 2.0), (1.3, 0.65)])
def test_other_pixel_sizes_are_resampled_there_and_back(spacing, disc, threshold_model):
    wide = (300, 360)
    image, labels = disc(shape=wide, centre=(150, 180), inner=30, outer=45)
    cine = Cine(image[None, None], Geometry.from_spacing((8, *spacing)))
    found = drain(predict_cine(cine, threshold_model)).labels[0, 0]
    assert dice(found == 1, labels == 1) > 0.96
    rows, columns = np.nonzero(found == 1)
    assert abs(rows.mean() - 150) < 0.5
    assert abs(columns.mean() - 180) < 0.5


def test_dark_and_rescaled_copies_give_the_same_masks(beating, threshold_model):
    cine, truth = beating
    for changed in (cine.data * 0.01, cine.data.astype(np.float32) * 40 - 7000):
        again = drain(predict_cine(replace(cine, data=changed), threshold_model, phases=[0]))
        np.testing.assert_array_equal(again.labels[0], truth[0])
    assert not normalise(np.full((1, 8, 8), 7.0), threshold_model.card.preprocessing).any()


def test_ed_and_es_are_found_by_the_cavity(beating, threshold_model):
    cine, truth = beating
    prediction, ed, es = drain(predict_ed_es(cine, threshold_model))
    assert (ed, es) == (1, 3)
    np.testing.assert_array_equal(prediction.labels[[1, 3]], truth[[1, 3]])
    assert not prediction.predicted[[0, 2, 4]].any()
    with pytest.raises(DataError, match="one phase only"):
        drain(
            predict_ed_es(
                replace(cine, data=cine.data[:1], present=cine.present[:1], frames=cine.frames.empty(1, 3)),
                threshold_model,
            )
        )


def test_running_out_of_memory_steps_down_with_a_note(beating, threshold_model, monkeypatch):
    cine, truth = beating
    real = engine_module.probabilities

    def small_memory(network, images, views):
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB")
        return real(network, images, views)

    monkeypatch.setattr(engine_module, "probabilities", small_memory)
    notes = []
    prediction = drain(
        predict_cine(cine, threshold_model, options=PredictOptions(batch_size=8)),
        lambda p: notes.append(p.note) if p.note else None,
    )
    np.testing.assert_array_equal(prediction.labels, truth)
    assert any("going on with" in note for note in (*notes, *prediction.notes))

    def no_memory(network, images, views):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(engine_module, "probabilities", no_memory)
    with pytest.raises(MemoryError, match="close other programs"):
        drain(predict_cine(cine, threshold_model))


def test_other_errors_of_the_network_are_not_taken_for_memory(beating, threshold_model, monkeypatch):
    def broken(network, images, views):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(engine_module, "probabilities", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        drain(predict_cine(beating[0], threshold_model))


def test_a_device_that_is_not_there_is_named(beating, threshold_model):
    with pytest.raises(ConfigError, match="no device 'abacus'"):
        drain(predict_cine(beating[0], threshold_model, options=PredictOptions(device="abacus")))


def test_weights_must_fit_and_be_finite(threshold_model):
    card = replace(threshold_model.card, network={"name": "unet", "widths": (4, 8)})
    weights = {k: v.numpy() for k, v in build_network(card.network).state_dict().items()}
    assert not Model.build(card, weights).network.training
    with pytest.raises(ModelError, match="not finite"):
        Model.build(card, {**weights, "head.bias": np.full(3, np.nan, np.float32)})
    with pytest.raises(ModelError, match="do not fit"):
        Model.build(card, {k: v for k, v in weights.items() if k != "head.bias"})


def test_doubt_is_about_the_labels_and_not_about_empty_frames():
    def p_of(heart):
        p = torch.zeros(1, 2, 64, 64)
        p[0, 1] = heart
        p[0, 0] = 1 - heart
        return p

    def masks(heart):
        return torch.stack((~heart, heart))[None]

    nowhere = masks(torch.zeros(64, 64, dtype=torch.bool))
    assert expected_error(p_of(torch.full((64, 64), 0.01)), nowhere) == pytest.approx(0, abs=1e-6)
    torn = torch.zeros(64, 64)
    torn[20:40, 20:40] = 0.45
    assert expected_error(p_of(torn), nowhere) > 0.8
    sure = torch.zeros(64, 64)
    sure[20:40, 20:40] = 1.0
    assert expected_error(p_of(sure), masks(sure > 0)) == pytest.approx(0, abs=1e-6)
    assert expected_error(p_of(sure), nowhere) > 0.9
    assert 0.2 < expected_error(p_of(sure), masks(sure.roll(5, 1) > 0)) < 0.4


@pytest.mark.parametrize(("matrix", "expected"), [((512, 512), 0.5), ((256, 256), 1.0), ((128, 100), 2.0)])
def test_without_millimetres_a_usual_field_of_view_is_taken(matrix, expected, threshold_model):
    found = resampling_factor(matrix, None, threshold_model.card.preprocessing)
    assert found == pytest.approx((expected, expected), rel=0.03)


def test_pixels_that_are_not_square_are_made_square(threshold_model):
    assert resampling_factor((256, 256), (1.3, 1.3), threshold_model.card.preprocessing) == (1, 1)
    fy, fx = resampling_factor((256, 256), (1.12, 1.5), threshold_model.card.preprocessing)
    assert fy * 1.3 == pytest.approx(1.12)
    assert fx * 1.3 == pytest.approx(1.5)


def test_views_that_do_not_show_the_border_have_no_say_there(threshold_model, disc):
    image, labels = disc(shape=(64, 64), centre=(32, 32), inner=18, outer=31)
    batch = torch.from_numpy(image.astype(np.float32))[None]
    p = probabilities(threshold_model.network, batch, TEST_TIME_VIEWS)
    torch.testing.assert_close(p.sum(dim=1), torch.ones(1, 64, 64))
    assert dice(p.argmax(dim=1)[0].numpy() == 2, labels == 2) > 0.98


def test_a_gpu_without_memory_hands_over_to_the_cpu_in_small_batches(threshold_model, monkeypatch):
    engine = Engine(threshold_model.network, "cpu")
    real, sizes = engine_module.probabilities, []

    def gpu_is_full(network, images, views):
        if engine.device.type != "cpu":
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(len(images))
        return real(network, images, views)

    monkeypatch.setattr(engine_module, "probabilities", gpu_is_full)
    engine.device = torch.device("meta")  # stands for a device that is not the CPU
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *_args, **_kwargs: self)
    result = engine.probabilities(torch.zeros(40, 256, 256), AS_IT_IS)
    assert len(result) == 40
    assert max(sizes) <= 4
    assert "on the CPU" in engine.take_notes()[-1]


@pytest.mark.sunnybrook
def test_ed_and_es_of_real_hearts_are_the_readers_to_a_phase_or_two(sunnybrook):
    reference = json.loads((sunnybrook / "reference.json").read_text())
    file = read_model(DEFAULT_MODEL)
    model = Model.build(file.card, file.weights)
    for name, known in reference.items():
        series = drain(scan(sunnybrook / "dicom" / name)).series[0]
        cine = drain(load_cine(series))
        _, ed, es = drain(predict_ed_es(cine, model, PredictOptions(tta=False)))
        for found, phase in ((ed, known["ed_phase"]), (es, known["es_phase"])):
            apart = abs(found - phase)
            assert min(apart, cine.n_phases - apart) <= 2, f"{name}: {found} instead of {phase}"
