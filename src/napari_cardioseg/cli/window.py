"""`open` and `demo`: the window."""

from __future__ import annotations

import argparse
import importlib.util
import os
import socket
import sys
from pathlib import Path
from typing import Any

from napari_cardioseg.domain import ConfigError, DataError

_BINDINGS = ("PyQt6", "PySide6", "PyQt5")

_OPEN_EPILOG = """\
examples:
  napari-cardioseg open                 then choose the folder in the window
  napari-cardioseg open study/          a DICOM folder, searched through all its subfolders
  napari-cardioseg open study.zip       the same, as it came from the archive
  napari-cardioseg open cine.nii.gz     a NIfTI file (x, y, z, t)
"""


def add_commands(commands: Any) -> None:
    """Add `open` and `demo` to the program."""
    parser = commands.add_parser(
        "open",
        help="open the window (also without any command)",
        description="Open the napari window with the CardioSeg dock, and the study at PATH in it.",
        epilog=_OPEN_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "path", nargs="?", type=Path, metavar="PATH", help="DICOM folder or file, .zip or NIfTI"
    )
    parser.set_defaults(run=run_open)
    demo = commands.add_parser(
        "demo",
        help="open the window on a beating heart, already segmented",
        description="Open the window on a synthetic beating heart that is segmented as soon as it shows.",
    )
    demo.set_defaults(run=run_demo)


def run_open(options: argparse.Namespace) -> None:
    """Open the window, on `options.path` where one is given."""
    path: Path | None = options.path
    if path is not None and not path.exists():
        raise DataError(f"There is no file or folder {path}.")
    _launch(None if path is None else str(path), demo=False)


def run_demo(_options: argparse.Namespace) -> None:
    """Open the window on the sample."""
    _launch(None, demo=True)


def _launch(path: str | None, *, demo: bool) -> None:
    obstacle = why_no_window()
    if obstacle:
        raise ConfigError(obstacle)
    from napari_cardioseg.ui import launch

    launch(path, demo=demo)


def why_no_window() -> str:
    """Say in a sentence why no window can open here; empty where nothing is known against it.

    Qt ends the whole program when it finds no display, so this is asked before Qt is touched.
    """
    if not any(importlib.util.find_spec(name) for name in _BINDINGS):
        return 'The window needs Qt, which is not installed: pip install "napari-cardioseg[qt]".'
    if not sys.platform.startswith("linux") or os.environ.get("WAYLAND_DISPLAY"):
        return ""
    if os.environ.get("QT_QPA_PLATFORM", "xcb").split(":")[0].split(";")[0] != "xcb":
        return ""
    display = os.environ.get("DISPLAY", "")
    advice = (
        "Run it on a desktop, through `ssh -X`, or under `xvfb-run -a`; "
        "info, segment and evaluate need no window."
    )
    if not display:
        return f"There is no display to open a window on (DISPLAY is not set). {advice}"
    if not _answers(display):
        return f"The display {display!r} that DISPLAY names does not answer. {advice}"
    return ""


def _answers(display: str) -> bool:
    """Whether an X server listens at `display`, written host:number.screen."""
    host, _, number = display.rpartition(":")
    number = number.split(".")[0]
    if not number.isdecimal():
        return False
    if host in ("", "unix"):
        name = f"/tmp/.X11-unix/X{number}"
        return _listens_locally(name) or _listens_locally(f"\0{name}")
    if host.startswith("/"):  # macOS's launchd names the socket itself
        return _listens_locally(display)
    try:
        socket.create_connection((host, 6000 + int(number)), timeout=3.0).close()
    except OSError:
        return False
    return True


def _listens_locally(address: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(address)
        except OSError:
            return False
    return True
