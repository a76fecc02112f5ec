"""A job's progress in a terminal: one line that grows, or now and then a line in a log."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO, TypeVar

from napari_cardioseg.domain import Job, Progress, drain, seconds_left

T = TypeVar("T")

_BAR_WIDTH = 20
_REDRAW_AFTER = 0.1  # seconds
_LOG_AFTER = 10.0


def run_job(job: Job[T], title: str) -> T:
    """Run a job to its end, showing its progress on stderr.

    Ctrl-C closes the job where it next reports, so that it cleans up in its own way; a second Ctrl-C
    breaks it off at once.

    Parameters
    ----------
    job : Job
        The work.
    title : str
        What it does, in a word or two.

    Raises
    ------
    KeyboardInterrupt
        After the job was closed.
    """
    display = ProgressDisplay(title)
    with _interrupts() as interrupted:

        def show(progress: Progress) -> None:
            display.show(progress)
            if interrupted.is_set():
                raise KeyboardInterrupt

        try:
            result = drain(job, show)
            if interrupted.is_set():
                raise KeyboardInterrupt
            return result
        finally:
            job.close()
            display.finish()


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Note the first Ctrl-C instead of raising it; leave later ones as they were."""
    interrupted = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    # Python delivers signals to the main thread alone; and nohup and shells that put a program in the
    # background mean it to ignore Ctrl-C.
    if threading.current_thread() is not threading.main_thread() or before == signal.SIG_IGN:
        yield interrupted
        return

    def note(_number: int, _frame: FrameType | None) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


class ProgressDisplay:
    """Shows progress on a stream: redrawn in place on a terminal, else as occasional lines.

    Parameters
    ----------
    title : str
        What the job does, in a word or two.
    stream : text stream, optional
        By default stderr.
    """

    def __init__(self, title: str, stream: TextIO | None = None) -> None:
        self.title = title
        self.stream = stream or sys.stderr
        self.in_place = self.stream.isatty()
        self.started = time.monotonic()
        self.last_shown = self.started
        self.drawn = False

    def show(self, progress: Progress) -> None:
        """Show where the job stands, unless it was shown a moment ago; notes are always kept."""
        now = time.monotonic()
        if progress.note:
            self.finish()
            print(f"note: {progress.note}", file=self.stream, flush=True)
        is_last = 0 < progress.total <= progress.done
        if not is_last and now - self.last_shown < (_REDRAW_AFTER if self.in_place else _LOG_AFTER):
            return
        if is_last and not self.in_place and now - self.started < _LOG_AFTER:
            return  # a job this short needs no line in a log
        self.last_shown = now
        line = self._line(progress, now - self.started)
        if self.in_place:
            self.stream.write(f"\r\x1b[K{line[: self._columns() - 1]}")
            self.stream.flush()
            self.drawn = True
        else:
            print(line, file=self.stream, flush=True)

    def finish(self) -> None:
        """Leave the line as it stands and begin a new one."""
        if self.drawn:
            self.stream.write("\n")
            self.stream.flush()
            self.drawn = False

    def _columns(self) -> int:
        # Of this stream's terminal: stdout, which shutil asks, may well go to a file.
        try:
            return os.get_terminal_size(self.stream.fileno()).columns or 80
        except OSError:
            return 80

    def _line(self, progress: Progress, elapsed: float) -> str:
        parts = [self.title]
        if progress.total > 0:
            share = min(progress.done / progress.total, 1.0)
            if self.in_place:
                filled = round(share * _BAR_WIDTH)
                parts.append(f"[{'#' * filled}{'.' * (_BAR_WIDTH - filled)}]")
            parts.append(f"{progress.done}/{progress.total} ({share:.0%})")
        elif progress.done:
            parts.append(str(progress.done))
        left = seconds_left(progress, elapsed)
        if left:
            parts.append(f"{clock(left)} left")
        if progress.message:
            parts.append(f"- {progress.message}")
        return " ".join(parts)


def clock(seconds: float) -> str:
    """Write a duration as m:ss, or h:mm:ss from an hour on."""
    whole = max(1, round(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
