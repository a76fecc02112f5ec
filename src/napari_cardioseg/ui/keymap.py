"""The one table of keys: what the panels print on buttons, the help shows and the viewer obeys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari.components import ViewerModel

from napari_cardioseg.ui import commands

if TYPE_CHECKING:
    from napari_cardioseg.ui.session import Session


@dataclass(frozen=True)
class KeyBinding:
    """A key of ours: what it does, in words and in deed."""

    key: str
    text: str
    group: str
    run: Callable[[Session], None]


@dataclass(frozen=True)
class NapariKey:
    """A key that napari has bound already and that belongs into the help."""

    key: str
    text: str
    group: str


MOVE, JUDGE, DRAW, VIEW = "Move", "Accept and undo", "Draw", "View"

# The left hand rests on W A S D, the right one holds the mouse.
KEYMAP: tuple[KeyBinding, ...] = (
    KeyBinding("D", "next phase", MOVE, commands.next_phase),
    KeyBinding("A", "previous phase", MOVE, commands.previous_phase),
    KeyBinding("W", "next slice", MOVE, commands.next_slice),
    KeyBinding("S", "previous slice", MOVE, commands.previous_slice),
    KeyBinding("R", "next slice to review", MOVE, commands.next_to_review),
    KeyBinding("U", "most uncertain slice", MOVE, commands.most_uncertain),
    KeyBinding("Q", "accept this slice, or take it back", JUDGE, commands.toggle_accepted),
    KeyBinding("N", "clear this slice: no ventricle on it", JUDGE, commands.clear_slice),
    KeyBinding("G", "next class", DRAW, commands.next_class),
    KeyBinding("8", "first class", DRAW, commands.first_class),
    KeyBinding("9", "second class", DRAW, commands.second_class),
    KeyBinding("0", "third class", DRAW, commands.third_class),
    KeyBinding("T", "show or hide the masks", VIEW, commands.toggle_masks),
    KeyBinding("J", "masks filled, or as outlines", VIEW, commands.toggle_outlines),
    KeyBinding("K", "play or stop the beat", VIEW, commands.toggle_play),
    KeyBinding("H", "show or hide these keys", VIEW, commands.toggle_help),
)

NAPARI_KEYS: tuple[NapariKey, ...] = (
    NapariKey("P or 2", "brush", DRAW),
    NapariKey("E or 1", "eraser", DRAW),
    NapariKey("F or 4", "fill", DRAW),
    NapariKey("3", "polygon", DRAW),
    NapariKey("[  ]", "smaller, larger brush", DRAW),
    NapariKey("X", "swap class and background", DRAW),
    NapariKey("Ctrl+Z", "undo", JUDGE),
    NapariKey("Ctrl+Shift+Z", "redo", JUDGE),
    NapariKey("Z or 6", "pan and zoom", VIEW),
    NapariKey("Space", "pan and zoom while held", VIEW),
)

CLASS_KEYS = ("8", "9", "0")
"""Keys of the first classes of a scheme, in its order."""


def key_of(run: Callable[[Session], None]) -> str:
    """Give the key that runs a command."""
    return next(binding.key for binding in KEYMAP if binding.run is run)


def bind_keys(viewer: ViewerModel, session: Session) -> None:
    """Bind the table to one viewer; keys of the active layer go before them."""
    for binding in KEYMAP:
        viewer.bind_key(binding.key, _handler(binding, session))


def _handler(binding: KeyBinding, session: Session) -> Callable[[ViewerModel], None]:
    def handle(_viewer: ViewerModel) -> None:
        binding.run(session)

    return handle
