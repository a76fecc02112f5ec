#!/usr/bin/env python3
"""Set up everything in .venv, once, then do what was asked for.

    python3 scripts/run.py demo           open the program on a beating heart, already segmented
    python3 scripts/run.py test           run the tests (more words go to pytest)
    python3 scripts/run.py check          run the linters and the type checker
    python3 scripts/run.py open PATH      as `napari-cardioseg open PATH`; so every other command
    python3 scripts/run.py packages       print the Debian packages that a window and the tests need

Needs Python 3.11 or later and, on Linux, the packages above. Where no NVIDIA GPU answers, the CPU build of
PyTorch is installed and nothing of CUDA; a PyTorch that is in .venv already is kept.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
VENV = REPOSITORY / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "cardioseg-setup.json"
LEAST_PYTHON = (3, 11)
ON_LINUX = sys.platform.startswith("linux")

# PyTorch's wheels on PyPI for Linux bring CUDA along, some gigabytes of it; its own index has the others.
CPU_TORCH = "torch==2.13.0+cpu"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"

# What Qt and OpenGL load at run time and no wheel brings, and what draws a window where there is no screen.
LIBRARIES = {
    "libegl1": "libEGL.so.1",
    "libgl1": "libGL.so.1",
    "libopengl0": "libOpenGL.so.0",
    "libglx-mesa0": "libGLX_mesa.so.0",
    "libglib2.0-0": "libglib-2.0.so.0",
    "libfontconfig1": "libfontconfig.so.1",
    "libdbus-1-3": "libdbus-1.so.3",
    "libxkbcommon-x11-0": "libxkbcommon-x11.so.0",
    "libxcb-cursor0": "libxcb-cursor.so.0",
    "libxcb-icccm4": "libxcb-icccm.so.4",
    "libxcb-image0": "libxcb-image.so.0",
    "libxcb-keysyms1": "libxcb-keysyms.so.1",
    "libxcb-render-util0": "libxcb-render-util.so.0",
    "libxcb-shape0": "libxcb-shape.so.0",
    "libxcb-xinerama0": "libxcb-xinerama.so.0",
}
PACKAGES = ("python3-venv", "xvfb", "xauth", "libgl1-mesa-dri", *LIBRARIES)


class SetupError(Exception):
    """Something the user has to mend first; the message says what."""


def main(words: list[str]) -> int:
    """Do what the words ask for, after the set-up it needs; gives the exit code."""
    if not words or words[0] in ("-h", "--help", "help"):
        print(__doc__)
        return 0
    command, rest = words[0], words[1:]
    if command == "packages":
        print(" ".join(PACKAGES))
        return 0
    try:
        if command in ("test", "demo", "open"):
            check_libraries()
        prefix = display_prefix() if command == "test" else []
        set_up({"test": "test", "check": "dev"}.get(command, ""))
    except SetupError as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 1
    if command == "test":
        os.chdir(REPOSITORY)
        return hand_over([*prefix, str(PYTHON), "-m", "pytest", *rest])
    if command == "check":
        return check()
    return hand_over([str(PYTHON), "-m", "napari_cardioseg.cli", *words])


def set_up(group: str) -> None:
    """Make .venv hold the program and a group of development tools, unless it does already.

    Raises
    ------
    SetupError
        If Python is too old, or something cannot be installed.
    """
    if sys.version_info < LEAST_PYTHON:
        have, least = (".".join(map(str, v[:2])) for v in (sys.version_info, LEAST_PYTHON))
        raise SetupError(
            f"Python {least} or later is needed, and this is {have}: call this with a later one."
        )
    key = fingerprint()
    done = read_stamp()
    if done.get("key") == key and group in done.get("groups", ()):
        return
    say(f"Setting up {VENV} (once; this takes some minutes)")
    if not answers([str(PYTHON), "-m", "pip", "--version"]):
        make_venv()
    pip("--quiet", "--upgrade", "pip>=25.1")  # the first that knows --group
    if not has_torch():
        install_torch()
    pip("--editable", ".[qt]", *(["--group", group] if group else []))
    groups = {"", group, *(done.get("groups", ()) if done.get("key") == key else ())}
    STAMP.write_text(json.dumps({"key": key, "groups": sorted(groups)}))


def fingerprint() -> str:
    """Sum up all that an installation depends on."""
    content = [sys.version, str(REPOSITORY)]
    content += [
        (REPOSITORY / name).read_text(encoding="utf-8") for name in ("pyproject.toml", "hatch_build.py")
    ]
    return hashlib.sha256("\0".join(content).encode()).hexdigest()


def read_stamp() -> dict[str, Any]:
    """Read what the last set-up left; empty where there was none."""
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def make_venv() -> None:
    """Make an empty virtual environment."""
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=False)
    if made.returncode != 0 or not answers([str(PYTHON), "-m", "pip", "--version"]):
        shutil.rmtree(VENV, ignore_errors=True)
        raise SetupError(
            "No virtual environment could be made. On Debian and Ubuntu Python's venv is a package of its "
            "own: apt-get install python3-venv"
        )


def torch_requirement() -> str:
    """Read from pyproject.toml which PyTorch is asked for: "torch>=2.6"."""
    found = re.search(r'"(torch>=[\d.]+)"', (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    return found.group(1) if found else "torch"


def has_torch() -> bool:
    """Whether .venv holds a PyTorch that will do."""
    code = "import importlib.metadata as m; print(m.version('torch'))"
    found = subprocess.run([str(PYTHON), "-c", code], capture_output=True, text=True, check=False)
    return found.returncode == 0 and numbers(found.stdout) >= numbers(torch_requirement())


def numbers(version: str) -> tuple[int, ...]:
    """Give the leading numbers of a version: (2, 13) of 2.13.0+cpu."""
    return tuple(int(n) for n in re.findall(r"\d+", version)[:2])


def install_torch() -> None:
    """Install PyTorch: with CUDA where an NVIDIA GPU answers, else the CPU build.

    Raises
    ------
    SetupError
        If that build is to be had nowhere.
    """
    if not ON_LINUX:
        return  # PyPI's wheel for macOS and Windows is the right one already; it comes with the rest
    if answers(["nvidia-smi", "-L"]):
        say("Installing PyTorch with CUDA, for this machine's NVIDIA GPU")
        pip(torch_requirement())
        return
    say("Installing PyTorch's CPU build (no NVIDIA GPU answers)")
    # What pip is configured with first: a mirror or a folder of wheels may have it, and PyPI says no at once.
    if not pip(CPU_TORCH, may_fail=True):
        try:
            pip("--timeout", "30", "--retries", "2", "--extra-index-url", CPU_INDEX, CPU_TORCH)
        except SetupError as error:
            raise SetupError(
                f"PyTorch's CPU build ({CPU_TORCH}) was found neither in pip's own sources nor at "
                f"{CPU_INDEX}. Look at the network, or install any PyTorch into {VENV} yourself; it is kept."
            ) from error


def pip(*arguments: str, may_fail: bool = False) -> bool:
    """Install with .venv's pip; tell whether it went well.

    Raises
    ------
    SetupError
        If it did not, unless it `may_fail`, in which case it says nothing either.
    """
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *arguments]
    ran = subprocess.run(
        command, cwd=REPOSITORY, stderr=subprocess.DEVNULL if may_fail else None, check=False
    )
    if ran.returncode != 0 and not may_fail:
        raise SetupError(f"pip could not install {arguments[-1]}; what it said stands above.")
    return ran.returncode == 0


def check_libraries() -> None:
    """Make sure that the system has what a window needs, before Qt ends the program over it.

    Raises
    ------
    SetupError
        If something is missing.
    """
    if not ON_LINUX:
        return
    missing = [package for package, library in LIBRARIES.items() if not loads(library)]
    if missing:
        raise SetupError(
            "A window needs system libraries that are missing here. "
            f"On Debian: apt-get install {' '.join(missing)}"
        )


def loads(library: str) -> bool:
    """Whether the system's loader finds a library."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def display_prefix() -> list[str]:
    """Give the words to put before a command so that it has a screen; none where there is one.

    Raises
    ------
    SetupError
        If there is neither a screen nor Xvfb.
    """
    if not ON_LINUX or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return []
    if not (shutil.which("xvfb-run") and shutil.which("xauth")):
        raise SetupError(
            "The tests open windows, and there is neither a screen (DISPLAY) nor Xvfb to stand in for one. "
            "On Debian: apt-get install xvfb xauth"
        )
    return ["xvfb-run", "--auto-servernum", "--server-args", "-screen 0 1600x1000x24"]


def check() -> int:
    """Run what .pre-commit-config.yaml runs, over everything; gives 1 where one of them complains."""
    tools = (
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["npe2", "validate", "napari.yaml", "--imports"],
    )
    failed = False
    for tool, *arguments in tools:
        say(" ".join([tool, *arguments]))
        failed |= (
            subprocess.run([str(PYTHON), "-m", tool, *arguments], cwd=REPOSITORY, check=False).returncode != 0
        )
    return int(failed)


def answers(command: list[str]) -> bool:
    """Whether a command exists and ends well."""
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def hand_over(command: list[str]) -> int:
    """Let a command take this one's place; its exit code is ours."""
    sys.stdout.flush()
    if os.name == "nt":  # exec would return to the shell at once
        return subprocess.run(command, check=False).returncode
    os.execvp(command[0], command)


def say(line: str) -> None:
    """Tell what is being done."""
    print(f"== {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
