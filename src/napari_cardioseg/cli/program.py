"""The program: its commands, and what it tells the shell about how they ended."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from napari_cardioseg import __version__
from napari_cardioseg.cli import evaluate, info, models, segment, train, weights, window
from napari_cardioseg.domain import CardioSegError

COMMANDS: tuple[ModuleType, ...] = (window, info, segment, evaluate, train, weights, models)

OK, FAILED, USAGE, CANCELLED = 0, 1, 2, 130

_EPILOG = """\
examples:
  napari-cardioseg                              open the window
  napari-cardioseg demo                         open it on a beating heart, already segmented
  napari-cardioseg info study/                  list the series of a DICOM folder
  napari-cardioseg segment study/ -o lv.nii.gz  segment its short-axis cine

"napari-cardioseg COMMAND --help" says more about each command.
Exit codes: 0 done, 1 failed (the reason is on stderr), 2 wrong usage, 130 cancelled with Ctrl-C.
For research; not a medical device.
"""


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of the whole program."""
    parser = argparse.ArgumentParser(
        prog="napari-cardioseg",
        description="Segment the left ventricle on cardiac cine MRI, in a napari window or from the shell.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in COMMANDS:
        command.add_commands(commands)
    parser.set_defaults(run=window.run_open, path=None)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        What stands after the program's name; by default what the shell gave.
    """
    options = build_parser().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except CardioSegError as error:
        print(f"napari-cardioseg: {error}", file=sys.stderr)
        return FAILED
    except MemoryError as error:
        print(f"napari-cardioseg: {str(error) or 'The memory of this machine is full.'}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt as stop:
        print(f"napari-cardioseg: {str(stop) or 'cancelled.'}", file=sys.stderr)
        return CANCELLED
    except BrokenPipeError:
        # The reader of our output (head, less) has left; Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return OK
