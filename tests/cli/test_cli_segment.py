"""`segment` from DICOM files to a NIfTI file."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_cardioseg.cli import main
from napari_cardioseg.domain import ModelCard, Segmentation, SliceState
from napari_cardioseg.io.phantom import Phantom, make_phantom
from napari_cardioseg.io.phantom_dicom import write_phantom_dicom
from napari_cardioseg.io.saved_labels import read_saved_labels, save_labels


def segment(*arguments: object) -> int:
    """Run `segment` without test-time augmentation, which these tests need not wait for."""
    return main(["segment", *map(str, arguments), "--no-tta", "--device", "cpu"])


def test_all_phases_become_a_4d_file_in_the_sources_place(
    study: Path, untrained: Path, small_phantom: Phantom, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "labels.nii.gz"
    assert segment(study, "--model", untrained, "--no-cleanup", "-o", out) == 0
    image = nib.load(out)
    assert image.shape == (128, 128, 6, 4)
    assert set(np.unique(np.asanyarray(image.dataobj))) <= {0, 1, 2}
    lps = small_phantom.cine.geometry.to_patient(np.array([2, 30, 50]))
    assert image.affine @ (50, 30, 2, 1) == pytest.approx((-lps[0], -lps[1], lps[2], 1), abs=1e-3)
    shown = capsys.readouterr().out
    assert "series: PHANTOM: SAX cine phantom (short axis), 6 slices x 4 phases" in shown
    assert f"{out}: 6 slices, 4 phases, by untrained" in shown


def test_the_file_reopens_as_a_prediction_on_its_cine(
    study: Path, untrained: Path, small_phantom: Phantom, tmp_path: Path
) -> None:
    out = tmp_path / "labels.nii.gz"
    assert segment(study, "--model", untrained, "-o", out) == 0
    saved = read_saved_labels(out)
    assert saved.fit_to(small_phantom.cine).origin == "untrained"
    assert (saved.segmentation.states == SliceState.PREDICTED).all()


def test_one_phase_becomes_a_3d_file_like_that_phase_of_all(
    study: Path, untrained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "phase.nii"
    assert segment(study, "--model", untrained, "--phases", 2, "-o", out) == 0
    assert nib.load(out).shape == (128, 128, 6)


def test_ed_and_es_alone_are_labelled_and_named(
    study: Path, small_phantom: Phantom, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "labels.nii.gz"
    assert segment(study, "--phases", "ed-es", "-o", out) == 0
    labels = np.asanyarray(nib.load(out).dataobj)
    labelled = [t for t in range(4) if labels[..., t].any()]
    ed, es = small_phantom.ed_phase, small_phantom.es_phase
    assert labelled == sorted((ed, es))
    assert f"end-diastole is phase {ed}, end-systole phase {es} (counted from 0)" in capsys.readouterr().out


def test_the_shipped_model_is_the_default_and_finds_the_ventricle(
    study: Path, small_phantom: Phantom, tmp_path: Path
) -> None:
    out = tmp_path / "labels.nii.gz"
    assert segment(study, "-o", out) == 0
    middle = np.s_[:, 2:5]  # the outermost slices are hard, and not what this test is about
    found = np.asanyarray(nib.load(out).dataobj).transpose(3, 2, 1, 0)[middle] == 1
    truth = small_phantom.truth.labels[middle] == 1
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.8


def test_a_series_is_chosen_by_number_or_uid(
    study: Path, untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = tmp_path / "two"
    shutil.copytree(study, two)
    other = make_phantom(seed=1, n_phases=3, n_slices=4, matrix=(96, 96), pixel_mm=3.0)
    write_phantom_dicom(two / "other", other)
    out = tmp_path / "labels.nii.gz"
    assert segment(two, "--model", untrained, "-o", out) == 0
    assert nib.load(out).shape == (128, 128, 6, 4)
    assert "note: of 2 short-axis cines this takes the first" in capsys.readouterr().err
    for wanted in ("2", other.cine.series_uid):
        assert segment(two, "--model", untrained, "--series", wanted, "-o", out) == 0
        assert nib.load(out).shape == (96, 96, 4, 3)
    assert segment(two, "--model", untrained, "--series", "3", "-o", out) == 1
    complaint = capsys.readouterr().err
    assert "There is no series '3'" in complaint
    assert "  2  PHANTOM: SAX cine phantom (short axis), 4 slices x 3 phases" in complaint


def test_nifti_goes_in_as_well(study: Path, untrained: Path, small_phantom: Phantom, tmp_path: Path) -> None:
    cine = small_phantom.cine
    affine = np.diag((-1, -1, 1, 1)) @ cine.geometry.affine[:, (2, 1, 0, 3)]
    nib.save(nib.Nifti1Image(cine.data.transpose(3, 2, 1, 0), affine), tmp_path / "cine.nii.gz")
    out = tmp_path / "labels.nii.gz"
    assert segment(tmp_path / "cine.nii.gz", "--model", untrained, "-o", out) == 0
    assert nib.load(out).affine == pytest.approx(affine, abs=1e-3)


def test_the_images_are_not_replaced_by_their_labels(
    untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "cine.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((32, 32, 3, 2), np.int16), np.diag((-2, -2, 8, 1))), images)
    before = images.read_bytes()
    for source in (images, tmp_path):
        assert segment(source, "--model", untrained, "-o", images) == 1
        assert "holds the images themselves" in capsys.readouterr().err
    assert images.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["{study}", "-o", "{tmp}/no/such/labels.nii"], "there is no folder"),
        (["{study}", "-o", "{tmp}/labels.nii", "--model", "nonesuch"], "no model called 'nonesuch'"),
        (["{study}", "-o", "{tmp}/labels.nii", "--phases", "4", "--model", "{model}"], "has phases 0 to 3"),
        (["{tmp}", "-o", "{tmp}/labels.nii", "--model", "{model}"], "There is no image series"),
        (["{tmp}/gone", "-o", "{tmp}/labels.nii", "--model", "{model}"], "There is no file or folder"),
    ],
)
def test_what_cannot_be_done_is_told_and_leaves_no_file(
    arguments: list[str],
    complaint: str,
    study: Path,
    untrained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = {"study": study, "tmp": tmp_path, "model": untrained}
    assert segment(*(a.format(**names) for a in arguments)) == 1
    assert complaint in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_long_axis_alone_among_others_is_not_taken_in_silence(
    untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from napari_cardioseg.cli.series import choose_series
    from napari_cardioseg.domain import DataError
    from napari_cardioseg.io import SeriesInfo

    localiser = SeriesInfo("dicom", "1.2", "localiser", plane="axial", n_slices=9, n_phases=1)
    long_axis = SeriesInfo("dicom", "1.3", "4ch", plane="long axis", n_slices=1, n_phases=20)
    broken = SeriesInfo(
        "dicom", "1.4", "sax", plane="short axis", n_slices=9, n_phases=20, problem="Cut short."
    )
    with pytest.raises(DataError, match=r"No short-axis cine(.|\n)*--series(.|\n)*4ch"):
        choose_series([long_axis, localiser, broken], None, tmp_path)
    assert choose_series([long_axis, broken], None, tmp_path) is long_axis
    assert choose_series([long_axis, localiser], "2", tmp_path) is localiser
    with pytest.raises(DataError, match="cannot be opened: Cut short"):
        choose_series([long_axis, broken], "1.4", tmp_path)


def test_a_readers_work_is_not_replaced(
    study: Path, untrained: Path, small_phantom: Phantom, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "labels.nii.gz"
    labels = np.zeros(small_phantom.cine.data.shape, np.uint8)
    states = np.full((4, 6), SliceState.PREDICTED, np.uint8)
    states[1, 2:4] = SliceState.ACCEPTED
    save_labels(out, Segmentation(labels, states=states), small_phantom.cine)
    before = out.read_bytes()
    assert segment(study, "--model", untrained, "-o", out) == 1
    assert "2 slices that a reader has corrected or accepted" in capsys.readouterr().err
    assert out.read_bytes() == before


@pytest.mark.usefixtures("heeds_ctrl_c")
@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_ctrl_c_in_a_terminal_leaves_nothing_half_written(study: Path, tmp_path: Path) -> None:
    import pty

    from napari_cardioseg.models import build_network
    from napari_cardioseg.store.models import ModelFile, write_model

    network = {"name": "unet", "classes": 3, "widths": [64, 128]}  # slow enough to be caught at work
    weights = {name: value.numpy() for name, value in build_network(network).state_dict().items()}
    model = tmp_path / "slow.safetensors"
    write_model(model, ModelFile(ModelCard("slow", network), weights))
    (tmp_path / "out").mkdir()
    where = ["--model", model, "-o", tmp_path / "out" / "labels.nii.gz"]
    command = ["segment", study, "--device", "cpu", *where]
    reader, terminal = pty.openpty()
    program = subprocess.Popen(
        [sys.executable, "-m", "napari_cardioseg.cli", *map(str, command)],
        stdout=subprocess.DEVNULL,
        stderr=terminal,
    )
    os.close(terminal)
    shown = b""
    while b"Segmenting [" not in shown:
        shown += os.read(reader, 1024)
    program.send_signal(signal.SIGINT)
    asked = time.monotonic()
    assert program.wait(timeout=60) == 130
    assert time.monotonic() - asked < 30
    while chunk := read_or_end(reader):
        shown += chunk
    os.close(reader)
    assert shown.endswith(b"napari-cardioseg: cancelled.\r\n")
    assert list((tmp_path / "out").iterdir()) == []


def read_or_end(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1024)
    except OSError:  # Linux's way to say that the other side of a terminal has closed
        return b""
