"""`info` on real files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from napari_cardioseg.cli import main
from napari_cardioseg.io.phantom import Phantom

KEYS = {
    "uid", "description", "plane", "slices", "phases", "matrix", "spacing_mm",
    "modality", "time_source", "warnings", "problem",
}  # fmt: skip


def test_json_describes_the_series(
    study: Path, small_phantom: Phantom, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(study), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert set(shown) == {"series", "problems"}
    assert shown["problems"] == []
    (series,) = shown["series"]
    assert set(series) >= KEYS
    cine = small_phantom.cine
    assert series["uid"] == cine.series_uid
    assert (series["plane"], series["modality"]) == ("short axis", "MR")
    assert (series["slices"], series["phases"], series["matrix"]) == (6, 4, [128, 128])
    assert series["spacing_mm"] == pytest.approx(cine.geometry.spacing, abs=1e-5)
    assert (series["time_source"], series["warnings"], series["problem"]) == ("TriggerTime", [], "")


def test_lines_number_the_series_and_name_the_problems(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(study, tmp_path / "copy")
    (tmp_path / "copy" / "notes.dcm").write_text("not an image at all")
    assert main(["info", str(tmp_path / "copy")]) == 0
    shown = capsys.readouterr().out
    assert "  1  PHANTOM: SAX cine phantom (short axis), 6 slices x 4 phases, 128 x 128 pixels" in shown
    assert "slices 25.0 mm apart" in shown
    (problem,) = [line for line in shown.splitlines() if line.startswith("problem: ")]
    assert "notes.dcm" in problem


def test_a_folder_without_images_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "letter.txt").write_text("Dear colleague")
    assert main(["info", str(tmp_path)]) == 1
    assert "There is no image series" in capsys.readouterr().err
