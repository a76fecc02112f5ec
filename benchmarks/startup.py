"""How long it takes until the user can begin: import, the command line's help, the first window.

Each is measured in a fresh process, with the interpreter's own start beside it. The import of the package
and of its command line may load neither torch nor Qt. The window needs a display; without one
(`xvfb-run -a python -m benchmarks.startup`) it is left out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from benchmarks.harness import Report, main
from napari_cardioseg.cli.window import why_no_window

HEAVY = ("torch", "napari", "qtpy", "PyQt6", "PySide6")

# The window with its dock has been drawn once, and the event loop is idle: the user can click.
FIRST_WINDOW = """
import napari
from qtpy.QtWidgets import QApplication
viewer = napari.Viewer()
viewer.window.add_plugin_dock_widget("napari-cardioseg")
QApplication.processEvents()
viewer.screenshot(canvas_only=False, flash=False)
viewer.close()
"""
BARE_NAPARI = FIRST_WINDOW.replace('viewer.window.add_plugin_dock_widget("napari-cardioseg")\n', "")


def python(*arguments: str) -> str:
    """Run a fresh interpreter and give what it prints."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True).stdout


def heavy_modules(module: str) -> list[str]:
    """List the heavy packages that importing a module loads."""
    return python("-c", f"import sys, {module}; print(*[m for m in {HEAVY!r} if m in sys.modules])").split()


def run(report: Report, options: argparse.Namespace) -> None:
    """Measure all of it."""
    for module in ("napari_cardioseg", "napari_cardioseg.cli"):
        loaded = heavy_modules(module)
        report.fact(f"heavy packages loaded by {module}", loaded)
        assert not loaded, f"importing {module} loads {', '.join(loaded)}"
    report.time("interpreter alone", lambda: python("-c", "pass"))
    report.time("import napari_cardioseg", lambda: python("-c", "import napari_cardioseg"))
    report.time("import napari_cardioseg.domain", lambda: python("-c", "import napari_cardioseg.domain"))
    report.time("napari-cardioseg --help", lambda: python("-m", "napari_cardioseg.cli", "--help"))
    obstacle = why_no_window()
    if obstacle:
        report.fact("first window", f"not measured: {obstacle}")
        return
    report.compare(
        "first window with the CardioSeg dock",
        lambda: python("-c", FIRST_WINDOW),
        "first window of bare napari",
        lambda: python("-c", BARE_NAPARI),
    )


if __name__ == "__main__":
    main(run, __doc__)
