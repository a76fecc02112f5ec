import json
from dataclasses import replace

import numpy as np
import pytest

from napari_cardioseg.domain import LV_SCHEME, ConfigError, LabelScheme, ModelCard, ModelError, drain
from napari_cardioseg.predict import Model, PredictOptions
from napari_cardioseg.store.models import ModelFile, read_model, write_model
from napari_cardioseg.train import TrainConfig, evaluate_frames, load_config, train
from napari_cardioseg.train.augment import Augmentation
from napari_cardioseg.train.config import DataConfig, OptimiserConfig
from napari_cardioseg.train.loop import CHECKPOINT


@pytest.fixture
def config(tmp_path):
    return TrainConfig(
        name="tiny",
        output=tmp_path / "run",
        data=DataConfig("unused", validation=("C",)),
        network={"name": "unet", "widths": [8, 16, 16]},
        optimiser=OptimiserConfig(
            steps=60, batch=8, crop=48, warm_up=5, average=0.9, validate_every=20, learning_rate=5e-3
        ),
        augmentation=Augmentation(shift=6, anywhere=0.1),
        device="cpu",
    )


def weights(result):
    return read_model(result.path).weights


def test_training_learns_and_its_file_describes_itself(config, make_frames):
    result = drain(train(config, make_frames()))
    model_file = read_model(result.path)
    assert model_file.card.training["patients"] == ["A", "B"]
    assert model_file.card.training["validation_patients"] == ["C"]
    best = max(np.mean(list(r["dice"].values())) for r in result.history)
    assert best > 0.7
    report = drain(
        evaluate_frames(
            [f for f in make_frames() if f.patient == "C"],
            Model.build(model_file.card, model_file.weights),
            PredictOptions(device="cpu"),
        )
    )
    assert report["classes"]["lv"]["dice_slice_mean"] > 0.8
    assert report["classes"]["lv"]["n_slices"] == 4
    assert report["classes"]["myo"]["n_slices"] == 2  # only where the ring is labelled
    assert set(report["patients"]) == {"C"}
    json.dumps(report)


@pytest.mark.parametrize("stop_at", [20, 23, 60])
def test_a_stopped_run_goes_on_as_if_it_had_not_been_stopped(stop_at, config, make_frames, tmp_path):
    frames = make_frames()
    straight = drain(train(replace(config, output=tmp_path / "straight"), frames))
    job = train(config, frames)
    while next(job).done < stop_at:
        pass
    job.close()
    assert (config.output / CHECKPOINT).is_file()
    steps = []
    resumed = drain(train(config, frames), lambda p: steps.append(p.done))
    assert steps[0] == min(stop_at + 1, 60) or steps[0] == stop_at  # a validation comes first
    assert [r["step"] for r in resumed.history] == [20, 40, 60]
    for name, value in weights(straight).items():
        np.testing.assert_array_equal(weights(resumed)[name], value, err_msg=name)


@pytest.mark.parametrize(
    "change",
    [
        {"network": {"name": "unet", "widths": [8, 16]}},
        {"data": DataConfig("unused", validation=("A",))},
        {"augmentation": Augmentation(shift=7)},
    ],
)
def test_a_checkpoint_of_another_run_is_not_taken_up(change, config, make_frames):
    job = train(config, make_frames())
    next(job)
    job.close()
    with pytest.raises(ConfigError, match="other settings, patients or labels"):
        drain(train(replace(config, **change), make_frames()))
    (config.output / CHECKPOINT).write_bytes(b"no checkpoint")
    with pytest.raises(ConfigError, match="damaged"):
        drain(train(config, make_frames()))


def test_the_last_weights_are_kept_where_nothing_is_to_be_chosen(config, make_frames, tmp_path):
    last = replace(config, optimiser=replace(config.optimiser, keep_best=False))
    result = drain(train(last, make_frames()))
    assert result.card.metrics["validation"]["step"] == 60
    unvalidated = replace(last, output=tmp_path / "other", data=DataConfig("unused"))
    assert drain(train(unvalidated, make_frames())).card.metrics == {}


def test_a_run_that_diverges_stops_with_a_sentence(config, make_frames):
    wild = replace(config, optimiser=replace(config.optimiser, learning_rate=1e30, gradient_norm=1e30))
    with pytest.raises(ConfigError, match="no longer a number"):
        drain(train(wild, make_frames()))


def test_a_teacher_must_know_the_same_classes(config, make_frames, tmp_path):
    swapped = LabelScheme(tuple(replace(c, value=3 - c.value) for c in LV_SCHEME))
    path = tmp_path / "swapped.safetensors"
    write_model(path, ModelFile(ModelCard("swapped", config.network, swapped), {}))
    with pytest.raises(ModelError, match="other classes"):
        drain(train(replace(config, teacher=str(path)), make_frames()))


def test_evaluation_goes_by_the_names_of_classes_and_always_gives_its_keys(config, make_frames):
    result = drain(train(replace(config, optimiser=replace(config.optimiser, steps=40)), make_frames()))
    file = read_model(result.path)
    frames = [replace(f, known=frozenset({1})) for f in make_frames() if f.patient == "C"]
    report = drain(evaluate_frames(frames, Model.build(file.card, file.weights)))
    assert report["classes"]["myo"]["n_slices"] == 0
    assert report["classes"]["myo"]["dice_slice_mean"] is None
    swapped = LabelScheme(tuple(replace(c, value=3 - c.value) for c in LV_SCHEME))
    other = Model.build(replace(file.card, scheme=swapped), file.weights)
    again = drain(evaluate_frames(frames, other))
    assert again["classes"]["lv"] == report["classes"]["lv"]


def test_a_configuration_is_read_and_checked(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(
        'name = "n"\n[data]\nframes = "frames"\n[network]\nname = "unet"\n[optimiser]\nsteps = 7\n'
    )
    config = load_config(path)
    assert config.data.frames == str(tmp_path / "frames")
    assert config.output == tmp_path / "runs/n"
    assert config.optimiser.steps == 7
    for text, message in (
        ("name = ", "not a TOML"),
        ('name = "n"\n[network]\nname="unet"\n', "no 'data'"),
        ('name = "n"\n[data]\nframes="f"\n[network]\nname="unet"\n[optimiser]\nspeed=3\n', "speed"),
        ('name = "n"\n[data]\nframes="f"\n[network]\nname="unet"\n[optimiser]\nsteps=0\n', "more than 0"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            load_config(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.toml")


def test_a_run_can_start_from_another_model(config, make_frames, tmp_path):
    parent = drain(train(config, make_frames()))
    little = replace(config.optimiser, steps=1, warm_up=1, learning_rate=1e-6, validate_every=1)
    child = drain(
        train(
            replace(
                config, name="child", output=tmp_path / "child", parent=str(parent.path), optimiser=little
            ),
            make_frames(),
        )
    )
    assert child.card.parent == "tiny"
    for name, value in weights(parent).items():
        if value.dtype.kind == "f" and "running" not in name:
            np.testing.assert_allclose(weights(child)[name], value, atol=2e-3)
    other = replace(config, output=tmp_path / "other", parent=str(parent.path), network={"name": "unet"})
    with pytest.raises(ModelError, match="do not fit"):
        drain(train(other, make_frames()))
