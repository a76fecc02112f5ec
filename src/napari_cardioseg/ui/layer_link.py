"""The link between one napari Labels layer and the segmentation that it shows."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from psygnal import Signal

from napari_cardioseg.domain import LabelScheme, Segmentation, SliceState

Slice = tuple[int, int]
"""A phase and a slice, (t, z), counted from 0."""


class LayerLink:
    """Knows for every slice of a Labels layer how far it has come, whatever changed the layer.

    A slice's state follows from its content: a digest of the pixels is remembered with the state that
    they had, so that undo and redo bring back states as well as pixels without a look into napari's
    history. Content that a stroke has just made counts as edited, even where it equals something older.

    Parameters
    ----------
    layer : Labels
        Its data are (t, z, y, x) and start as the labels of `segmentation`.
    segmentation : Segmentation
        States and uncertainty to begin with.
    position : callable
        Gives the slice on display, or None where the view does not show exactly one.

    Attributes
    ----------
    changed : Signal()
        A state, an uncertainty or the need to save has changed.
    acceptance_lost : Signal(int, bool)
        How many accepted slices lost that state, and whether a stroke did it (else undo or redo).
    """

    changed = Signal()
    acceptance_lost = Signal(int, bool)

    def __init__(
        self, layer: Labels, segmentation: Segmentation, position: Callable[[], Slice | None]
    ) -> None:
        self.layer = layer
        self.scheme: LabelScheme = segmentation.scheme
        self.origin = segmentation.origin
        self.states: NDArray[np.uint8] = segmentation.states.copy()
        shape = self.states.shape
        given = segmentation.uncertainty
        self.uncertainty = np.full(shape, np.nan, np.float32) if given is None else given.copy()
        self._position = position
        self._seen = {at: self._digest(at) for at in np.ndindex(*shape)}
        self._known = {at: {digest: self._first_state(at)} for at, digest in self._seen.items()}
        self._accepted = {at: d for at, d in self._seen.items() if self.states[at] == SliceState.ACCEPTED}
        self._stroked: set[Slice] = set()
        self._shown = position()
        self._is_writing = False
        self._unsaved_changes = 0
        layer.events.paint.connect(self._on_paint)
        layer.events.set_data.connect(self._on_set_data)
        layer.events.labels_update.connect(self._on_labels_update)

    def close(self) -> None:
        """Stop following the layer."""
        self.layer.events.paint.disconnect(self._on_paint)
        self.layer.events.set_data.disconnect(self._on_set_data)
        self.layer.events.labels_update.disconnect(self._on_labels_update)

    @property
    def has_unsaved_changes(self) -> bool:
        """Whether labels or states differ from what was last saved or loaded."""
        return self._unsaved_changes > 0

    @property
    def change_count(self) -> int:
        """Number of changes since the last save; hand it to `mark_saved` with what was saved."""
        return self._unsaved_changes

    def mark_saved(self, change_count: int) -> None:
        """Note that all changes up to `change_count` are on disk; later ones stay unsaved."""
        self._unsaved_changes = max(self._unsaved_changes - change_count, 0)
        self.changed.emit()

    def snapshot(self) -> Segmentation:
        """Copy the labels and states as they are now."""
        self.refresh()
        return Segmentation(
            labels=np.array(self.layer.data, dtype=np.uint8),
            scheme=self.scheme,
            states=self.states.copy(),
            uncertainty=self.uncertainty.copy(),
            origin=self.origin,
        )

    def write(
        self,
        labels: NDArray[np.uint8],
        predicted: NDArray[np.bool_],
        uncertainty: NDArray[np.float32],
        origin: str,
    ) -> int:
        """Put a model's labels into the layer as one undo step, except where the reader has been.

        Parameters
        ----------
        labels : (t, z, y, x) uint8 array
        predicted : (t, z) bool array
            The slices that the model has labelled.
        uncertainty : (t, z) float32 array
        origin : str
            Name of the model.

        Returns
        -------
        int
            Number of slices left as they were because the reader edited or accepted them.
        """
        self.refresh()
        kept = predicted & (self.states >= SliceState.EDITED)
        written = predicted & ~kept
        where = np.nonzero((labels != self.layer.data) & written[..., None, None])
        self._is_writing = True
        try:
            self.layer.data_setitem(where, labels[where])
        finally:
            self._is_writing = False
        for at in zip(*(axis.tolist() for axis in np.nonzero(written)), strict=True):
            self._seen[at] = self._digest(at)
            self._known[at][self._seen[at]] = SliceState.PREDICTED
            self.states[at] = SliceState.PREDICTED
        self.uncertainty[written] = uncertainty[written]
        self.origin = origin
        self._note_change()
        return int(kept.sum())

    def toggle_accepted(self, at: Slice) -> bool:
        """Accept a slice as it is, or take the acceptance back; returns whether it is accepted now."""
        self._look_at(at)
        accept = bool(self.states[at] != SliceState.ACCEPTED)
        if accept:
            self._accepted[at] = self._seen[at]
        else:
            del self._accepted[at]
        self.states[at] = self._state_of(at)
        self._note_change()
        return accept

    def release(self, at: Slice) -> None:
        """Let models change a slice again that the reader has edited or accepted."""
        self._look_at(at)
        self._accepted.pop(at, None)
        has_mask = bool(self.layer.data[at].any())
        self._known[at][self._seen[at]] = SliceState.PREDICTED if has_mask else SliceState.EMPTY
        self.states[at] = self._state_of(at)
        self._note_change()

    def refresh(self) -> None:
        """Bring all states up to date with the pixels."""
        before = self.states == SliceState.ACCEPTED
        changed = [at for at in self._seen if self._look_at(at)]
        if changed:
            self._note_change()
        lost = int((before & (self.states != SliceState.ACCEPTED)).sum())
        if lost:
            self.acceptance_lost.emit(lost, False)

    def _on_paint(self, _event: object = None) -> None:
        """Look at a finished stroke; napari tells of mouse strokes after, of others before the change."""
        if self._is_writing:
            return
        at = self._position()
        self._stroked = set(self._seen) if at is None or self.layer.n_edit_dimensions > 2 else {at}
        self._look_at_strokes()

    def _on_labels_update(self, _event: object = None) -> None:
        """Look at a stroke that was announced before it changed the pixels."""
        if self._stroked and not self._is_writing:
            self._look_at_strokes()
            self._stroked.clear()

    def _on_set_data(self, _event: object = None) -> None:
        """Look again at all pixels, unless the view has merely moved to another slice."""
        at = self._position()
        moved, self._shown = at != self._shown, at
        if not moved and not self._is_writing:
            self.refresh()

    def _look_at_strokes(self) -> None:
        accepted = [at for at in self._stroked if self.states[at] == SliceState.ACCEPTED]
        changed = {at for at in self._stroked if self._look_at(at, stroked=True)}
        self._stroked -= changed
        if changed:
            self._note_change()
        lost = sum(self.states[at] != SliceState.ACCEPTED for at in accepted)
        if lost:
            self.acceptance_lost.emit(lost, True)

    def _look_at(self, at: Slice, *, stroked: bool = False) -> bool:
        """Update one slice's state; returns whether its pixels have changed since the last look."""
        digest = self._digest(at)
        if digest == self._seen[at]:
            return False
        self._seen[at] = digest
        if stroked:
            self._known[at][digest] = SliceState.EDITED
        self.states[at] = self._state_of(at)
        return True

    def _state_of(self, at: Slice) -> SliceState:
        digest = self._seen[at]
        if self._accepted.get(at) == digest:
            return SliceState.ACCEPTED
        return self._known[at].get(digest, SliceState.EDITED)

    def _first_state(self, at: Slice) -> SliceState:
        """State that a slice falls back to when an acceptance from a file is taken back: the reader's."""
        return min(SliceState(int(self.states[at])), SliceState.EDITED)

    def _digest(self, at: Slice) -> bytes:
        return blake2b(self.layer.data[at].tobytes(), digest_size=8).digest()

    def _note_change(self) -> None:
        self._unsaved_changes += 1
        self.changed.emit()
