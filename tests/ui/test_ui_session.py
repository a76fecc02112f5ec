"""Sessions on viewer models; no window needed."""

from __future__ import annotations

import gc
import weakref
from unittest.mock import Mock

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer

from napari_cardioseg.domain import Cine, Geometry, Segmentation, SliceState
from napari_cardioseg.plugin.layer_data import cine_layer, labels_layer
from napari_cardioseg.ui import commands
from napari_cardioseg.ui.session import Session, session_of


def make_cine(n_phases: int = 4, n_slices: int = 3) -> Cine:
    data = np.random.default_rng(0).integers(0, 500, (n_phases, n_slices, 24, 24), dtype=np.int16)
    return Cine(
        data,
        Geometry.from_spacing((8.0, 1.5, 1.5)),
        phase_times=tuple(40.0 * t for t in range(n_phases)),
        window=(10.0, 400.0),
        description="SAX",
    )


@pytest.fixture
def session() -> Session:
    viewer = ViewerModel()
    session = session_of(viewer)
    session.keep = viewer  # type: ignore[attr-defined]  # the session itself holds its viewer only weakly
    session.show(make_cine())
    return session


def fill(session: Session, at: tuple[int, int]) -> None:
    assert session.link is not None
    session.navigator.go_to(at)
    session.link.layer.fill((*at, 2, 2), 1)


def test_a_cine_is_shown_in_its_own_geometry_and_window(session: Session) -> None:
    image, labels = session.image, session.labels
    assert image is not None
    assert labels is not None
    for layer in (image, labels):
        assert tuple(layer.scale) == (40, 8, 1.5, 1.5)
        assert [str(unit) for unit in layer.units] == ["millisecond", *["millimeter"] * 3]
        assert layer.axis_labels == ("t", "z", "y", "x")
    assert image.contrast_limits == [10, 400]
    assert session.navigator.position == (0, 1)
    assert session.viewer.layers.selection.active is labels
    assert (labels.mode, labels.selected_label) == ("paint", 1)
    assert session.viewer.canvas.overlays.scale_bar.visible
    assert list(labels.features["structure"]) == ["background", "LV cavity", "myocardium"]


def test_without_times_and_calibration_nothing_pretends_to_be_ms_or_mm() -> None:
    cine = Cine(np.ones((1, 2, 8, 8)), Geometry.from_spacing((1.0, 1.0, 1.0), calibrated=False))
    _, attributes, _ = cine_layer(cine)
    assert attributes["scale"] == (1, 1, 1, 1)
    assert attributes["units"] == ("pixel",) * 4


def test_two_viewers_do_not_disturb_each_other(session: Session) -> None:
    other = ViewerModel()
    second = session_of(other)
    assert second is not session
    assert session_of(other) is second
    second.show(make_cine())
    fill(session, (2, 0))
    commands.toggle_accepted(session)
    commands.next_class(session)
    assert second.link is not None
    assert second.labels is not None
    assert not second.link.states.any()
    assert not second.has_unsaved_changes
    assert second.navigator.position == (0, 1)
    assert second.labels.selected_label == 1


def test_a_session_dies_with_its_viewer() -> None:
    viewer = ViewerModel()
    session = session_of(viewer)
    session.show(make_cine())
    ghosts = weakref.ref(viewer), weakref.ref(session)
    del viewer, session
    gc.collect()
    assert [ghost() for ghost in ghosts] == [None, None]


def test_steps_wrap_in_time_and_stop_at_the_ends_of_the_stack(session: Session) -> None:
    commands.previous_phase(session)
    assert session.navigator.position == (3, 1)
    commands.next_phase(session)
    commands.next_slice(session)
    commands.next_slice(session)
    assert session.navigator.position == (0, 2)


def test_review_goes_through_all_that_is_not_accepted(session: Session) -> None:
    assert session.link is not None
    for at in ((0, 0), (0, 2), (3, 1)):
        fill(session, at)
    session.navigator.go_to((0, 0))
    seen = []
    for _ in range(3):
        commands.next_to_review(session)
        seen.append(session.navigator.position)
        commands.toggle_accepted(session)
    assert seen == [(0, 2), (3, 1), (0, 0)]
    told = Mock()
    session.told.connect(told)
    commands.next_to_review(session)
    told.assert_called_once()


def test_the_most_uncertain_untouched_slice_comes_first(session: Session) -> None:
    assert session.link is not None
    doubt = np.zeros((4, 3), np.float32)
    doubt[1, 0], doubt[2, 2] = 0.9, 0.5
    session.link.write(np.zeros((4, 3, 24, 24), np.uint8), np.ones((4, 3), bool), doubt, "net")
    fill(session, (1, 0))
    commands.most_uncertain(session)
    assert session.navigator.position == (2, 2)
    assert "uncertainty 0.50" in commands.describe_slice(session)


def test_the_brush_keeps_to_the_classes_of_the_scheme(session: Session) -> None:
    assert session.labels is not None
    commands.second_class(session)
    session.labels.selected_label = 7  # as napari's M key does for a "new label"
    assert session.labels.selected_label == 2
    commands.third_class(session)  # this scheme has two
    assert session.labels.selected_label == 2


def test_layers_from_naparis_own_menu_are_adopted_with_their_masks() -> None:
    viewer = ViewerModel()
    session = session_of(viewer)
    cine = make_cine()
    segmentation = Segmentation(
        np.ones(cine.data.shape, np.uint8), states=np.full((4, 3), SliceState.ACCEPTED, np.uint8)
    )
    image = viewer.add_layer(Layer.create(*cine_layer(cine)))
    assert session.cine is cine
    assert session.image is image
    masks = viewer.add_layer(Layer.create(*labels_layer(cine, segmentation)))
    assert session.labels is masks
    assert list(viewer.layers) == [image, masks]
    assert session.link is not None
    assert (session.link.states == SliceState.ACCEPTED).all()


def test_layers_that_are_open_already_are_adopted() -> None:
    viewer = ViewerModel()
    cine = make_cine()
    viewer.add_layer(Layer.create(*cine_layer(cine)))
    assert session_of(viewer).cine is cine


def test_unsaved_work_is_never_replaced_by_an_adopted_layer(session: Session) -> None:
    fill(session, (0, 0))
    masks = session.labels
    session.viewer.add_layer(Layer.create(*cine_layer(make_cine())))
    assert session.labels is masks


def test_removing_the_masks_closes_the_cine_in_the_session(session: Session) -> None:
    session.viewer.layers.clear()
    assert session.cine is None
    assert session.link is None
    assert commands.describe_slice(session) == "No cine is open."


def test_clearing_a_slice_is_one_step_that_counts_as_an_edit(session: Session) -> None:
    assert session.link is not None
    fill(session, (1, 2))
    before = session.link.layer.data[1, 2].copy()
    commands.clear_slice(session)
    assert not session.link.layer.data[1, 2].any()
    assert session.link.states[1, 2] == SliceState.EDITED
    commands.undo(session)
    np.testing.assert_array_equal(session.link.layer.data[1, 2], before)
    commands.clear_slice(session)
    commands.clear_slice(session)  # on an empty slice it does nothing
    commands.undo(session)
    np.testing.assert_array_equal(session.link.layer.data[1, 2], before)
