"""Fixtures that several rooms' tests share."""

from __future__ import annotations

import os
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
