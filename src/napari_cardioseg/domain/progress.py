"""The contract of long work: generators that yield `Progress` and return their result."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """How far a job has come.

    Parameters
    ----------
    done, total : int
        Units finished and in all; a total of 0 means that the end is not known.
    message : str
        What is being done now.
    note : str
        Something the user should read even after the job (a fallback to a slower way, say).
    """

    done: int
    total: int
    message: str = ""
    note: str = ""


Job = Generator[Progress, None, T]
"""Long work: yields `Progress` often (per batch), returns its result; closing it cancels it."""


def drain(job: Job[T], on_progress: Callable[[Progress], None] | None = None) -> T:
    """Run a job to its end in this thread and give its result."""
    while True:
        try:
            progress = next(job)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # a generator's return value is untyped here
        if on_progress is not None:
            on_progress(progress)


def retold(job: Job[T], tell: Callable[[Progress], Progress]) -> Job[T]:
    """Run a job within another one, which tells of its progress in its own way."""
    try:
        while True:
            try:
                progress = next(job)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # a generator's return value is untyped here
            yield tell(progress)
    finally:
        job.close()


def as_part(job: Job[T], index: int, parts: int, message: str = "") -> Job[T]:
    """Run a job as the part `index` (from 0) of `parts` of about one length, and give its result.

    Parameters
    ----------
    job : Job
        The part.
    index, parts : int
        Its place.
    message : str
        Put before the job's own message.
    """
    whole = 1000

    def tell(progress: Progress) -> Progress:
        done = min(whole * progress.done // max(progress.total, 1), whole)
        text = ", ".join(words for words in (message, progress.message) if words)
        return Progress(whole * index + done, whole * parts, text, progress.note)

    return retold(job, tell)


def seconds_left(progress: Progress, elapsed: float) -> float | None:
    """Estimate the seconds a job still needs from the `elapsed` seconds so far; None when unknown."""
    if progress.total <= 0 or progress.done <= 0:
        return None
    return elapsed / progress.done * max(progress.total - progress.done, 0)
