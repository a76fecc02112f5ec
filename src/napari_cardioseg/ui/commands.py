"""What keys and buttons do in a moment; without a cine each does nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels

from napari_cardioseg.domain import SliceState
from napari_cardioseg.plugin.layer_data import MASK_OPACITY

if TYPE_CHECKING:
    from napari_cardioseg.ui.session import Session

Command = Callable[["Session"], None]
STATE_NAMES = {
    SliceState.EMPTY: "no mask",
    SliceState.PREDICTED: "predicted",
    SliceState.EDITED: "edited",
    SliceState.ACCEPTED: "accepted",
}


def next_phase(session: Session) -> None:
    """Show the next phase."""
    session.navigator.step_phase(1)


def previous_phase(session: Session) -> None:
    """Show the phase before."""
    session.navigator.step_phase(-1)


def next_slice(session: Session) -> None:
    """Show the next slice of the stack."""
    session.navigator.step_slice(1)


def previous_slice(session: Session) -> None:
    """Show the slice before."""
    session.navigator.step_slice(-1)


def next_to_review(session: Session) -> None:
    """Show the next slice with a mask that is not accepted yet."""
    if session.link is not None and not session.navigator.next_to_review():
        session.tell("Every slice that has a mask is accepted.")


def most_uncertain(session: Session) -> None:
    """Show the slice of which the model is least sure."""
    if session.link is not None and not session.navigator.most_uncertain():
        session.tell("No other slice is left as the model made it.")


def toggle_accepted(session: Session) -> None:
    """Accept the slice on display, or take that back."""
    cine, link, at = session.cine, session.link, session.navigator.position
    if cine is None or link is None or at is None:
        return
    if cine.present[at]:
        link.toggle_accepted(at)
    else:
        session.tell("The source has no image here, so that there is nothing to accept.")


def release(session: Session) -> None:
    """Let the next model run replace the mask of the slice on display."""
    link, at = session.link, session.navigator.position
    if link is not None and at is not None:
        link.release(at)


def clear_slice(session: Session) -> None:
    """Wipe the masks of the slice on display, as one undo step: there is no ventricle on it."""
    labels, at = session.labels, session.navigator.position
    if labels is not None and at is not None and labels.data[at].any():
        marked = np.nonzero(labels.data[at])
        labels.data_setitem((*(np.full_like(marked[0], i) for i in at), *marked), 0)


def next_class(session: Session) -> None:
    """Give the brush the next class of the scheme."""
    labels, link = session.labels, session.link
    if labels is not None and link is not None:
        values = link.scheme.values
        current = values.index(labels.selected_label) if labels.selected_label in values else -1
        labels.selected_label = values[(current + 1) % len(values)]


def choose_class(session: Session, index: int) -> None:
    """Give the brush the class at `index` of the scheme, if there is one."""
    labels, link = session.labels, session.link
    if labels is not None and link is not None and index < len(link.scheme):
        labels.selected_label = link.scheme.values[index]
        session.viewer.layers.selection.active = labels
        _reveal(labels)
        if labels.mode not in ("paint", "fill", "polygon"):
            labels.mode = "paint"


def first_class(session: Session) -> None:
    """Give the brush the first class."""
    choose_class(session, 0)


def second_class(session: Session) -> None:
    """Give the brush the second class."""
    choose_class(session, 1)


def third_class(session: Session) -> None:
    """Give the brush the third class."""
    choose_class(session, 2)


def choose_tool(session: Session, mode: str) -> None:
    """Take up a tool: napari's "paint", "erase", "fill", "polygon" or "pan_zoom"."""
    labels = session.labels
    if labels is not None:
        session.viewer.layers.selection.active = labels
        _reveal(labels)
        labels.mode = mode


def undo(session: Session) -> None:
    """Take back the last change of the masks."""
    if session.labels is not None:
        session.labels.undo()


def redo(session: Session) -> None:
    """Bring back what was undone."""
    if session.labels is not None:
        session.labels.redo()


def toggle_masks(session: Session) -> None:
    """Show or hide the masks."""
    if session.labels is not None:
        session.labels.visible = not session.labels.visible


def toggle_outlines(session: Session) -> None:
    """Show the masks filled, or only their outlines."""
    if session.labels is not None:
        session.labels.contour = 0 if session.labels.contour else 1
        session.labels.opacity = 1.0 if session.labels.contour else MASK_OPACITY
        _reveal(session.labels)


def _reveal(labels: Labels) -> None:
    if not labels.visible:  # napari would put the brush away if a visible layer were made visible
        labels.visible = True


def toggle_play(session: Session) -> None:
    """Play the beat, or stop it."""
    session.player.toggle()


def toggle_help(session: Session) -> None:
    """Ask the window to show or hide the list of keys."""
    session.help_wanted.emit()


def describe_slice(session: Session) -> str:
    """Say in one line where the view is and how far that slice has come."""
    cine, link, at = session.cine, session.link, session.navigator.position
    if cine is None or link is None:
        return "No cine is open."
    if at is None:
        return "The view cuts across the slices."
    place = f"Slice {at[1] + 1} of {cine.n_slices}, phase {at[0] + 1} of {cine.n_phases}"
    if not cine.present[at]:
        return f"{place}: no image"
    state = SliceState(int(link.states[at]))
    words = f"{place}: {STATE_NAMES[state]}"
    doubt = link.uncertainty[at]
    return f"{words}, uncertainty {doubt:.2f}" if state == SliceState.PREDICTED and doubt == doubt else words
