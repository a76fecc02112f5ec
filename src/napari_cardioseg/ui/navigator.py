"""Moving through the phases and slices of the cine on display."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_cardioseg.domain import SliceState
from napari_cardioseg.ui.layer_link import Slice

if TYPE_CHECKING:
    from napari_cardioseg.ui.session import Session


class Navigator:
    """Knows which slice a session's viewer shows, and takes it to another.

    Attributes
    ----------
    moved : Signal(tuple or None)
        The slice (t, z) now on display; None where the view does not show exactly one.
    """

    moved = Signal(object)

    def __init__(self, session: Session) -> None:
        self._session = session
        self._last: Slice | None = None
        session.viewer.dims.events.connect(self._on_dims)

    @property
    def position(self) -> Slice | None:
        """The slice (t, z) on display; None without a cine, or where the view cuts across slices."""
        image, viewer = self._session.image, self._session.viewer
        if image is None or viewer.dims.ndisplay != 2 or {2, 3} != set(viewer.dims.order[-2:]):
            return None
        point = np.rint(image.world_to_data(viewer.dims.point)).astype(int)
        t, z = np.clip(point[:2], 0, np.array(image.data.shape[:2]) - 1)
        return int(t), int(z)

    def go_to(self, at: Slice) -> None:
        """Show the slice `at` (t, z)."""
        image = self._session.image
        if image is not None:
            world = image.data_to_world((*at, 0, 0))
            self._session.viewer.dims.set_point((0, 1), world[:2])

    def step_phase(self, steps: int) -> None:
        """Go forth (or back) in time; after the last phase comes the first."""
        at, cine = self.position, self._session.cine
        if at is not None and cine is not None:
            self.go_to(((at[0] + steps) % cine.n_phases, at[1]))

    def step_slice(self, steps: int) -> None:
        """Go up (or down) the stack, as far as it reaches."""
        at, cine = self.position, self._session.cine
        if at is not None and cine is not None:
            self.go_to((at[0], min(max(at[1] + steps, 0), cine.n_slices - 1)))

    def next_to_review(self) -> bool:
        """Go to the next slice that has a mask and is not accepted: on through this phase, then later ones.

        Returns
        -------
        bool
            Whether there was one.
        """
        link = self._session.link
        if link is None:
            return False
        n_slices = link.states.shape[1]
        waiting = np.isin(link.states, (SliceState.PREDICTED, SliceState.EDITED)).ravel()
        t, z = self.position or (0, 0)
        here = t * n_slices + z
        ahead = np.roll(waiting, -here - 1)
        if not ahead.any():
            return False
        index = (here + 1 + int(ahead.argmax())) % waiting.size
        self.go_to((index // n_slices, index % n_slices))
        return True

    def most_uncertain(self) -> bool:
        """Go to the slice of which the model is least sure among those the reader has not touched.

        Returns
        -------
        bool
            Whether there was one.
        """
        link = self._session.link
        if link is None:
            return False
        doubt = np.where(link.states == SliceState.PREDICTED, link.uncertainty, np.nan)
        at = self.position
        if at is not None:
            doubt[at] = np.nan
        if np.isnan(doubt).all():
            return False
        t, z = np.unravel_index(int(np.nanargmax(doubt)), doubt.shape)
        self.go_to((int(t), int(z)))
        return True

    def _on_dims(self, _event: object = None) -> None:
        at = self.position
        if at != self._last:
            self._last = at
            self.moved.emit(at)
