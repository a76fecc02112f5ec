"""The command `napari-cardioseg`: the same jobs from a shell."""

from napari_cardioseg.cli.program import main

__all__ = ["main"]
