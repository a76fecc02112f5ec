"""Values that a user wrote in TOML or JSON, held to the types that the code states for them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

_NAMES: dict[Any, tuple[str, str]] = {  # one, and several
    bool: ("true or false", "values that are true or false"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a text in quotes", "texts in quotes"),
    Path: ("a path in quotes", "paths in quotes"),
}


def misfit(value: object, kind: Any) -> str:
    """Say what a value should be instead, if it is not of a kind.

    Parameters
    ----------
    value : object
        As TOML or JSON give it: a list stands for any sequence, a whole number for any number.
    kind : type
        A resolved annotation: `bool`, `int`, `float`, `str`, `Path`, `None`, tuples, sequences and mappings
        of these, and unions. What is none of these fits everything.

    Returns
    -------
    str
        As in 'a list of whole numbers, not "many"'; empty if the value fits.
    """
    if _fits(value, kind):
        return ""
    said = f"{_described(kind)}, not {_written(value)}"
    lists = [member for member in _members(kind) if _items(member) is not None]
    if any(_fits([value], member) for member in lists):
        said += f"; put it in brackets, [{_written(value)}]"
    return said


def unknown_names(given: Sequence[str], known: Sequence[str]) -> str:
    """Give a sentence on names that are not known, the nearest that are, and all that are; empty if none."""
    unknown = sorted(set(given) - set(known))
    if not unknown:
        return ""
    nearest = [get_close_matches(name, known, 1) for name in unknown]
    meant = ", ".join(dict.fromkeys(name for names in nearest for name in names))
    hint = f" Perhaps {meant} is meant." if meant else ""
    return f"{', '.join(unknown)}, which is not known.{hint} Known are {', '.join(known)}."


def _fits(value: object, kind: Any) -> bool:
    if get_origin(kind) in (Union, UnionType):
        return any(_fits(value, member) for member in get_args(kind))
    if _items(kind) is not None:
        return _fits_list(value, kind)
    if get_origin(kind) is Mapping:
        of = get_args(kind)[1]
        return isinstance(value, Mapping) and all(_fits(member, of) for member in value.values())
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is Path:
        return isinstance(value, str | Path)
    return isinstance(value, kind) if kind in (bool, str, NoneType) else True


def _fits_list(value: object, kind: Any) -> bool:
    if not isinstance(value, list | tuple):
        return False
    of = _items(kind) or ()
    return (len(of) == 1 or len(of) == len(value)) and all(
        _fits(member, of[i % len(of)]) for i, member in enumerate(value)
    )


def _items(kind: Any) -> tuple[Any, ...] | None:
    """Give the kinds of a list's items, one for a list of any length; None if it is no list."""
    if get_origin(kind) is Sequence:
        return get_args(kind)
    if get_origin(kind) is tuple:
        return tuple(item for item in get_args(kind) if item is not Ellipsis)
    return None


def _members(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _described(kind: Any) -> str:
    kinds = [member for member in _members(kind) if member is not NoneType]
    return " or ".join(dict.fromkeys(_one(member) for member in kinds))


def _one(kind: Any) -> str:
    items = _items(kind)
    if items is not None:
        several = _NAMES.get(items[0], ("", "tables"))[1]
        return f"a list of {several}" if len(items) == 1 else f"a list of {len(items)} {several}"
    if get_origin(kind) is Mapping:
        several = _NAMES.get(get_args(kind)[1], ("", "values"))[1]
        return f"a section of {several}"
    return _NAMES[kind][0]


def _written(value: object) -> str:
    """Write a value as it stands in a file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | Path):
        return f'"{value}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_written, value))}]"
    return str(value)
