"""Progress in a terminal and in a log, and what Ctrl-C does to a job."""

from __future__ import annotations

import io
import signal
from collections.abc import Generator

import pytest

from napari_cardioseg.cli.progress import ProgressDisplay, clock, run_job
from napari_cardioseg.domain import Progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let the test say what time it is."""
    time = [100.0]
    monkeypatch.setattr("napari_cardioseg.cli.progress.time.monotonic", lambda: time[0])
    return time


def test_a_terminal_gets_one_line_redrawn_with_the_time_left(now: list[float]) -> None:
    stream = Terminal()
    display = ProgressDisplay("Segmenting", stream)
    for done in (60, 120):
        now[0] += 10.0
        display.show(Progress(done, 240, "slice 3"))
    display.finish()
    first, second = stream.getvalue().split("\r\x1b[K")[1:]
    assert first == "Segmenting [#####...............] 60/240 (25%) 0:30 left - slice 3"
    assert second == "Segmenting [##########..........] 120/240 (50%) 0:20 left - slice 3\n"


def test_a_terminal_is_not_redrawn_for_every_step(now: list[float]) -> None:
    stream = Terminal()
    display = ProgressDisplay("Reading", stream)
    for done in range(1, 100):
        now[0] += 0.001
        display.show(Progress(done, 100))
    assert stream.getvalue() == ""
    display.show(Progress(100, 100))
    assert "100/100 (100%)" in stream.getvalue()


def test_a_log_gets_a_line_now_and_then_and_every_note(now: list[float]) -> None:
    stream = io.StringIO()
    display = ProgressDisplay("Training", stream)
    for done in range(1, 31):
        now[0] += 1.0
        display.show(Progress(done, 300, note="Memory is short; smaller batches." if done == 5 else ""))
    display.finish()
    assert stream.getvalue().splitlines() == [
        "note: Memory is short; smaller batches.",
        "Training 10/300 (3%) 4:50 left",
        "Training 20/300 (7%) 4:40 left",
        "Training 30/300 (10%) 4:30 left",
    ]


def test_a_job_of_unknown_length_shows_its_count(now: list[float]) -> None:
    stream = Terminal()
    display = ProgressDisplay("Reading headers", stream)
    now[0] += 1.0
    display.show(Progress(1000, 0, "Listing files"))
    assert stream.getvalue().endswith("Reading headers 1000 - Listing files")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0:01"), (59.6, "1:00"), (61, "1:01"), (3725, "1:02:05")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_closes_the_job_where_it_next_reports() -> None:
    steps: list[str] = []

    def job() -> Generator[Progress, None, str]:
        try:
            signal.raise_signal(signal.SIGINT)
            steps.append("the step was finished")
            yield Progress(1, 2)
            steps.append("went on")
            return "done"
        except GeneratorExit:
            steps.append("saved")
            raise
        finally:
            steps.append("cleaned up")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_job(job(), "Training")
    assert steps == ["the step was finished", "saved", "cleaned up"]
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_a_second_ctrl_c_breaks_off_at_once() -> None:
    steps: list[str] = []

    def job() -> Generator[Progress, None, None]:
        try:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            steps.append("went on")
            yield Progress(1, 2)
        finally:
            steps.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        run_job(job(), "Training")
    assert steps == ["cleaned up"]


def test_a_program_that_is_to_ignore_ctrl_c_ignores_it() -> None:
    def job() -> Generator[Progress, None, str]:
        signal.raise_signal(signal.SIGINT)
        yield Progress(1, 2)
        return "done"

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run_job(job(), "Training") == "done"
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_failing_job_is_closed_and_its_error_passes() -> None:
    def job() -> Generator[Progress, None, None]:
        yield Progress(0, 1)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run_job(job(), "Reading")
