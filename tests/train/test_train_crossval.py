"""Folds of patients, and a model of them all."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_cardioseg.cli import main
from napari_cardioseg.domain import LV_SCHEME, ConfigError, Preprocessing, drain
from napari_cardioseg.predict import Model
from napari_cardioseg.store.models import read_card, read_model
from napari_cardioseg.train import TrainConfig, cross_validate, train
from napari_cardioseg.train.augment import Augmentation
from napari_cardioseg.train.config import DataConfig
from napari_cardioseg.train.crossval import REPORT
from napari_cardioseg.train.evaluate import identify
from napari_cardioseg.train.optimise import OptimiserConfig
from napari_cardioseg.train.split import deal_folds, split_patients


@pytest.fixture
def config(tmp_path):
    return TrainConfig(
        name="both",
        output=tmp_path / "run",
        data=DataConfig("unused", validation=("C",)),
        network={"name": "unet", "widths": [4, 8]},
        optimiser=OptimiserConfig(steps=3, batch=4, crop=32, warm_up=0, validate_every=3),
        augmentation=Augmentation(shift=6),
        device="cpu",
    )


def test_patients_are_dealt_evenly_and_the_fully_labelled_to_every_fold(make_frames):
    frames = [
        replace(f, known=f.known if f.patient in "ABC" else frozenset({1}))
        for f in make_frames(patients=tuple("ABCDEFGH"), per_patient=2, side=16)
    ]
    folds = deal_folds(frames, 3, LV_SCHEME)
    assert sorted(p for fold in folds for p in fold) == list("ABCDEFGH")
    assert [len(set(fold) & set("ABC")) for fold in folds] == [1, 1, 1]
    assert sorted(map(len, folds)) == [2, 3, 3]
    assert folds == deal_folds(frames[::-1], 3, LV_SCHEME)
    assert folds != deal_folds(frames, 3, LV_SCHEME, seed=1)
    for folds in (1, 9):
        with pytest.raises(ConfigError, match=f"2 to 8 folds, not to {folds}"):
            deal_folds(frames, folds, LV_SCHEME)


def test_patients_can_be_left_out():
    assert split_patients("ABCDA", ["C"], ["D"]) == (["A", "B"], ["C"])
    with pytest.raises(ConfigError, match="no patient E, who is named to be left out"):
        split_patients("ABCD", ["C"], ["E"])
    with pytest.raises(ConfigError, match="C cannot be both"):
        split_patients("ABCD", ["C"], ["C"])


def test_each_patient_is_measured_by_the_network_that_has_not_seen_them(config, make_frames):
    frames = make_frames(patients=tuple("ABCDE"))
    result = drain(cross_validate(config, frames, 2))
    files = [read_model(config.output / f"fold{i}" / f"both-fold{i}.safetensors") for i in (1, 2)]
    for fold, one in zip(result.report["folds"], files, strict=True):
        assert set(one.card.training["patients"]) == set("ABDE") - set(fold)
        assert one.card.training["validation_patients"] == ["C"]
    report = json.loads((config.output / REPORT).read_text())
    assert sorted(report["patients"]) == list("ABDE")
    assert report["n_frames"] == 16
    assert report["classes"]["lv"]["n_slices"] == 16

    file = read_model(result.path)
    assert file.card.metrics["out_of_fold"]["classes"] == report["classes"]
    assert file.card.training["patients"] == list("ABDE")
    members = [Model.build(one.card, one.weights) for one in files]
    images = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    p = Model.build(file.card, file.weights).network(images).softmax(dim=1)
    mean = sum(member.network(images).softmax(dim=1) for member in members) / 2
    np.testing.assert_allclose(p.numpy(), mean.numpy(), atol=1e-5)


def test_a_stopped_cross_validation_goes_on_where_it_was(config, make_frames):
    frames = make_frames(patients=tuple("ABCDE"))
    job = cross_validate(config, frames, 2)
    while "Fold 2" not in next(job).message:
        pass
    job.close()
    first = config.output / "fold1" / "both-fold1.safetensors"
    made = first.stat().st_mtime_ns
    stopped = drain(cross_validate(config, frames, 2))
    assert first.stat().st_mtime_ns == made
    straight = drain(cross_validate(replace(config, output=config.output / "straight"), frames, 2))
    assert stopped.report == straight.report


def test_folds_that_learnt_their_own_histograms_are_joined_on_the_mean(config, make_frames):
    config = replace(config, preprocessing=Preprocessing(method="nyul"))
    result = drain(cross_validate(config, make_frames(patients=tuple("ABDEC")), 2))
    paths = [config.output / f"fold{i}" / f"both-fold{i}.safetensors" for i in (1, 2)]
    folds = [read_card(path).preprocessing.landmarks for path in paths]
    assert folds[0] != folds[1]
    np.testing.assert_allclose(result.card.preprocessing.landmarks, np.mean(folds, axis=0))
    assert read_card(result.path).preprocessing == result.card.preprocessing


def test_patients_whom_the_parent_knew_are_named(config, make_frames, tmp_path):
    frames = make_frames(patients=tuple("ABCDE"))
    left_out = DataConfig("unused", validation=("C",), left_out=("D", "E"))
    parent = drain(train(replace(config, output=tmp_path / "parent", data=left_out), frames))
    result = drain(cross_validate(replace(config, parent=str(parent.path)), frames, 2))
    assert result.report["trained_on"] == ["A", "B"]
    assert result.card.training["earlier_patients"] == ["A", "B"]
    known = [f for f in frames if f.patient in "AC"]
    child = replace(config, output=tmp_path / "child", parent=str(parent.path))
    only_d = DataConfig("unused", left_out=("A", "B", "C", "E"))
    file = read_model(drain(train(replace(child, data=only_d), frames)).path)
    assert identify(Model.build(file.card, file.weights), known)["trained_on"] == ["A"]


def test_the_shell_cross_validates_and_prints_a_table(frames_folder, tmp_path, capsys):
    small = ["--set", "network.widths=[4, 8]", "device=cpu", "optimiser.steps=1", "optimiser.crop=32"]
    run = ["--recipe", "cardioseg", "--frames", str(frames_folder), "-o", str(tmp_path / "cv")]
    assert main(["train", *run, *small, "--folds", "3"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("cv: 3 patients, 12 frames, each by the network that was trained without them\n")
    assert f"{tmp_path / 'cv' / 'cv.safetensors'}: all 3 folds as one model" in shown
