"""`weights`: from a checkpoint to a model file that a training run can start from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from napari_cardioseg.cli import main
from napari_cardioseg.models.resnet import make_resnet
from napari_cardioseg.predict import Model
from napari_cardioseg.store.models import read_model

SETTINGS = ["backbone=resnet18", "width=4", "features=8", "rates=[1, 2]"]


@pytest.fixture
def resnet(tmp_path: Path) -> Path:
    """Write the weights of a narrow ResNet-18 as torchvision's checkpoints have them."""
    torch.manual_seed(1)
    weights = make_resnet("resnet18", channels=3, width=4).state_dict()
    path = tmp_path / "resnet18.pth"
    torch.save({**weights, "fc.weight": torch.zeros(1000, 32), "fc.bias": torch.zeros(1000)}, path)
    return path


def test_the_file_written_is_a_model_with_the_checkpoints_weights(
    resnet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "start.safetensors"
    command = ["weights", str(resnet), "--network", "deeplabv3", "--set", *SETTINGS, "-o", str(out)]
    assert main(command) == 0
    file = read_model(out)
    assert file.card.name == "start"
    assert file.card.network["rates"] == [1, 2]
    assert file.card.training["checkpoint"]["file"] == "resnet18.pth"
    network = Model.build(file.card, file.weights).network
    theirs = torch.load(resnet, weights_only=True)
    assert torch.equal(
        network.get_parameter("backbone.layer4.1.conv2.weight"), theirs["layer4.1.conv2.weight"]
    )
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert len(lines) < 30
    assert re.search(r"backbone\.conv1 +1 +- +first layer folded", shown)
    assert re.search(r"backbone\.layer1 +24 +-$", shown, re.MULTILINE)
    assert re.search(r"classifier\.4 +- +2 +not in the file", shown)
    assert lines[-1] == "not used from the file: fc (2)"


def test_a_model_file_gives_its_backbone_to_another_network(
    resnet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    small = ["--set", "backbone=resnet18", "width=4"]
    assert main(["weights", str(resnet), "--network", "pspnet", *small, "-o", str(first)]) == 0
    assert main(["weights", str(first), "--network", "deeplabv2", *small, "-o", str(second)]) == 0
    assert "deeplabv2 with 120 of its" in capsys.readouterr().out
    counters = {k: v.shape for k, v in read_model(second).weights.items() if k.endswith("tracked")}
    assert set(counters.values()) == {()}


def test_verbose_lists_every_tensor_once(
    resnet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "start.safetensors"
    command = ["weights", str(resnet), "--network", "deeplabv3", "--set", *SETTINGS, "--verbose"]
    assert main([*command, "-o", str(out)]) == 0
    listed = [line.split()[:2] for line in capsys.readouterr().out.splitlines()[1:]]
    kinds = {kind: {name for k, name in listed if k == kind} for kind in ("loaded", "fresh", "unused")}
    assert kinds["unused"] == {"fc.weight", "fc.bias"}
    file = read_model(out)
    assert kinds["loaded"] | kinds["fresh"] <= set(file.weights)
    assert all("num_batches_tracked" in name for name in set(file.weights) - kinds["loaded"] - kinds["fresh"])
    assert len(listed) == sum(map(len, kinds.values()))


def test_fresh_weights_are_the_same_each_time(resnet: Path, tmp_path: Path) -> None:
    outs = [tmp_path / f"{name}.safetensors" for name in "ab"]
    for out in outs:
        command = ["weights", str(resnet), "--network", "deeplabv3", "--set", *SETTINGS]
        assert main([*command, "-o", str(out)]) == 0
    first, second = (read_model(out).weights for out in outs)
    assert all((first[name] == second[name]).all() for name in first)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--network", "unet"], "Nothing in the checkpoint fits"),
        (["--network", "unot"], "no network called 'unot'"),
        (["--network", "deeplabv3", "--set", "backbone=resnet18"], "another backbone"),
        (["--network", "unet", "--set", "depth"], "wants KEY=VALUE"),
        (["--network", "unet", "--set", "classes=21"], "classes cannot be --set"),
        (["--network", "unet", "--set", "deep=4"], "deep, which is not known"),
        (["--network", "unet", "--set", "widths=4"], "widths must be a list of whole numbers"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence_and_nothing_is_written(
    arguments: list[str], complaint: str, resnet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "start.safetensors"
    assert main(["weights", str(resnet), *arguments, "-o", str(out)]) == 1
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1
    assert not out.exists()


def test_paths_are_checked_before_the_work(
    resnet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["weights", "--network", "unet"]
    assert main([*command, str(tmp_path / "gone.pth"), "-o", str(tmp_path / "a.safetensors")]) == 1
    assert "no checkpoint" in capsys.readouterr().err
    assert main([*command, str(resnet), "-o", str(tmp_path / "a.pth")]) == 1
    assert "model files are called" in capsys.readouterr().err
    itself = tmp_path / "itself.safetensors"
    itself.write_bytes(b"")
    assert main([*command, str(itself), "-o", str(itself)]) == 1
    assert "is the checkpoint itself" in capsys.readouterr().err
