"""What a network costs: parameters, operations, time for a slice, peak memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from napari_cardioseg.models import SegmentationNetwork, build_network
from napari_cardioseg.predict.device import mixed_precision
from napari_cardioseg.predict.infer import probabilities

SIDE = 256
"""Side in pixels of the slice that operations, time and memory are given for."""

_MIB = 2**20


def parameters(network: SegmentationNetwork) -> int:
    """Count the weights that can be learnt."""
    return sum(p.numel() for p in network.parameters())


def gflops(network: SegmentationNetwork, *, side: int = SIDE, channels: int = 1) -> float:
    """Count 10^9 operations of convolutions and matrix products for one image, two for each multiply-add."""
    images = torch.zeros(1, channels, side, side, device=next(network.parameters()).device)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(images)
    return float(counter.get_total_flops()) / 1e9


def milliseconds(
    network: SegmentationNetwork, *, batch: int = 1, side: int = SIDE, repeats: int = 15
) -> list[float]:
    """Time what prediction does for each image of a batch; gives milliseconds an image, run by run."""
    device = next(network.parameters()).device
    network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's stubs
    images = torch.randn(batch, side, side, device=device)
    return [1e3 * s / batch for s in timed(lambda: probabilities(network, images), device, repeats)]


def timed(call: Callable[[], object], device: torch.device, repeats: int, warm_up: int = 2) -> list[float]:
    """Time a call several times in seconds, each until the device has finished."""
    seconds = []
    for i in range(warm_up + repeats):
        _finish(device)
        start = time.perf_counter()
        call()
        _finish(device)
        if i >= warm_up:
            seconds.append(time.perf_counter() - start)
    return seconds


def peak_memory(config: Mapping[str, Any], device: str, *, batch: int = 0, crop: int = SIDE) -> float | None:
    """Give the MiB at the peak of a forward pass over one slice, or of training steps on `batch` crops.

    On the CPU it is what a fresh process's resident memory grows by (None where the system does not tell),
    on CUDA what torch allocates; the network's weights are in it.
    """
    if device.startswith("cuda"):
        return _work(dict(config), device, batch, crop)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_work, dict(config), device, batch, crop).result()


def summary(config: Mapping[str, Any], device: str, *, batch: int, crop: int) -> dict[str, Any]:
    """Measure all of it for the network of `config`, trained on `batch` crops of `crop` pixels."""
    network = build_network(config)
    found: dict[str, Any] = {
        "parameters": parameters(network),
        "gflops": round(gflops(network), 3),
        "cpu_ms": round(statistics.median(milliseconds(network)), 2),
        "cpu_threads": torch.get_num_threads(),
        "inference_mib": _rounded(peak_memory(config, device)),
        "training_mib": _rounded(peak_memory(config, device, batch=batch, crop=crop)),
    }
    if device.startswith("cuda"):
        network.to(device)
        found["gpu_ms"] = round(statistics.median(milliseconds(network)), 3)
        found["gpu_ms_in_batch_of_32"] = round(statistics.median(milliseconds(network, batch=32)), 4)
        found["gpu"] = torch.cuda.get_device_name(device)
    return found


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _work(config: dict[str, Any], device: str, batch: int, crop: int) -> float | None:
    """Do what is to be measured, and tell by how much the peak rose."""
    cuda = device.startswith("cuda")
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
        before: float | None = torch.cuda.memory_allocated(device) / _MIB
    else:
        before = _peak_resident()
    network = build_network(config).to(device)
    if batch:
        _train_briefly(network, torch.randn(batch, 1, crop, crop, device=device))
    else:
        probabilities(network.eval(), torch.randn(1, crop, crop, device=device))
    after = torch.cuda.max_memory_allocated(device) / _MIB if cuda else _peak_resident()
    return None if before is None or after is None else after - before


def _train_briefly(network: SegmentationNetwork, images: torch.Tensor) -> None:
    target = torch.zeros(len(images), *images.shape[-2:], dtype=torch.long, device=images.device)
    optimiser = torch.optim.AdamW(network.train().parameters())
    for _ in range(2):  # the second step has the optimiser's moments in memory too
        with mixed_precision(images.device):
            outputs = network.training_outputs(images)
        loss = sum(w * torch.nn.functional.cross_entropy(x.float(), target) for w, x in outputs)
        optimiser.zero_grad(set_to_none=True)
        assert isinstance(loss, torch.Tensor)  # there is always the network's own output
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimiser.step()


def _peak_resident() -> float | None:
    """Give the largest resident memory of this process so far in MiB, where Linux tells it.

    `getrusage` would begin with the parent's peak, which a child inherits.
    """
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), None)
