"""What a run writes down: rows of a CSV file, and curves and pictures for TensorBoard where asked for."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cardioseg.domain import ConfigError, LabelledFrame, LabelScheme

LOG = "log.csv"
BOARD = "tensorboard"

_OPACITY = 0.55


class Journal:
    """The records of one run.

    Rows of steps that a resumed run does again are dropped first.

    Parameters
    ----------
    folder : Path
        Of the run; there lie `log.csv` and the folder `tensorboard`.
    scheme : LabelScheme
        Classes of the run, of whose validation there is a column each.
    step : int
        Steps that the run has already done.
    tensorboard : bool
        Write for TensorBoard, too.

    Raises
    ------
    ConfigError
        If TensorBoard is asked for and not installed.
    """

    def __init__(self, folder: Path, scheme: LabelScheme, step: int, *, tensorboard: bool = False) -> None:
        self._scheme = scheme
        self._columns = ["step", "learning_rate", "loss", "score"]
        for measure in ("dice", "failures"):
            self._columns += [f"{measure}_{c.key}" for c in scheme]
        # Before the log is touched, since TensorBoard may be missing.
        self._board = _open_board(folder / BOARD, step) if tensorboard else None
        rows = [row for row in _read_rows(folder / LOG) if int(row["step"]) <= step]
        self._file = (folder / LOG).open("w", newline="", encoding="utf-8")
        self._table = csv.DictWriter(self._file, self._columns, extrasaction="ignore")
        self._table.writeheader()
        self._table.writerows(rows)
        self._file.flush()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()

    def note(self, step: int, values: Mapping[str, Any]) -> None:
        """Write a row about a step.

        Parameters
        ----------
        step : int
            Steps done.
        values : mapping
            `learning_rate`, `loss` and `score`, and by class key `dice` and `failures`, each where known.
        """
        flat: dict[str, Any] = {}
        for name, value in values.items():
            by_class = value if isinstance(value, Mapping) else {}
            flat.update({f"{name}_{key}": v for key, v in by_class.items()} or {name: value})
        self._table.writerow({"step": step, **flat})
        self._file.flush()
        if self._board is not None:
            for name in self._columns[1:]:
                if name in flat:
                    self._board.add_scalar(name, flat[name], step)

    def show(
        self, step: int, frames: Sequence[LabelledFrame], found: Sequence[NDArray[np.uint8]], n: int
    ) -> None:
        """Draw up to `n` of the frames, evenly chosen, with what was found on them."""
        if self._board is None or not frames or not n:
            return
        for i in np.unique(np.linspace(0, len(frames) - 1, min(n, len(frames))).round().astype(int)):
            frame = frames[i]
            picture = draw(frame.image, frame.labels, found[i], self._scheme)
            self._board.add_image(f"{frame.patient} {frame.instance}", picture, step, dataformats="HWC")


def draw(
    image: NDArray[np.generic], truth: NDArray[np.uint8], found: NDArray[np.uint8], scheme: LabelScheme
) -> NDArray[np.uint8]:
    """Draw a frame as it is, with its labels, and with those found, side by side.

    Parameters
    ----------
    image : (y, x) array
        In any unit.
    truth, found : (y, x) uint8 arrays
        Class values.
    scheme : LabelScheme
        Their colours.

    Returns
    -------
    (y, 3 x, 3) uint8 array
        Red, green, blue.
    """
    pixels = image.astype(np.float64)
    low, high = np.percentile(pixels, (0.5, 99.5))
    grey = np.clip((pixels - low) / max(high - low, 1e-9), 0, 1)[..., None].repeat(3, 2)
    panels = [grey]
    for labels in (truth, found):
        panel = grey.copy()
        for c in scheme:
            where = labels == c.value
            panel[where] = (1 - _OPACITY) * panel[where] + _OPACITY * np.asarray(c.colour)
        panels.append(panel)
    return np.asarray((255 * np.concatenate(panels, axis=1)).round(), dtype=np.uint8)


def _read_rows(path: Path) -> list[dict[str, str]]:
    """Read the rows of an earlier part of the run; a last line that was cut short is left out."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        return [row for row in rows if (row.get("step") or "").isdigit() and None not in row.values()]


def _open_board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "TensorBoard is asked for, but it is not installed; run "
            '`pip install "napari-cardioseg[tensorboard]"`, or train without it.'
        ) from error
    return SummaryWriter(str(folder), purge_step=step + 1)
