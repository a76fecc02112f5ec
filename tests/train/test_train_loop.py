import json
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_cardioseg.domain import LV_SCHEME, ConfigError, LabelScheme, ModelCard, ModelError, drain
from napari_cardioseg.predict import Model, PredictOptions
from napari_cardioseg.store.models import ModelFile, read_model, write_model
from napari_cardioseg.train import TrainConfig, evaluate_frames, load_config, train
from napari_cardioseg.train.augment import Augmentation
from napari_cardioseg.train.config import DataConfig, OptimiserConfig, RunConfig
from napari_cardioseg.train.journal import LOG
from napari_cardioseg.train.loop import CHECKPOINT
from napari_cardioseg.train.losses import LossConfig


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


KILLED = """
import os, pickle, signal, sys
from napari_cardioseg.train import train
config, frames = pickle.load(sys.stdin.buffer)
for progress in train(config, frames):
    if progress.done == 4:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_goes_on_to_the_same_weights_bit_for_bit(config, make_frames, tmp_path):
    frames = make_frames()
    config = replace(
        config,
        # Dropout and momentum, too, must go on as if nothing had been.
        network={"name": "deeplabv3", "backbone": "resnet18", "width": 4, "features": 4},
        optimiser=OptimiserConfig(steps=6, batch=2, crop=32, warm_up=2, validate_every=6),
        run=RunConfig(checkpoint_every=3, log_every=2),
    )
    straight = drain(train(replace(config, output=tmp_path / "straight"), frames))
    killed = subprocess.run(
        [sys.executable, "-c", KILLED],
        input=pickle.dumps((config, frames)),
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    steps = []
    resumed = drain(train(config, frames), lambda p: steps.append(p.done))
    assert steps[:3] == [4, 5, 6]
    assert resumed.history == straight.history
    for name, value in weights(straight).items():
        np.testing.assert_array_equal(weights(resumed)[name], value, err_msg=name)
    logs = [(folder / LOG).read_text() for folder in (config.output, tmp_path / "straight")]
    assert logs[0] == logs[1]
    assert [row.partition(",")[0] for row in logs[0].split()] == ["step", "2", "4", "6"]


def test_workers_change_nothing(config, make_frames, tmp_path):
    how = replace(config.optimiser, steps=4, validate_every=4)
    config = replace(config, optimiser=how, loss=LossConfig(border=10.0))
    alone = drain(train(config, make_frames()))
    helped = replace(config, output=tmp_path / "helped", run=RunConfig(workers=2))
    assert drain(train(helped, make_frames())).history == alone.history


def test_a_run_stops_early_when_nothing_gets_better(config, make_frames):
    # With no rate nothing changes, so that the first validation is never bettered.
    how = replace(config.optimiser, learning_rate=1e-30, freeze_norm=True, validate_every=2, patience=2)
    progress = []
    result = drain(train(replace(config, optimiser=how), make_frames()), progress.append)
    assert [record["step"] for record in result.history] == [2, 4, 6]
    assert "nothing has been better since step 2" in progress[-1].note
    assert result.card.training["steps"] == 6
    again = []
    drain(train(replace(config, optimiser=how), make_frames()), again.append)
    assert again == []  # it is over


def test_only_the_classes_asked_for_are_learnt(config, make_frames):
    frames = make_frames()
    config = replace(
        config,
        data=DataConfig("unused", validation=("C",), classes=("myo",), fully_labelled_share=1.0),
        loss=LossConfig(dice=0.0, class_weights=(0.05, 0.95)),
    )
    result = drain(train(config, frames))
    assert [c.key for c in result.card.scheme] == ["myo"]
    assert result.card.training["frames"] == 4  # of 8, those whose myocardium is known
    assert set(result.history[-1]["dice"]) == {"myo"}
    assert weights(result)["head.bias"].shape == (2,)
    with pytest.raises(ConfigError, match="no class rv"):
        drain(train(replace(config, data=DataConfig("unused", classes=("rv",))), frames))
    with pytest.raises(ConfigError, match="is the myocardium labelled"):
        drain(train(config, [replace(f, known=frozenset({1})) for f in frames]))


def test_a_crop_of_any_size_suits_any_network(config, make_frames):
    how = replace(config.optimiser, steps=1, validate_every=1, crop=45)
    assert drain(train(replace(config, optimiser=how), make_frames())).history[0]["loss"] < 10


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


def test_a_batch_too_small_for_its_network_is_refused_with_a_sentence(config, make_frames):
    alone = replace(
        config,
        network={"name": "pspnet", "backbone": "resnet18", "width": 4},
        optimiser=replace(config.optimiser, batch=1, steps=1, validate_every=1),
    )
    with pytest.raises(ConfigError, match=r"single crop; raise optimiser\.batch"):
        drain(train(alone, make_frames()))
    frozen = replace(alone, optimiser=replace(alone.optimiser, freeze_norm=True))
    drain(train(frozen, make_frames(), resume=False))


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
    with pytest.raises(ModelError, match=r"does not fit .* widths = .8, 16, 16.* partial_parent"):
        drain(train(other, make_frames()))


def test_a_run_can_take_what_fits_of_another_model(config, make_frames, tmp_path):
    little = replace(config.optimiser, steps=1, warm_up=1, learning_rate=1e-30, validate_every=1)
    config = replace(config, optimiser=little)
    parent = drain(train(config, make_frames()))
    child = replace(
        config,
        output=tmp_path / "child",
        parent=str(parent.path),
        partial_parent=True,
        data=DataConfig("unused", classes=("lv",)),
        optimiser=replace(little, seed=1),
    )
    notes = []
    result = drain(train(child, make_frames()), lambda p: notes.append(p.note))
    assert "starts afresh in head" in notes[0]
    before, after = weights(parent), weights(result)
    assert after["head.weight"].shape[0] == 2
    for name in before:
        if name.endswith("0.weight") and "head" not in name:
            np.testing.assert_allclose(after[name], before[name], rtol=2e-3, atol=1e-6, err_msg=name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="float16 works where there is a GPU")
def test_float16_is_refused_where_it_would_crawl(config, make_frames):
    how = replace(config.optimiser, precision="fp16")
    with pytest.raises(ConfigError, match="fp16 is not possible on cpu"):
        drain(train(replace(config, optimiser=how), make_frames()))


def test_bfloat16_learns(config, make_frames):
    how = replace(config.optimiser, precision="bf16", steps=40)
    assert drain(train(replace(config, optimiser=how), make_frames())).history[-1]["score"] > 0.4
