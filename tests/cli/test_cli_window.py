"""`open` and `demo` where no window can open: a sentence instead of Qt's abort."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from napari_cardioseg.cli import main, window

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="X11 is Linux's")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def listener() -> Iterator[int]:
    """Listen where an X server behind `ssh -X` would; gives the display's number."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if port < 6000:
            pytest.skip("the system gave a port below X11's")
        yield port - 6000


@linux_only
@pytest.mark.parametrize("command", [[], ["open"], ["demo"]])
def test_no_display_is_told_in_a_sentence(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command) == 1
    assert "There is no display to open a window on" in capsys.readouterr().err


@linux_only
@pytest.mark.parametrize(
    "display", [":7345", "unix:7345", "localhost:3217.0", "nonsense", "/nowhere/launch:0"]
)
def test_a_display_that_does_not_answer_is_named(display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", display)
    assert f"The display {display!r}" in window.why_no_window()


@linux_only
def test_a_display_that_answers_is_taken(listener: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", f"127.0.0.1:{listener}.0")
    assert window.why_no_window() == ""


@linux_only
@pytest.mark.parametrize(
    ("name", "value"), [("WAYLAND_DISPLAY", "wayland-0"), ("QT_QPA_PLATFORM", "offscreen")]
)
def test_other_platforms_need_no_x_server(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert window.why_no_window() == ""


def test_a_missing_qt_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "_BINDINGS", ("NoSuchQt",))
    assert "pip install" in window.why_no_window()


def test_a_path_that_is_not_there_is_told_before_the_window(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["open", str(tmp_path / "gone")]) == 1
    assert "There is no file or folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "expected"), [([], (None, False)), (["demo"], (None, True)), (["open", "."], (".", False))]
)
def test_the_window_gets_what_was_asked_for(
    command: list[str], expected: tuple[str | None, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(window, "why_no_window", lambda: "")
    monkeypatch.setattr("napari_cardioseg.ui.launch", lambda path, *, demo: asked.append((path, demo)))
    assert main(command) == 0
    assert asked == [expected]
