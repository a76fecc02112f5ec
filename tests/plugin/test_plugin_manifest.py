"""What the manifest offers to napari; no window needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import npe2
import numpy as np
import pytest
from napari.layers import Image, Labels, Layer

from napari_cardioseg.domain import DataError
from napari_cardioseg.io.nifti import read_nifti_labels
from napari_cardioseg.io.phantom import make_phantom
from napari_cardioseg.io.phantom_dicom import write_phantom_dicom
from napari_cardioseg.plugin.layer_data import METADATA_KEY
from napari_cardioseg.plugin.reader import get_reader
from napari_cardioseg.plugin.samples import segmented_heart
from napari_cardioseg.plugin.writer import write_labels

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "series"
    phantom = make_phantom(n_phases=3, n_slices=6, matrix=(48, 48), pixel_mm=6.0)
    write_phantom_dicom(folder, phantom, suffix="")
    return folder


def test_the_manifest_is_valid_and_everything_it_names_is_there() -> None:
    manifest = npe2.PluginManifest.from_file(REPOSITORY / "napari.yaml")
    manifest.validate_imports()
    assert {widget.display_name for widget in manifest.contributions.widgets or ()} == {
        "CardioSeg",
        *(f"CardioSeg {section}" for section in ("Data", "Segment", "Correct", "Save")),
    }


def test_the_plugin_room_loads_neither_qt_nor_napari_nor_torch() -> None:
    code = (
        "import sys, napari_cardioseg.plugin.reader, napari_cardioseg.plugin.writer, "
        "napari_cardioseg.plugin.samples; print([m for m in ('qtpy', 'napari', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_folder_of_files_without_extension_is_read_as_one_cine(folder: Path) -> None:
    reader = get_reader(folder.parent)  # the files lie one level down
    assert reader is not None
    (layer_data,) = reader(folder.parent)
    layer = Layer.create(*layer_data)
    assert isinstance(layer, Image)
    assert layer.data.shape == (3, 6, 48, 48)
    assert layer.metadata[METADATA_KEY]["cine"].description == "SAX cine phantom"


@pytest.mark.parametrize("what", ["nothing", "text", "empty folder", "several"])
def test_what_is_not_dicom_is_left_to_others(what: str, tmp_path: Path) -> None:
    text = tmp_path / "notes.dcm"
    text.write_text("not DICOM")
    empty = tmp_path / "empty"
    empty.mkdir()
    asked = {
        "nothing": str(tmp_path / "absent.dcm"),
        "text": str(text),
        "empty folder": str(empty),
        "several": [str(text), str(empty)],
    }
    assert get_reader(asked[what]) is None


def test_a_study_without_a_series_that_opens_says_why(tmp_path: Path, folder: Path) -> None:
    source = next(folder.iterdir()).read_bytes()
    (tmp_path / "IM1").write_bytes(source[:400])
    reader = get_reader(tmp_path)
    assert reader is not None
    with pytest.raises(DataError, match="IM1"):
        reader(tmp_path)


def test_the_segmented_sample_gives_matching_layers_and_saves_in_place(tmp_path: Path) -> None:
    image, masks = (Layer.create(*layer_data) for layer_data in segmented_heart())
    assert isinstance(masks, Labels)
    np.testing.assert_array_equal(image.scale, masks.scale)
    assert image.units == masks.units
    path = str(tmp_path / "masks.nii.gz")
    data, attributes, _ = masks.as_layer_data_tuple()
    assert write_labels(path, data, attributes) == [path]
    labels, geometry = read_nifti_labels(path)
    np.testing.assert_array_equal(labels, data)
    assert geometry.is_close_to(masks.metadata[METADATA_KEY]["cine"].geometry)


def test_any_labels_layer_is_written_with_its_scale(tmp_path: Path) -> None:
    layer = Labels(np.eye(8, dtype=int), scale=(2.0, 3.0))
    path = str(tmp_path / "plain.nii.gz")
    data, attributes, _ = layer.as_layer_data_tuple()
    write_labels(path, data, attributes)
    labels, geometry = read_nifti_labels(path)
    np.testing.assert_array_equal(labels[0, 0], np.eye(8))
    assert geometry.spacing == pytest.approx((1, 2, 3))
    with pytest.raises(DataError, match="255"):
        write_labels(path, data * 300, attributes)
