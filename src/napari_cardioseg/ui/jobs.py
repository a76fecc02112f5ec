"""The one bridge from the core's generators to Qt's thread pool."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from psygnal import Signal
from superqt.utils import GeneratorWorker, create_worker

from napari_cardioseg.domain import Job, Progress, seconds_left

T = TypeVar("T")

_log = logging.getLogger(__name__)


class JobFailedError(Exception):
    """Carries a `RuntimeError` out of a worker, which Qt's generator workers would swallow."""


class JobRunner:
    """Runs one `Job` at a time in the background; its signals arrive in the thread of the window.

    Every job that starts ends with exactly one `ended`, whether it succeeded, failed or was cancelled,
    and its generator has then been closed, so that its `finally` blocks have run.

    Attributes
    ----------
    started : Signal(str)
        The title of the job.
    progressed : Signal(Progress, seconds left or None)
    failed : Signal(Exception)
    ended : Signal(bool)
        Whether the job came to its result.
    """

    started = Signal(str)
    progressed = Signal(Progress, object)
    failed = Signal(Exception)
    ended = Signal(bool)

    def __init__(self) -> None:
        self._worker: GeneratorWorker[Any, Any, Any] | None = None
        self._cancelled = False
        self._clock = (0, 0.0)  # the total that is being counted, and when its first unit began
        self.title = ""

    @property
    def is_busy(self) -> bool:
        """Whether a job is under way; a cancelled one is, until it has let go."""
        return self._worker is not None

    @property
    def was_cancelled(self) -> bool:
        """Whether the last job was asked to stop."""
        return self._cancelled

    def start(self, job: Job[T], *, title: str, on_result: Callable[[T], None]) -> bool:
        """Run `job` in the background and hand its result to `on_result`; False if one is under way."""
        if self.is_busy:
            job.close()
            return False
        self.title, self._cancelled, self._clock = title, False, (0, 0.0)
        box: list[Job[T]] = [job]
        succeeded: list[bool] = []

        def shielded() -> Generator[Progress, None, T]:
            try:
                return (yield from box[0])
            except RuntimeError as error:
                raise JobFailedError(str(error)) from error

        def on_returned(result: T) -> None:
            if not self._cancelled:
                succeeded.append(True)
                self._deliver(on_result, result)

        def on_finished() -> None:
            self._worker = None
            self._close(box.pop())
            self.ended.emit(bool(succeeded))

        worker = create_worker(shielded, _start_thread=False, _ignore_errors=True)
        worker.yielded.connect(self._on_yielded)
        worker.returned.connect(on_returned)
        worker.errored.connect(self._on_error)
        worker.warned.connect(lambda warning: _log.info("%s: %s", title, warning[0]))
        worker.finished.connect(lambda *_: on_finished())
        self._worker = worker
        self.started.emit(title)
        worker.start()
        return True

    def cancel(self) -> None:
        """Ask the job under way to stop at its next step; nothing of its result is used."""
        if self._worker is not None:
            self._cancelled = True
            self._worker.quit()

    def when_ended(self, slot: Callable[[bool], None]) -> None:
        """Call `slot` once, when the job under way has ended; it may start another one."""

        def once(succeeded: bool) -> None:
            self.ended.disconnect(once)
            slot(succeeded)

        self.ended.connect(once)

    def _on_yielded(self, progress: Progress) -> None:
        if self._cancelled:
            return
        total, since = self._clock
        if progress.total != total or progress.done == 0:
            since = time.monotonic()
            self._clock = (progress.total, since)
        elapsed = time.monotonic() - since
        self.progressed.emit(progress, seconds_left(progress, elapsed) if elapsed > 1 else None)

    def _on_error(self, error: Exception) -> None:
        if not self._cancelled:
            self.failed.emit(error)

    def _deliver(self, on_result: Callable[[T], None], result: T) -> None:
        try:
            on_result(result)
        except Exception as error:  # noqa: BLE001  # shown to the user; an exception in a slot would end Qt
            self.failed.emit(error)

    def _close(self, job: Job[Any]) -> None:
        try:
            job.close()
        except Exception:  # noqa: BLE001  # the job is over; its thread and the window go on
            _log.exception("A cancelled job failed while it cleaned up.")
