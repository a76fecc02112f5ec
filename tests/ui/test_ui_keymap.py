"""The one table of keys, against napari's own."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from app_model.types import KeyBinding as Keys
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.utils.action_manager import action_manager
from napari.utils.shortcuts import default_shortcuts

from napari_cardioseg.ui.keymap import CLASS_KEYS, KEYMAP, NAPARI_KEYS


def normal(keys: Iterable[object]) -> set[str]:
    return {str(Keys.from_str(str(key))) for key in keys}


def naparis_own() -> set[str]:
    """Every key that napari binds on viewers, images and labels, at import or through its action manager."""
    owners = (Labels, Image, ViewerModel)
    # Keys of points, shapes and other layers are free for us: on such a layer they go before ours.
    actions = [
        name for name, action in action_manager._actions.items() if action.keymapprovider in (*owners, None)
    ]
    shortcuts = [key for name in actions for key in default_shortcuts.get(name, ())]
    return normal(shortcuts).union(*(normal(owner.class_keymap) for owner in owners))


def test_no_key_of_ours_is_one_of_naparis() -> None:
    taken = naparis_own()
    assert {"P", "E", "F", "V", "Ctrl+Z"} <= taken, "the list of napari's keys is no longer found"
    assert not normal(binding.key for binding in KEYMAP) & taken


def test_every_key_has_one_meaning_and_every_class_key_is_bound() -> None:
    keys = [binding.key for binding in KEYMAP]
    assert len(set(keys)) == len(keys)
    assert set(CLASS_KEYS) <= set(keys)


@pytest.mark.parametrize(
    ("shown", "action"),
    [
        ("P or 2", "napari:activate_labels_paint_mode"),
        ("E or 1", "napari:activate_labels_erase_mode"),
        ("F or 4", "napari:activate_labels_fill_mode"),
        ("3", "napari:activate_labels_polygon_mode"),
        ("X", "napari:swap_selected_and_background_labels"),
        ("Z or 6", "napari:activate_labels_pan_zoom_mode"),
        ("Space", "napari:hold_for_pan_zoom"),
    ],
)
def test_what_the_help_says_of_naparis_keys_is_true(shown: str, action: str) -> None:
    assert shown in [key.key for key in NAPARI_KEYS]
    assert set(shown.split(" or ")) == normal(default_shortcuts[action])
