"""What a user wrote, held to the types that the code states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from napari_cardioseg.domain import misfit, unknown_names


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, bool),
        (3, int),
        (3, float),
        (0.5, float),
        ("a", str),
        ("a", Path),
        (None, int | None),
        ([1, 2], tuple[int, ...]),
        ([], tuple[str, ...]),
        ([1, 2], tuple[int, int] | None),
        ([1, 2.5], Sequence[float]),
        ("balanced", tuple[float, ...] | str),
        ({"backbone": 0.1}, Mapping[str, float]),
        ([{"name": "unet"}], Sequence[Mapping[str, Any]]),
        (object(), Any),
    ],
)
def test_what_fits_is_let_pass(value, kind):
    assert misfit(value, kind) == ""


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        ("many", int, 'a whole number, not "many"'),
        (2.5, int, "a whole number, not 2.5"),
        (True, int, "a whole number, not true"),
        (False, float, "a number, not false"),
        (float("nan"), float, "a number, not nan"),
        (1, bool, "true or false, not 1"),
        (3, str, "a text in quotes, not 3"),
        (3, Path, "a path in quotes, not 3"),
        ("a", float | None, 'a number, not "a"'),
        ([1], tuple[int, int] | None, "a list of 2 whole numbers, not [1]"),
        (["a", 1], tuple[str, ...], 'a list of texts in quotes, not ["a", 1]'),
        ("lv", tuple[str, ...], 'a list of texts in quotes, not "lv"; put it in brackets, ["lv"]'),
        (8, Sequence[int], "a list of whole numbers, not 8; put it in brackets, [8]"),
        (3, tuple[float, ...] | str, "a list of numbers or a text in quotes, not 3; put it in brackets, [3]"),
        ({"a": "b"}, Mapping[str, float], "a section of numbers, not {'a': 'b'}"),
        ("unet", Mapping[str, Any], 'a section of values, not "unet"'),
        ([3], Sequence[Mapping[str, Any]], "a list of tables, not [3]"),
    ],
)
def test_what_does_not_fit_is_told_in_the_words_of_the_file(value, kind, said):
    assert misfit(value, kind) == said


def test_a_slip_of_the_pen_gets_the_nearest_name():
    assert unknown_names(["steps"], ["steps", "batch"]) == ""
    said = unknown_names(["stpes", "zzz"], ["steps", "batch"])
    assert said == "stpes, zzz, which is not known. Perhaps steps is meant. Known are steps, batch."
