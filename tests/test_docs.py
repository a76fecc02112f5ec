"""The documents say what the code does: every setting, every network, with the defaults that they have."""

from __future__ import annotations

import importlib
import inspect
import re
import tomllib
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
import torch

from napari_cardioseg.domain import Preprocessing
from napari_cardioseg.models import build_network, network_names
from napari_cardioseg.models.registry import _NETWORKS
from napari_cardioseg.train.augment import Augmentation
from napari_cardioseg.train.config import DataConfig, RunConfig, TrainConfig
from napari_cardioseg.train.losses import LossConfig
from napari_cardioseg.train.optimise import OptimiserConfig
from napari_cardioseg.train.recipes import list_recipes

DOCS = Path(__file__).resolve().parents[1] / "docs"
SECTIONS = {
    "data": DataConfig,
    "loss": LossConfig,
    "optimiser": OptimiserConfig,
    "augmentation": Augmentation,
    "preprocessing": Preprocessing,
    "run": RunConfig,
}


def rows(text):
    """Give the cells of every row of the tables in a text."""
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]


def documented_settings(start, end="\n## |\n### "):
    text = (DOCS / "training.md").read_text(encoding="utf-8")
    part = re.split(end, text.partition(start)[2], maxsplit=1)[0]
    return {cells[0].strip("`"): cells[1].strip("`") for cells in rows(part)}


def plain(value):
    """Give a value as TOML knows it."""
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_is_documented_with_its_default(section):
    told = documented_settings(f"\n### `[{section}]`\n")
    settings = {f.name: f for f in fields(SECTIONS[section])}
    assert list(told) == list(settings)
    for name, f in settings.items():
        default = f.default if f.default_factory is MISSING else f.default_factory()
        if default is MISSING:
            assert told[name] == "required"
        elif default is None:
            assert told[name] == "-"
        else:
            assert tomllib.loads(f"x = {told[name]}")["x"] == plain(default), name


def test_the_top_level_is_documented():
    told = documented_settings("\n## Every setting\n")
    assert set(told) == {f.name for f in fields(TrainConfig)} - {*SECTIONS, "network"}


def test_every_recipe_is_documented():
    told = documented_settings("\n## Recipes\n", end="\n## ")
    assert set(told) == {recipe.name for recipe in list_recipes()}


def networks():
    """Give the cells of the table of networks by name, 'the same' resolved."""
    table, before = {}, ""
    for line in (DOCS / "networks.md").read_text(encoding="utf-8").splitlines():
        cells = line.strip("| ").split(" | ")
        if line.startswith("|") and len(cells) == 6 and cells[1].startswith("`") and cells[1] != "`name`":
            before = before if cells[2] == "the same" else cells[2]
            table[cells[1].strip("`")] = (before, cells[3], cells[4])
    return table


def stated(text):
    """Read the arguments that stand in a text, each as `name = value`."""
    return tomllib.loads("\n".join(re.findall(r"`(\w+ = [^`]+)`", text)))


def test_every_network_is_documented_with_its_arguments():
    table = networks()
    assert tuple(table) == network_names()
    for name, (arguments, _, _) in table.items():
        module, made = _NETWORKS[name]
        known = inspect.signature(getattr(importlib.import_module(module), made)).parameters
        defaults = {key: plain(p.default) for key, p in known.items() if key not in ("channels", "classes")}
        told = stated(arguments)
        assert told == {key: defaults[key] for key in told}, name
        assert all(f"`{key}`" in arguments for key in set(defaults) - set(told)), name


@pytest.mark.parametrize("name", [name for name in network_names() if name != "ensemble"])
def test_every_network_is_documented_with_its_size_and_reach(name):
    _, size, reach = networks()[name]
    with torch.device("meta"):
        network = build_network({"name": name, "channels": 1, "classes": 3, **stated(size)})
    count = sum(p.numel() for p in network.parameters())
    assert size.split(" M")[0] == f"{count / 1e6:.2f}"
    assert reach == ("the whole image" if network.reach is None else f"{network.reach} pixels")
