"""The link between a Labels layer and its slices' states; no window needed."""

from __future__ import annotations

from unittest.mock import Mock

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels

from napari_cardioseg.domain import Segmentation, SliceState
from napari_cardioseg.ui.layer_link import LayerLink

GRID = (3, 2)
SHAPE = (*GRID, 24, 24)


@pytest.fixture
def viewer() -> ViewerModel:
    viewer = ViewerModel()
    viewer.add_labels(np.zeros(SHAPE, np.uint8), scale=(40, 8, 1.5, 1.5))
    viewer.dims.set_point((0, 1), (0, 0))
    return viewer


@pytest.fixture
def link(viewer: ViewerModel) -> LayerLink:
    layer = viewer.layers[0]
    assert isinstance(layer, Labels)
    return LayerLink(layer, Segmentation(layer.data.copy()), lambda: viewer.dims.current_step[:2])


def predict(link: LayerLink, value: int = 1) -> int:
    labels = np.zeros(SHAPE, np.uint8)
    labels[..., 8:16, 8:16] = value
    return link.write(labels, np.ones(GRID, bool), np.full(GRID, 0.25, np.float32), "net")


def stroke(link: LayerLink, at: tuple[int, int] = (0, 0), value: int = 2) -> None:
    """Paint as the mouse does: the event comes when the button is released."""
    with link.layer.block_history():
        link.layer.paint((*at, 3, 3), value, refresh=False)
        link.layer.paint((*at, 4, 4), value, refresh=False)


def test_a_stroke_marks_only_its_slice_as_edited(link: LayerLink) -> None:
    predict(link)
    stroke(link)
    assert link.states[0, 0] == SliceState.EDITED
    assert (np.delete(link.states.ravel(), 0) == SliceState.PREDICTED).all()


@pytest.mark.parametrize("tool", ["paint", "fill"])
def test_edits_from_code_are_seen_although_napari_announces_them_early(link: LayerLink, tool: str) -> None:
    getattr(link.layer, tool)((0, 0, 2, 2), 1)
    assert link.states[0, 0] == SliceState.EDITED


def test_undo_and_redo_bring_back_states_as_well_as_pixels(link: LayerLink) -> None:
    predict(link)
    stroke(link)
    link.layer.undo()
    assert link.states[0, 0] == SliceState.PREDICTED
    link.layer.redo()
    assert link.states[0, 0] == SliceState.EDITED


def test_a_prediction_is_one_undo_step_over_all_slices(link: LayerLink) -> None:
    predict(link, value=1)
    predict(link, value=2)
    link.layer.undo()
    assert set(np.unique(link.layer.data)) == {0, 1}
    link.layer.undo()
    assert not link.layer.data.any()


def test_a_model_never_changes_what_the_reader_edited_or_accepted(link: LayerLink) -> None:
    predict(link)
    stroke(link, (0, 0))
    link.toggle_accepted((1, 1))
    before = link.layer.data.copy()
    assert predict(link, value=2) == 2
    for at in ((0, 0), (1, 1)):
        np.testing.assert_array_equal(link.layer.data[at], before[at])
    assert (link.layer.data[2, 0, 8:16, 8:16] == 2).all()
    assert link.states[1, 1] == SliceState.ACCEPTED


def test_a_mask_that_the_reader_wiped_away_stays_away(link: LayerLink) -> None:
    predict(link)
    link.layer.brush_size = 60
    stroke(link, (0, 0), value=0)
    assert not link.layer.data[0, 0].any()
    assert link.states[0, 0] == SliceState.EDITED
    predict(link)
    assert not link.layer.data[0, 0].any()


def test_painting_on_an_accepted_slice_tells_and_undo_accepts_again(link: LayerLink) -> None:
    told = Mock()
    link.acceptance_lost.connect(told)
    predict(link)
    link.toggle_accepted((0, 0))
    stroke(link)
    assert link.states[0, 0] == SliceState.EDITED
    told.assert_called_once_with(1, True)
    link.layer.undo()
    assert link.states[0, 0] == SliceState.ACCEPTED


def test_taking_back_a_whole_prediction_tells_how_many_acceptances_went_with_it(link: LayerLink) -> None:
    told = Mock()
    link.acceptance_lost.connect(told)
    predict(link)
    link.toggle_accepted((0, 0))
    link.toggle_accepted((2, 1))
    link.layer.undo()
    told.assert_called_once_with(2, False)
    link.layer.redo()
    assert (link.states == SliceState.ACCEPTED).sum() == 2


def test_taking_back_an_acceptance_gives_the_state_before_it(link: LayerLink) -> None:
    predict(link)
    assert link.toggle_accepted((0, 0))
    assert not link.toggle_accepted((0, 0))
    assert link.states[0, 0] == SliceState.PREDICTED


def test_changes_made_while_a_save_ran_stay_unsaved(link: LayerLink) -> None:
    predict(link)
    count = link.change_count
    stroke(link)
    link.mark_saved(count)
    assert link.has_unsaved_changes
    link.mark_saved(link.change_count)
    assert not link.has_unsaved_changes


def test_moving_through_the_cine_changes_nothing(link: LayerLink, viewer: ViewerModel) -> None:
    predict(link)
    count = link.change_count
    viewer.dims.set_point((0, 1), (80, 8))
    assert link.change_count == count
    assert (link.states == SliceState.PREDICTED).all()
