"""What real studies get wrong in space and time is laid open, never filled in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from io_dicom_files import (
    COLUMN,
    COLUMNS,
    NORMAL,
    ROW,
    ROWS,
    RR,
    STEP_MM,
    assert_in_place,
    load,
    only,
    pixels_of,
    write_cine,
)
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from napari_cardioseg.domain import drain
from napari_cardioseg.io import load_cine, scan
from napari_cardioseg.io.dicom_phases import FILE_ORDER, SINGLE_PHASE


def holes(present: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(int(i) for i in place) for place in np.argwhere(~present)]


@pytest.mark.parametrize("place", [(2, 1), (0, 0), (4, 2)])
def test_a_missing_frame_is_a_hole_in_its_place(tmp_path: Path, place: tuple[int, int]) -> None:
    write_cine(tmp_path, change=lambda t, z, ds: (t, z) != place)
    info = only(tmp_path)
    assert (info.n_slices, info.n_phases) == (3, 5)
    assert any(f"slice {place[1] + 1} phase {place[0] + 1}." in w for w in info.warnings)
    assert any("fraction of the heartbeat" in w for w in info.warnings)
    cine = drain(load_cine(info))
    assert holes(cine.present) == [place]
    assert_in_place(cine)


def test_every_slice_may_miss_another_frame(tmp_path: Path) -> None:
    write_cine(tmp_path, n_phases=12, change=lambda t, z, ds: t != 3 + 2 * z)
    cine = load(tmp_path)
    assert holes(cine.present) == [(3, 0), (5, 1), (7, 2)]
    assert_in_place(cine)


@pytest.mark.parametrize(
    ("keyword", "missing"), [("TemporalPositionIdentifier", (0, 1)), ("InstanceNumber", (3, 1))]
)
def test_other_tags_show_holes_too(tmp_path: Path, keyword: str, missing: tuple[int, int]) -> None:
    def only_by(t: int, z: int, ds: Dataset) -> bool:
        del ds.TriggerTime
        if keyword == "TemporalPositionIdentifier":
            ds.TemporalPositionIdentifier = t + 1
        return (t, z) != missing

    write_cine(tmp_path, n_phases=10, change=only_by)
    cine = load(tmp_path)
    assert cine.time_source == keyword
    assert cine.time_is_guess == (keyword == "InstanceNumber")
    assert cine.phase_times is None
    assert holes(cine.present) == [missing]
    assert_in_place(cine)


def test_slices_with_more_phases_are_aligned_by_their_part_of_the_beat(tmp_path: Path) -> None:
    def beat(t: int, z: int, ds: Dataset) -> bool:
        n, rr = (10, 1000) if z else (5, 800)
        ds.NominalInterval, ds.TriggerTime = rr, t * rr / n
        return t < n

    write_cine(tmp_path, n_slices=2, n_phases=10, change=beat)
    info = only(tmp_path)
    assert any("5 in 1 slice, 10 in 1 slice" in w and "fraction of the heartbeat" in w for w in info.warnings)
    cine = drain(load_cine(info))
    assert cine.present[:, 1].all()
    assert list(np.flatnonzero(cine.present[:, 0])) == [0, 2, 4, 6, 8]
    np.testing.assert_array_equal(cine.data[4, 0], pixels_of(2, 0))


def test_without_a_heartbeat_they_are_aligned_in_milliseconds(tmp_path: Path) -> None:
    def no_beat(t: int, z: int, ds: Dataset) -> bool:
        del ds.NominalInterval
        return (t, z) != (1, 0)

    write_cine(tmp_path, change=no_beat)
    info = only(tmp_path)
    assert any("TriggerTime in ms" in w for w in info.warnings)
    assert holes(drain(load_cine(info)).present) == [(1, 0)]


def test_a_missing_slice_is_a_hole(tmp_path: Path) -> None:
    write_cine(tmp_path, n_slices=5, change=lambda t, z, ds: z != 2)
    info = only(tmp_path)
    assert (info.n_slices, info.n_phases) == (5, 5)
    assert "Slice 3 is missing" in " ".join(info.warnings)
    assert info.spacing is not None
    assert info.spacing[0] == pytest.approx(STEP_MM, abs=1e-4)
    cine = drain(load_cine(info))
    assert not cine.present[:, 2].any()
    assert cine.present[:, [0, 1, 3, 4]].all()
    assert cine.geometry.slice_positions is None
    assert_in_place(cine)


def test_irregular_distances_keep_their_true_positions(tmp_path: Path) -> None:
    where = (0.0, 8.0, 18.5, 26.0)

    def move(t: int, z: int, ds: Dataset) -> None:
        ds.ImagePositionPatient = [float(f"{v:.5f}") for v in where[z] * NORMAL]

    write_cine(tmp_path, n_slices=4, change=move)
    info = only(tmp_path)
    assert any("distance between slices varies (7.5 to 10.5 mm)" in w for w in info.warnings)
    cine = drain(load_cine(info))
    assert cine.geometry.slice_positions == pytest.approx(where, abs=1e-3)
    assert_in_place(cine)


def test_slices_shifted_in_their_plane_are_named(tmp_path: Path) -> None:
    def shift(t: int, z: int, ds: Dataset) -> None:
        if z == 0:
            place = np.array(ds.ImagePositionPatient) + 4 * ROW
            ds.ImagePositionPatient = [float(f"{v:.6f}") for v in place]

    write_cine(tmp_path, change=shift)
    cine = load(tmp_path)
    assert any("Slice 1 is shifted within the plane by up to 4.0 mm" in w for w in cine.warnings)
    np.testing.assert_allclose(cine.geometry.affine[:3, 3], (100, -50, 30), atol=1e-3)
    assert_in_place(cine)


def test_second_copies_are_left_out(tmp_path: Path) -> None:
    write_cine(tmp_path)
    (tmp_path / "copy").write_bytes((tmp_path / "IM1_2").read_bytes())
    info = only(tmp_path)
    assert (info.n_slices, info.n_phases) == (3, 5)
    assert any("1 file is a second copy" in w and "copy" in w for w in info.warnings)
    cine = drain(load_cine(info))
    assert cine.is_complete
    assert_in_place(cine)


@pytest.mark.parametrize("delay", [0.0, 0.8])
def test_a_slice_acquired_twice_keeps_its_first_acquisition(tmp_path: Path, delay: float) -> None:
    uid = write_cine(tmp_path)

    def again(t: int, z: int, ds: Dataset) -> bool:
        ds.InstanceNumber += 100
        ds.TriggerTime = float(ds.TriggerTime) + delay
        ds.PixelData = bytes(2 * ROWS * COLUMNS)
        return z == 1

    write_cine(tmp_path, change=again, prefix="again", series_uid=uid)
    info = only(tmp_path)
    assert (info.n_slices, info.n_phases) == (3, 5)
    assert any("5 images repeat" in w for w in info.warnings)
    assert_in_place(drain(load_cine(info)))


def test_a_useless_trigger_time_is_passed_over(tmp_path: Path) -> None:
    def useless(t: int, z: int, ds: Dataset) -> None:
        ds.TriggerTime = 0
        ds.AcquisitionTime = "101500"
        ds.ContentTime = f"1015{10 + t:02}.25"

    write_cine(tmp_path, change=useless)
    info = only(tmp_path)
    assert info.time_source == "ContentTime"
    assert info.time_sources == ("ContentTime", "InstanceNumber")
    assert info.time_is_guess
    assert any("guess from ContentTime" in w for w in info.warnings)
    assert_in_place(drain(load_cine(info)))


def test_without_any_time_the_order_of_files_is_said_to_be_a_guess(tmp_path: Path) -> None:
    def timeless(t: int, z: int, ds: Dataset) -> None:
        del ds.TriggerTime, ds.InstanceNumber

    write_cine(tmp_path, change=timeless)
    cine = load(tmp_path)
    assert (cine.time_source, cine.time_is_guess) == (FILE_ORDER, True)
    assert (cine.frames.instance_numbers == -1).all()
    assert_in_place(cine)


def test_a_single_phase(tmp_path: Path) -> None:
    write_cine(tmp_path, n_phases=1)
    info = only(tmp_path)
    assert (info.n_phases, info.time_source, info.time_sources) == (1, SINGLE_PHASE, ())
    assert not info.is_short_axis_cine
    assert_in_place(drain(load_cine(info)))


def test_a_repeated_slice_does_not_make_a_still_stack_a_cine(tmp_path: Path) -> None:
    uid = write_cine(tmp_path, n_slices=4, n_phases=1)
    write_cine(tmp_path, n_slices=4, n_phases=1, change=lambda t, z, ds: z == 2, prefix="x", series_uid=uid)
    info = only(tmp_path)
    assert (info.n_slices, info.n_phases, info.time_source) == (4, 1, SINGLE_PHASE)
    assert any("1 image repeats" in w for w in info.warnings)
    assert_in_place(drain(load_cine(info)))


@pytest.mark.parametrize("thickness", [None, 6.0])
def test_a_single_slice_takes_its_thickness(tmp_path: Path, thickness: float | None) -> None:
    def thick(t: int, z: int, ds: Dataset) -> None:
        if thickness:
            ds.SliceThickness = thickness

    write_cine(tmp_path, n_slices=1, change=thick)
    info = only(tmp_path)
    assert info.spacing == pytest.approx((thickness or 1.0, 1.5, 1.25))
    assert any("1 mm is assumed" in w for w in info.warnings) == (thickness is None)
    assert_in_place(drain(load_cine(info)))


def test_a_localiser_and_another_matrix_in_the_series_are_listed_apart(tmp_path: Path) -> None:
    uid = write_cine(tmp_path)

    def localiser(t: int, z: int, ds: Dataset) -> None:
        ds.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    def small(t: int, z: int, ds: Dataset) -> None:
        ds.Rows = ds.Columns = 8
        ds.PixelData = bytes(128)

    write_cine(tmp_path, n_slices=2, n_phases=1, change=localiser, prefix="loc", series_uid=uid)
    write_cine(tmp_path, n_slices=1, n_phases=1, change=small, prefix="small", series_uid=uid)
    cine, *rest = drain(scan(tmp_path)).series
    assert cine.uid == uid
    assert (cine.n_slices, cine.n_phases) == (3, 5)
    assert "1 image of 8 x 8 (first: small0_0)" in cine.warnings[0]
    assert [s.uid for s in rest] == [f"{uid}#2", f"{uid}#3"]
    assert rest[0].plane == "coronal"
    assert rest[1].matrix == (8, 8)
    assert_in_place(drain(load_cine(cine)))


def test_velocity_images_are_no_phases_of_the_magnitude(tmp_path: Path) -> None:
    uid = write_cine(tmp_path, change=lambda t, z, ds: setattr(ds, "ImageType", ["ORIGINAL", "PRIMARY", "M"]))

    def velocity(t: int, z: int, ds: Dataset) -> None:
        ds.ImageType = ["ORIGINAL", "PRIMARY", "P"]

    write_cine(tmp_path, change=velocity, prefix="v", series_uid=uid)
    assert [(s.n_slices, s.n_phases) for s in drain(scan(tmp_path)).series] == [(3, 5), (3, 5)]


def test_short_axis_cines_come_first(tmp_path: Path) -> None:
    def named(text: str, orientation: np.ndarray | None = None):  # type: ignore[no-untyped-def]
        def change(t: int, z: int, ds: Dataset) -> None:
            ds.SeriesDescription = text
            if orientation is not None:
                ds.ImageOrientationPatient = [float(v) for v in orientation]

        return change

    write_cine(tmp_path / "a", n_slices=9, n_phases=1, change=named("T1 map"))
    write_cine(tmp_path / "b", n_slices=9, n_phases=6, change=named("cine_4ch"))
    write_cine(tmp_path / "c", n_slices=2, n_phases=3, change=named("", np.array((*ROW, *COLUMN))))
    write_cine(tmp_path / "d", n_slices=3, n_phases=3, change=named("CINE SAX", np.eye(3)[:2].ravel()))
    series = drain(scan(tmp_path)).series
    assert [s.description for s in series] == ["CINE SAX", "", "cine_4ch", "T1 map"]
    assert [s.plane for s in series] == ["short axis", "short axis", "long axis", "short axis"]
    assert [s.is_short_axis_cine for s in series] == [True, True, False, False]


def test_fewer_phases_than_the_scanner_states(tmp_path: Path) -> None:
    write_cine(tmp_path, change=lambda t, z, ds: setattr(ds, "CardiacNumberOfImages", 8))
    assert any("states 8 phases, 5 were found" in w for w in only(tmp_path).warnings)


def test_phase_times_are_medians_of_what_is_there(tmp_path: Path) -> None:
    write_cine(tmp_path, n_phases=8, change=lambda t, z, ds: t != 3)
    cine = load(tmp_path)
    assert cine.n_phases == 8
    assert not cine.present[3].any()
    assert cine.phase_times == pytest.approx([i * RR / 8 for i in range(8)])
    assert_in_place(cine)


def test_one_uid_for_all_files_loses_none(tmp_path: Path) -> None:
    uid = generate_uid()
    write_cine(tmp_path, change=lambda t, z, ds: setattr(ds, "SOPInstanceUID", uid))
    cine = load(tmp_path)
    assert cine.is_complete
    assert_in_place(cine)


def test_a_stack_filed_as_one_series_a_slice_is_put_together(tmp_path: Path) -> None:
    for place in range(4):

        def one(t: int, z: int, ds: Dataset, place: int = place) -> bool:
            ds.SeriesDescription, ds.AcquisitionTime = f"cine_sax_{z}", f"1000{place:02}"
            return z == place

        write_cine(tmp_path / f"{place}", n_slices=4, change=one)

    def failed(t: int, z: int, ds: Dataset) -> bool:
        ds.SeriesDescription, ds.AcquisitionTime = "failed attempt", "095900"
        ds.PixelData = bytes(2 * ROWS * COLUMNS)
        return z == 2

    write_cine(tmp_path / "failed", n_slices=4, change=failed)
    stack, *singles = drain(scan(tmp_path)).series
    assert (stack.n_slices, stack.n_phases, stack.description) == (4, 5, "cine_sax")
    assert stack.warnings[0] == "Put together from 4 series of one slice each."
    assert "failed attempt" in stack.warnings[1]
    assert [(s.n_slices, s.n_phases) for s in singles] == [(1, 5)] * 5
    assert stack.uid not in {s.uid for s in singles}
    cine = drain(load_cine(stack))
    assert cine.is_complete
    assert_in_place(cine)


def test_two_parallel_cines_are_no_stack(tmp_path: Path) -> None:
    for place in range(2):
        write_cine(tmp_path / f"{place}", n_slices=2, change=lambda t, z, ds, place=place: z == place)
    assert [s.n_slices for s in drain(scan(tmp_path)).series] == [1, 1]
