import json
from dataclasses import asdict

import numpy as np
import pytest

from napari_cardioseg.domain import (
    LV_SCHEME,
    Cine,
    Geometry,
    LabelClass,
    LabelScheme,
    Preprocessing,
    Progress,
    Segmentation,
    SliceState,
    as_part,
    drain,
    seconds_left,
)


def test_spacing_and_positions_come_from_one_affine():
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack(((0, 0, 8.0), (0, 1.5, 0), (1.25, 0, 0)))
    affine[:3, 3] = (10, 20, 30)
    geometry = Geometry(affine)
    assert geometry.spacing == (8.0, 1.5, 1.25)
    assert geometry.is_orthogonal
    np.testing.assert_allclose(geometry.to_patient(np.array([1, 2, 4])), (15, 23, 38))


def test_a_sheared_grid_is_known_as_such():
    affine = np.eye(4)
    affine[0, 1] = 0.2
    assert not Geometry(affine).is_orthogonal


@pytest.mark.parametrize("affine", [np.zeros((4, 4)), np.eye(3), np.full((4, 4), np.nan)])
def test_impossible_affines_are_refused(affine):
    with pytest.raises(ValueError, match="affine"):
        Geometry(affine)


def test_geometry_is_a_value():
    source = np.eye(4)
    geometry = Geometry(source)
    source[0, 3] = 99
    assert geometry.affine[0, 3] == 0
    with pytest.raises(ValueError, match="read-only"):
        geometry.affine[0, 3] = 1


def test_a_cine_checks_its_tables():
    data = np.zeros((3, 2, 4, 4), np.int16)
    geometry = Geometry.from_spacing((8, 1, 1))
    assert Cine(data, geometry).present.shape == (3, 2)
    with pytest.raises(ValueError, match="phase times"):
        Cine(data, geometry, phase_times=(0.0, 1.0))
    with pytest.raises(ValueError, match="frame grid"):
        Cine(data, geometry, present=np.ones((2, 3), bool))
    with pytest.raises(ValueError, match="slice positions"):
        Cine(data, Geometry(geometry.affine, (0.0,)))


def test_the_display_range_leaves_missing_frames_out():
    data = np.full((2, 1, 8, 8), 500, np.int16)
    data[0, 0, :4] = 600
    data[1] = 0
    cine = Cine(data, Geometry.from_spacing((1, 1, 1)), present=np.array([[True], [False]]))
    assert cine.display_range() == (500.0, 600.0)
    assert Cine(data, cine.geometry, window=(10.0, 90.0)).display_range() == (10.0, 90.0)


def test_a_scheme_has_no_twins():
    with pytest.raises(ValueError, match="value"):
        LabelScheme((LabelClass(1, "a", "A", (0, 0, 0)), LabelClass(1, "b", "B", (0, 0, 0))))
    with pytest.raises(ValueError, match="1 to 255"):
        LabelClass(0, "a", "A", (0, 0, 0))
    assert LV_SCHEME.by_key("myo").value == 2


def test_states_know_whose_the_slice_is():
    assert [s.is_users for s in SliceState] == [False, False, True, True]
    segmentation = Segmentation(np.zeros((2, 3, 4, 4), np.uint8))
    assert (segmentation.states == SliceState.EMPTY).all()
    with pytest.raises(ValueError, match="states"):
        Segmentation(np.zeros((2, 3, 4, 4), np.uint8), states=np.zeros((3, 2), np.uint8))


def test_jobs_give_their_result_and_say_how_long_they_need():
    def job():
        yield Progress(1, 4)
        yield Progress(2, 4)
        return "done"

    seen = []
    assert drain(job(), seen.append) == "done"
    assert seconds_left(seen[-1], elapsed=3.0) == 3.0
    assert seconds_left(Progress(0, 4), 1.0) is None


def test_a_job_within_a_job_tells_its_share_and_is_closed_with_it():
    closed = []

    def inner():
        try:
            yield Progress(1, 2, "inner", "a note")
            return 7
        finally:
            closed.append(True)

    def outer():
        return (yield from as_part(inner(), 1, 2, "second half"))

    seen = []
    assert drain(outer(), seen.append) == 7
    assert seen == [Progress(1500, 2000, "second half, inner", "a note")]
    stopped = outer()
    next(stopped)
    closed.clear()
    stopped.close()
    assert closed == [True]


def test_preprocessing_comes_back_from_json_as_the_same_value():
    made = Preprocessing(
        method="nyul",
        scope="patient",
        landmarks=range(11),
        bias_correction="n4",
        resize=(513, 400),
        locate=False,
    )
    again = Preprocessing(**json.loads(json.dumps(asdict(made))))
    assert again == made
    assert hash(again) == hash(made)
    assert again.resize == (513, 400)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"method": "minmax"}, "zscore, percentile, nyul"),
        ({"scope": "study"}, "slice, volume, patient"),
        ({"bias_correction": "n3"}, "none, n4"),
        ({"resize": (0, 4)}, "rows and columns"),
        ({"resize": (4, 4), "spacing": 1.0}, "not to both"),
        ({"spacing": 0.0}, "pixel size"),
        ({"low_percentile": 60.0, "high_percentile": 50.0}, "low one first"),
        ({"method": "nyul", "low_percentile": 20.0}, "enclose the deciles"),
        ({"landmarks": (1.0, 2.0)}, "11 ascending"),
        ({"landmarks": tuple(range(11, 0, -1))}, "11 ascending"),
        ({"landmarks": (0.0,) * 11}, "all the same"),
    ],
)
def test_impossible_preprocessing_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        Preprocessing(**wrong)
