"""The window: sessions, panels, keys; the only room that sees Qt and napari."""

from __future__ import annotations

from pathlib import Path

__all__ = ["launch"]


def launch(path: str | Path | None = None, *, demo: bool = False) -> None:
    """Open the window and stay until it is closed; see `napari_cardioseg.ui.window.launch`."""
    from napari_cardioseg.ui.window import launch as open_and_stay

    open_and_stay(path, demo=demo)
