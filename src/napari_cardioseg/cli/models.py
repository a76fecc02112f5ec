"""`models`: what can be chosen with --model."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any


def add_commands(commands: Any) -> None:
    """Add `models` to the program."""
    parser = commands.add_parser(
        "models",
        help="list the models that --model can name",
        description="List the models that come with the program; --model also takes a model file's path.",
    )
    parser.add_argument("--json", action="store_true", help="print their whole cards as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """List the models, the default first."""
    from napari_cardioseg.store.models import DEFAULT_MODEL, list_models

    entries = list_models()
    if options.json:
        cards = [{"name": e.name, "path": str(e.path), "card": asdict(e.card)} for e in entries]
        print(json.dumps({"models": cards, "default": DEFAULT_MODEL}, indent=2))
        return
    for entry in entries:
        mark = " (default)" if entry.name == DEFAULT_MODEL else ""
        classes = ", ".join(c.name for c in entry.card.scheme)
        print(f"{entry.name}{mark}\n  {entry.card.description}\n  classes: {classes}\n  file: {entry.path}")
