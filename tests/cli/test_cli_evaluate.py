"""`evaluate` and `train` on a folder of labelled frames."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
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
    keys = ("dice_slice_mean", "dice_slice_median", "dice_slice_worst", "dice_volume_mean", "iou_slice_mean")
    expected = ["LV", "cavity", *(f"{lv[key]:.3f}" for key in keys), f"{lv['hd95_mm_slice_mean']:.2f}"]
    assert expected in [line[: len(expected)] for line in lines]
    assert [line[0] for line in lines if line[1:3] == ["LV", "cavity"]][:2] == ["A", "B"]  # by patient
    assert "taken for 340 mm (2.66 mm a pixel)" in shown


def test_evaluate_lists_every_slice(frames: Path, untrained: Path, tmp_path: Path) -> None:
    out = tmp_path / "slices.csv"
    command = ["evaluate", "--frames", str(frames), "--model", str(untrained), "--no-tta", "--no-cleanup"]
    assert main([*command, "--csv", str(out), "--pixel-size", "2.4"]) == 0
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["patient"] for row in rows if row["class"] == "lv"] == ["A"] * 6 + ["B"] * 6
    for row in rows:
        true, found = int(row["area_true"]), int(row["area_found"])
        assert (row["hd95_mm"] == "") == (true == 0 or found == 0)
        iou = float(row["iou"])
        assert float(row["dice"]) == pytest.approx(2 * iou / (1 + iou))


def test_evaluate_draws_the_worst_slices_on_one_page(
    frames: Path, untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, numbers = tmp_path / "page.html", tmp_path / "result.json"
    command = ["evaluate", "--frames", str(frames), "--model", str(untrained), "--no-tta", "--no-cleanup"]
    assert main([*command, "--page", str(out), "--json", str(numbers), "--pixel-size", "2.4"]) == 0
    assert f"written to {out}" in capsys.readouterr().out
    text = out.read_text(encoding="utf-8")
    result = json.loads(numbers.read_text())
    assert "2.4 mm a pixel, as stated" in text
    assert not re.search(r"(src|href)=\"(?!data:)", text)  # needs no other file
    pictures = [base64.b64decode(m) for m in re.findall(r"data:image/png;base64,([^\"]+)\"", text)]
    assert len(pictures) == sum(min(m["n_slices"], 12) for m in result["classes"].values())
    for picture in pictures:
        with Image.open(io.BytesIO(picture)) as image:
            assert image.width > 2 * image.height
    captions = re.findall(r"<figcaption><b>([^<]+)</b><br>Dice ([0-9.]+)", text)
    for name in ("LV cavity", "myocardium"):
        dices = [float(dice) for place, dice in captions if place.endswith(name)]
        assert dices == sorted(dices)


@pytest.mark.parametrize("size", ["0", "-1.2", "inf", "nan", "wide"])
def test_evaluate_refuses_an_impossible_pixel_size(
    size: str, frames: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "--frames", str(frames), f"--pixel-size={size}"])
    assert ended.value.code == 2
    assert f"'{size}' is no size from 0.1 to 10 mm" in capsys.readouterr().err


def test_evaluate_takes_only_the_patients_named(
    frames: Path, untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "result.json"
    command = ["evaluate", "--frames", str(frames), "--model", str(untrained), "--no-tta"]
    assert main([*command, "--patients", "B", "--json", str(out)]) == 0
    assert list(json.loads(out.read_text())["patients"]) == ["B"]
    assert main([*command, "--patients", "B,nobody"]) == 1
    assert "no patient named nobody" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--json", "--csv", "--page"])
def test_evaluate_refuses_an_impossible_output_before_it_works(
    option: str, frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--frames", str(frames), option, str(tmp_path)]) == 1
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
    shown = capsys.readouterr().out
    assert re.search(
        rf"{re.escape(str(model))}: trained on 6 frames; step [24], Dice by slice .*: LV cavity 0\.\d\d\d",
        shown,
    )
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
