"""A network on a device, which steps down instead of failing when memory runs out."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from napari_cardioseg.models import SegmentationNetwork
from napari_cardioseg.predict.device import choose_device
from napari_cardioseg.predict.infer import View, batches, probabilities

# Pixels in a batch: on a CPU few, so that a Cancel is heard within a second; on a GPU as many as a part
# of its free memory holds, at the bytes that the first levels of a U-Net keep for a pixel.
_CPU_PIXELS = 4 * 256 * 256
_GPU_BYTES_PER_PIXEL = 1500
_GPU_SHARE = 0.4
_LARGEST_BATCH = 64 * 256 * 256


class Engine:
    """Computes probabilities with one network, remembering by how much it had to step down.

    Parameters
    ----------
    network : SegmentationNetwork
        Left as it is: the engine works on a copy on its device.
    device : str
        "auto", "cpu", "cuda" or "mps".
    batch_size : int, optional
        Images computed at once; chosen from the memory by default.

    Raises
    ------
    ConfigError
        If this machine does not have the device.
    """

    def __init__(
        self, network: SegmentationNetwork, device: str = "auto", batch_size: int | None = None
    ) -> None:
        self.device = choose_device(device)
        self._network = copy.deepcopy(network).to(self.device)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's stubs
        self._batch_size = batch_size
        self._notes: list[str] = []

    def take_notes(self) -> tuple[str, ...]:
        """Give the sentences about stepping down since the last call."""
        notes, self._notes = tuple(self._notes), []
        return notes

    def batch_size(self, pixels: int) -> int:
        """Choose how many images of `pixels` pixels to compute at once."""
        if self._batch_size is not None:
            return self._batch_size
        budget = _CPU_PIXELS
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            budget = min(int(free * _GPU_SHARE) // _GPU_BYTES_PER_PIXEL, _LARGEST_BATCH)
        return max(budget // pixels, 1)

    def probabilities(self, images: Tensor, views: tuple[View, ...]) -> Tensor:
        """Compute class probabilities of a batch, in smaller pieces or on the CPU if memory runs out.

        Parameters
        ----------
        images : (batch, y, x) float32 tensor
            Normalised images, on the CPU.
        views : tuple of View
            See `infer.probabilities`.

        Returns
        -------
        (batch, classes, y, x) float32 tensor
            On the CPU.
        """
        while True:
            size = min(self.batch_size(images[0].numel() * len(views)), len(images))
            try:
                parts = [
                    probabilities(self._network, images[part].to(self.device), views).cpu()
                    for part in batches(len(images), size)
                ]
            except RuntimeError as error:  # torch.OutOfMemoryError is one
                if not _is_out_of_memory(error):
                    raise
                self._step_down(size, error)
            else:
                return torch.cat(parts)

    def _step_down(self, size: int, error: RuntimeError) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if size > 1:
            self._batch_size = size // 2
            self._notes.append(
                f"Memory ran out on {self.device.type} with {size} slices at once; going on with {size // 2}."
            )
        elif self.device.type != "cpu":
            self._notes.append(
                f"Memory of {self.device.type} does not hold one slice; going on on the CPU, more slowly."
            )
            self.device = torch.device("cpu")
            self._network = self._network.to(self.device)
            self._batch_size = None
        else:
            raise MemoryError(
                "This machine's memory does not hold one slice; close other programs."
            ) from error


def _is_out_of_memory(error: RuntimeError) -> bool:
    # CUDA has a class of its own; its libraries, MPS and the CPU's allocator say it in words only.
    words = ("out of memory", "can't allocate memory", "not enough memory", "status_alloc_failed")
    return isinstance(error, torch.OutOfMemoryError) or any(w in str(error).lower() for w in words)
