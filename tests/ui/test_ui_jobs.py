"""The bridge from core generators to the thread pool: every way out of a job."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from unittest.mock import Mock

import pytest
from pytestqt.qtbot import QtBot

from napari_cardioseg.domain import DataError, Job, Progress
from napari_cardioseg.ui.jobs import JobFailedError, JobRunner

pytestmark = pytest.mark.gui


@pytest.fixture
def heard() -> Mock:
    return Mock()


@pytest.fixture
def runner(heard: Mock, qtbot: QtBot) -> Iterator[JobRunner]:
    runner = JobRunner()
    runner.progressed.connect(heard.progressed)
    runner.failed.connect(heard.failed)
    runner.ended.connect(heard.ended)
    yield runner
    runner.cancel()
    qtbot.waitUntil(lambda: not runner.is_busy)


def wait(qtbot: QtBot, heard: Mock) -> None:
    qtbot.waitUntil(lambda: heard.ended.called, timeout=5000)


def counting(cleaned: list[bool], threads: list[int]) -> Job[str]:
    try:
        for i in range(3):
            threads.append(threading.get_ident())
            yield Progress(i, 3)
        return "result"
    finally:
        cleaned.append(True)


def test_a_result_arrives_in_the_windows_thread(runner: JobRunner, heard: Mock, qtbot: QtBot) -> None:
    cleaned: list[bool] = []
    threads: list[int] = []
    arrived: list[tuple[str, int]] = []
    runner.start(
        counting(cleaned, threads),
        title="count",
        on_result=lambda r: arrived.append((r, threading.get_ident())),
    )
    wait(qtbot, heard)
    assert arrived == [("result", threading.get_ident())]
    assert threading.get_ident() not in threads
    assert [call.args[0].done for call in heard.progressed.call_args_list] == [0, 1, 2]
    heard.ended.assert_called_once_with(True)
    assert cleaned


@pytest.mark.parametrize("error", [DataError("The file is damaged."), RuntimeError("out of memory")])
def test_every_error_is_told_even_a_runtime_error(
    error: Exception, runner: JobRunner, heard: Mock, qtbot: QtBot
) -> None:
    def failing() -> Job[None]:
        yield Progress(0, 1)
        raise error

    runner.start(failing(), title="fail", on_result=heard.result)
    wait(qtbot, heard)
    told = heard.failed.call_args.args[0]
    assert str(told) == str(error)
    assert isinstance(told, DataError | JobFailedError)
    heard.ended.assert_called_once_with(False)
    heard.result.assert_not_called()
    assert not runner.is_busy


def test_an_error_while_the_result_is_used_is_told_too(runner: JobRunner, heard: Mock, qtbot: QtBot) -> None:
    runner.start(counting([], []), title="use", on_result=Mock(side_effect=ValueError("no room")))
    wait(qtbot, heard)
    assert isinstance(heard.failed.call_args.args[0], ValueError)


def test_cancelling_runs_the_cleaning_up_and_uses_no_result(
    runner: JobRunner, heard: Mock, qtbot: QtBot
) -> None:
    cleaned: list[bool] = []

    def endless() -> Job[str]:
        try:
            while True:
                yield Progress(0, 0)
        finally:
            cleaned.append(True)

    runner.start(endless(), title="for ever", on_result=heard.result)
    qtbot.waitUntil(lambda: heard.progressed.called)
    runner.cancel()
    assert runner.was_cancelled
    wait(qtbot, heard)
    assert cleaned
    heard.result.assert_not_called()
    heard.failed.assert_not_called()
    heard.ended.assert_called_once_with(False)


def test_a_job_cancelled_before_its_first_step_ends_like_any_other(
    runner: JobRunner, heard: Mock, qtbot: QtBot
) -> None:
    runner.start(counting([], []), title="never", on_result=heard.result)
    runner.cancel()
    wait(qtbot, heard)
    heard.result.assert_not_called()


def test_a_second_job_is_refused_while_one_runs(runner: JobRunner, heard: Mock, qtbot: QtBot) -> None:
    gate = threading.Event()

    def waiting() -> Job[None]:
        gate.wait(5)
        yield Progress(1, 1)

    assert runner.start(waiting(), title="first", on_result=heard.first)
    assert not runner.start(counting([], []), title="second", on_result=heard.second)
    gate.set()
    wait(qtbot, heard)
    heard.first.assert_called_once_with(None)
    heard.second.assert_not_called()
