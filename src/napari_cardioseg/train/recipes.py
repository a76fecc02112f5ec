"""Recipes: named training configurations that come with the package, each with its source."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from napari_cardioseg.domain import ConfigError

_SUFFIX = ".toml"


@dataclass(frozen=True)
class Recipe:
    """A named configuration that others are laid over.

    Parameters
    ----------
    name : str
        By which it is asked for.
    source : str
        Where its settings come from.
    content : mapping
        As in a TOML file of `load_config`, without the source.
    """

    name: str
    source: str
    content: Mapping[str, Any]


def list_recipes() -> list[Recipe]:
    """List the recipes that come with the package, by name."""
    folder = files("napari_cardioseg.train") / "recipes"
    found = []
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if file.name.endswith(_SUFFIX):
            content = tomllib.loads(file.read_text(encoding="utf-8"))
            source = content.pop("source")
            found.append(Recipe(file.name.removesuffix(_SUFFIX), source, content))
    return found


def find_recipe(name: str) -> Recipe:
    """Find a recipe by its name.

    Raises
    ------
    ConfigError
        If there is none.
    """
    recipes = {recipe.name: recipe for recipe in list_recipes()}
    if name not in recipes:
        raise ConfigError(f"There is no recipe called {name!r}; there are {', '.join(recipes)}.")
    return recipes[name]


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one configuration over another: sections are merged, of entries the upper one counts.

    A network of another name takes none of the lower one's arguments.
    """
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if not isinstance(value, Mapping) or not isinstance(under, Mapping):
            merged[key] = value
        elif key == "network" and value.get("name", under.get("name")) != under.get("name"):
            merged[key] = dict(value)
        else:
            merged[key] = laid_over(under, value)
    return merged
