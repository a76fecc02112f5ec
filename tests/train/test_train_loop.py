import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from napari_cardioseg.domain import ConfigError, ModelError, drain
from napari_cardioseg.predict import Model, PredictOptions
from napari_cardioseg.store.models import read_model
from napari_cardioseg.train import TrainConfig, evaluate_frames, load_config, train
from napari_cardioseg.train.augment import Augmentation
from napari_cardioseg.train.config import DataConfig, OptimiserConfig
from napari_cardioseg.train.loop import CHECKPOINT, learning_rate


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


def test_a_stopped_run_goes_on_as_if_it_had_not_been_stopped(config, make_frames, tmp_path):
    frames = make_frames()
    straight = drain(train(replace(config, output=tmp_path / "straight"), frames))
    job = train(config, frames)
    for _ in range(23):
        next(job)
    job.close()
    assert (config.output / CHECKPOINT).is_file()
    steps = []
    resumed = drain(train(config, frames), lambda p: steps.append(p.done))
    assert steps[0] == 24
    for name, value in weights(straight).items():
        np.testing.assert_array_equal(weights(resumed)[name], value, err_msg=name)


def test_a_checkpoint_of_another_network_is_not_taken_up(config, make_frames):
    job = train(config, make_frames())
    next(job)
    job.close()
    other = replace(config, network={"name": "unet", "widths": [8, 16]})
    with pytest.raises(ConfigError, match="does not belong to this configuration"):
        drain(train(other, make_frames()))


def test_the_rate_warms_up_and_falls_to_zero():
    rates = [learning_rate(s, 100, 10, 1.0) for s in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert rates[100] == pytest.approx(0)
    assert all(a >= b for a, b in pairwise(rates[10:]))


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
