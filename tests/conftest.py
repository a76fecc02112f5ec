"""Fixtures that several rooms' tests share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def sunnybrook() -> Path:
    """Folder of the Sunnybrook development data; skips the test where it is absent."""
    folder = Path(
        os.environ.get("CARDIOSEG_SUNNYBROOK", REPOSITORY.parent / "shared" / "data" / "sunnybrook")
    )
    if not (folder / "frames" / "frames.csv").is_file():
        pytest.skip(
            f"The Sunnybrook development data are not at {folder}; set CARDIOSEG_SUNNYBROOK to their folder."
        )
    return folder


_outcome = pytest.StashKey[int]()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keep the outcome for `pytest_unconfigure`."""
    session.config.stash[_outcome] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave without the interpreter's own end.

    After a whole run it crashes, taking down what all tests have loaded into one process, which would turn
    a passed run into a failed one. Which library it is has not been found yet.
    """
    if _outcome in config.stash:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[_outcome])
