"""`evaluate` and `train` on a folder of labelled frames."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_cardioseg.cli import main
from napari_cardioseg.io.phantom import Phantom

MEASURES = {"dice_slice_mean", "dice_volume_mean", "iou_slice_mean", "failures", "n_slices"}


@pytest.fixture(scope="session")
def frames(small_phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the phantom's ED and ES as frames of two patients; the epicardium is known at ED alone."""
    folder = tmp_path_factory.mktemp("frames")
    rows = []
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for patient, (low, high) in {"A": (1, 4), "B": (2, 5)}.items():
        for z in range(low, high):
            for phase in (small_phantom.ed_phase, small_phantom.es_phase):
                at_ed = phase == small_phantom.ed_phase
                instance = phase * 100 + z
                image = np.clip(small_phantom.cine.data[phase, z] / 2, 0, 255).astype(np.uint8)
                labels = small_phantom.truth.labels[phase, z]
                mask = labels if at_ed else np.where(labels == 2, 0, labels).astype(np.uint8)
                Image.fromarray(image).save(folder / "images" / f"{patient}_{instance:04d}.png")
                Image.fromarray(mask).save(folder / "masks" / f"{patient}_{instance:04d}.png")
                rows.append((patient, f"{instance:04d}", int(at_ed)))
    with (folder / "frames.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("patient", "instance", "epicardium_known"))
        writer.writerows(rows)
    return folder


def test_evaluate_measures_each_class_and_patient(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "result.json"
    assert main(["evaluate", "--frames", str(frames), "--json", str(out), "--device", "cpu"]) == 0
    result = json.loads(out.read_text())
    assert set(result["classes"]) == {"lv", "myo"}
    for measures in result["classes"].values():
        assert set(measures) >= MEASURES
    assert set(result["patients"]) == {"A", "B"}
    assert result["n_patients"] == 2
    # 3 slices x 2 phases x 2 patients with the cavity known, half of them with the myocardium.
    assert result["classes"]["lv"]["n_slices"] == 12
    assert result["classes"]["myo"]["n_slices"] == 6
    assert 0.5 < result["classes"]["lv"]["dice_slice_mean"] < 1
    shown = capsys.readouterr().out
    lines = [line.split() for line in shown.splitlines()]
    lv = result["classes"]["lv"]
    expected = [f"{lv[k]:.3f}" for k in ("dice_slice_mean", "dice_volume_mean", "iou_slice_mean")]
    assert ["lv", *expected, str(lv["failures"]), "12"] in lines


def test_evaluate_takes_only_the_patients_named(
    frames: Path, untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "result.json"
    command = ["evaluate", "--frames", str(frames), "--model", str(untrained), "--no-tta"]
    assert main([*command, "--patients", "B", "--json", str(out)]) == 0
    assert list(json.loads(out.read_text())["patients"]) == ["B"]
    assert main([*command, "--patients", "B,nobody"]) == 1
    assert "no patient named nobody" in capsys.readouterr().err


def test_evaluate_refuses_an_impossible_output_before_it_works(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--frames", str(frames), "--json", str(tmp_path)]) == 1
    assert "it is a folder" in capsys.readouterr().err


def test_train_makes_a_model_that_evaluate_takes(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "tiny.toml"
    config.write_text(
        f"""
        name = "tiny"
        output = "run"
        device = "cpu"
        [data]
        frames = {json.dumps(str(frames))}
        validation = ["B"]
        [network]
        name = "unet"
        widths = [4, 8]
        [optimiser]
        steps = 4
        batch = 2
        crop = 64
        validate_every = 2
        """
    )
    assert main(["train", str(config)]) == 0
    model = tmp_path / "run" / "tiny.safetensors"
    assert f"{model}: trained on 6 frames" in capsys.readouterr().out
    assert (
        main(["evaluate", "--frames", str(frames), "--model", str(model), "--patients", "B", "--no-tta"]) == 0
    )


def test_train_names_what_is_wrong_with_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "broken.toml"
    config.write_text('name = "x"')
    assert main(["train", str(config)]) == 1
    complaint = capsys.readouterr().err
    assert str(config) in complaint
    assert complaint.count("\n") == 1
