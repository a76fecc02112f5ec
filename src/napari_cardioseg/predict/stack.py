"""Frames of one heart as a network wants them: evened out, on its scale of intensities, on its grid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_cardioseg.domain import Job, Preprocessing, Progress
from napari_cardioseg.predict.bias_field import correct_bias
from napari_cardioseg.predict.intensity import Scale, measure
from napari_cardioseg.predict.preprocess import network_shape, resample
from napari_cardioseg.predict.region import Region

_CHUNK = 16  # whole frames on the network's grid held at once while a volume is measured


class Stack:
    """Frames of one patient, prepared when asked for.

    Parameters
    ----------
    frames : (n, y, x) array
        Images in any unit.
    volumes : (n,) int array, or None
        Which volume, all slices at one phase, each frame belongs to; by default all to one.
    pixel_size : (dy, dx) in mm, or None
        In-plane spacing where known.
    preprocessing : Preprocessing
        What the network wants.

    Attributes
    ----------
    native, shape : (y, x)
        Size of the frames in their own pixels and in those of the network's grid.
    """

    def __init__(
        self,
        frames: NDArray[np.generic],
        volumes: NDArray[np.intp] | None,
        pixel_size: tuple[float, float] | None,
        preprocessing: Preprocessing,
    ) -> None:
        self.native = (frames.shape[1], frames.shape[2])
        self.shape = network_shape(self.native, pixel_size, preprocessing)
        self._frames = frames
        self._preprocessing = preprocessing
        # Frames of one group are measured together.
        self._group = np.zeros(len(frames), dtype=np.intp)
        if preprocessing.scope == "slice":
            self._group = np.arange(len(frames))
        elif preprocessing.scope == "volume" and volumes is not None:
            self._group = volumes
        self._scales: dict[int, Scale] = {}
        self._near_scales: dict[tuple[int, ...], Scale] = {}

    def __len__(self) -> int:
        return len(self._frames)

    def correct_bias(self) -> Job[None]:
        """Even out the coil's sensitivity on every frame, where the network wants that."""
        if self._preprocessing.bias_correction == "none":
            return
        corrected = np.empty(self._frames.shape, dtype=np.float32)
        for i, frame in enumerate(self._frames):
            corrected[i] = correct_bias(frame)
            yield Progress(i + 1, len(self), "Evening out the brightness")
        self._frames = corrected

    def whole(self, which: NDArray[np.intp]) -> Tensor:
        """Give whole frames, float32 (n, y, x) on the network's grid, by their indices."""
        return resample(
            torch.from_numpy(self._scaled(which, self._frames[which], self._scale_of)), self.shape
        )

    def near(self, which: NDArray[np.intp], region: Region) -> Tensor:
        """Give a region of frames, on a scale of intensities that is measured in the region.

        The chest wall near the coil outshines a heart far from it: let the heart set its own contrast.
        """
        part = self._part(which, region)
        if self._preprocessing.scope == "slice":  # each part is all there is to measure
            scales = [measure([image], self._preprocessing) for image in part]
            return torch.from_numpy(np.stack([s.apply(p) for s, p in zip(scales, part, strict=True)]))
        return torch.from_numpy(self._scaled(which, part, lambda group: self._near_scale_of(group, region)))

    def _part(self, which: NDArray[np.intp], region: Region) -> NDArray[np.float32]:
        return np.asarray(self.whole(which)[:, region.rows, region.columns].numpy())

    def _scaled(
        self, which: NDArray[np.intp], images: NDArray[np.generic], scale_of: Callable[[int], Scale]
    ) -> NDArray[np.float32]:
        result = np.empty(images.shape, dtype=np.float32)
        for i, group in enumerate(self._group[which].tolist()):
            result[i] = scale_of(group).apply(images[i])
        return result

    def _scale_of(self, group: int) -> Scale:
        if group not in self._scales:
            members = self._frames[self._group == group]
            self._scales[group] = measure([members], self._preprocessing)
        return self._scales[group]

    def _near_scale_of(self, group: int, region: Region) -> Scale:
        key = (group, region.rows.start, region.columns.start, *region.shape)
        if key not in self._near_scales:
            members = np.flatnonzero(self._group == group)
            parts = np.split(members, range(_CHUNK, len(members), _CHUNK))
            self._near_scales[key] = measure([self._part(p, region) for p in parts], self._preprocessing)
        return self._near_scales[key]
