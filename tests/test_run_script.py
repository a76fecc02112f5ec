"""scripts/run.py: what it installs, and what it says where something is missing."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SCRIPT = REPOSITORY / "scripts" / "run.py"


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Load the script anew, with its environment in a folder of the test's own."""
    spec = importlib.util.spec_from_file_location("run_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "VENV", tmp_path)
    monkeypatch.setattr(module, "STAMP", tmp_path / "stamp.json")
    monkeypatch.setattr(module, "ON_LINUX", True)
    return module


@pytest.fixture
def installed(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Note what pip is asked for instead of asking it."""
    asked: list[tuple[str, ...]] = []

    def pip(*arguments: str, may_fail: bool = False) -> bool:
        asked.append(arguments)
        return not may_fail

    monkeypatch.setattr(script, "pip", pip)
    return asked


def answering(*programs: str) -> Any:
    return lambda command: Path(command[0]).name in programs


def test_readme_and_script_name_the_same_packages() -> None:
    printed = subprocess.run([sys.executable, SCRIPT, "packages"], capture_output=True, text=True, check=True)
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    command = re.search(r"apt-get install (.*?)\n```", readme, re.DOTALL)
    assert command is not None
    named = command.group(1).replace("\\\n", " ").split()
    assert sorted(named) == sorted(["git", *printed.stdout.split()])


def test_readme_gives_the_two_commands() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert "python3 scripts/run.py demo" in readme
    assert "python3 scripts/run.py test" in readme


def test_the_script_needs_only_the_standard_library() -> None:
    ran = subprocess.run(
        [sys.executable, "-I", "-S", SCRIPT, "--help"], capture_output=True, text=True, check=True
    )
    assert "python3 scripts/run.py demo" in ran.stdout


def test_without_a_gpu_the_cpu_build_comes_first(
    script: ModuleType, installed: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "answers", answering())
    script.install_torch()
    assert installed[0] == (script.CPU_TORCH,)
    assert installed[1][-3:] == ("--extra-index-url", script.CPU_INDEX, script.CPU_TORCH)
    assert script.CPU_TORCH.endswith("+cpu")


def test_with_a_gpu_the_ordinary_build_comes(
    script: ModuleType, installed: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "answers", answering("nvidia-smi"))
    script.install_torch()
    assert installed == [("torch>=2.6",)]


def test_the_cpu_build_satisfies_the_package(script: ModuleType) -> None:
    assert script.numbers(script.CPU_TORCH) >= script.numbers(script.torch_requirement())


def test_a_build_that_is_nowhere_is_told(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def pip(*_arguments: str, may_fail: bool = False) -> bool:
        if not may_fail:
            raise script.SetupError("pip failed")
        return False

    monkeypatch.setattr(script, "pip", pip)
    monkeypatch.setattr(script, "answers", answering())
    with pytest.raises(script.SetupError, match="neither in pip's own sources nor at"):
        script.install_torch()


def test_set_up_installs_once_and_again_when_asked_for_more(
    script: ModuleType, installed: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "answers", lambda command: True)
    monkeypatch.setattr(script, "has_torch", lambda: True)
    script.set_up("")
    assert installed[-1] == ("--editable", ".[qt]")
    assert len(installed) == 2
    script.set_up("")
    assert len(installed) == 2
    script.set_up("test")
    assert installed[-1] == ("--editable", ".[qt]", "--group", "test")
    script.set_up("")
    script.set_up("test")
    assert len(installed) == 4
    monkeypatch.setattr(script, "fingerprint", lambda: "another pyproject.toml")
    script.set_up("")
    assert len(installed) == 6
    assert json.loads(script.STAMP.read_text())["groups"] == [""]


def test_an_interrupted_set_up_is_done_again(
    script: ModuleType, installed: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "answers", lambda command: True)
    monkeypatch.setattr(script, "has_torch", lambda: True)
    script.STAMP.write_text('{"key": ')
    script.set_up("")
    assert len(installed) == 2


@pytest.mark.parametrize(
    ("environment", "programs", "expected"),
    [
        ({"DISPLAY": ":0"}, (), ""),
        ({"WAYLAND_DISPLAY": "wayland-0"}, (), ""),
        ({}, ("xvfb-run", "xauth"), "xvfb-run"),
    ],
)
def test_tests_get_a_screen(
    environment: dict[str, str],
    programs: tuple[str, ...],
    expected: str,
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(script.os, "environ", environment)
    monkeypatch.setattr(script.shutil, "which", lambda name: name in programs)
    assert " ".join(script.display_prefix()).startswith(expected)
    assert bool(script.display_prefix()) == bool(expected)


def test_what_is_missing_is_named_with_its_package(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "loads", lambda library: library != "libxcb-cursor.so.0")
    assert script.main(["demo"]) == 1
    assert capsys.readouterr().err.endswith("On Debian: apt-get install libxcb-cursor0\n")
    monkeypatch.setattr(script, "loads", lambda library: True)
    monkeypatch.setattr(script.os, "environ", {})
    monkeypatch.setattr(script.shutil, "which", lambda name: None)
    assert script.main(["test"]) == 1
    assert capsys.readouterr().err.endswith("On Debian: apt-get install xvfb xauth\n")


def test_an_old_python_is_told(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "LEAST_PYTHON", (99, 0))
    with pytest.raises(script.SetupError, match=r"Python 99\.0 or later is needed"):
        script.set_up("")
