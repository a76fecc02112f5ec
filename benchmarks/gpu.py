"""How fast the shipped models are on an accelerator, and what share of what it could do they use.

Frames a second of the networks as prediction calls them (class probabilities of normalised images that are on
the device already; convolutions in bfloat16), for batches from 1 to 256 at 256 x 256, whole frames, and
128 x 128, the square around the heart. The ceiling is what the device reaches in bfloat16 on the product of
two matrices of 8192 x 8192, measured here; the share is the networks' operations against it.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch

from benchmarks import costs
from benchmarks.harness import Report, Sample, main, say
from napari_cardioseg.models import SegmentationNetwork
from napari_cardioseg.predict import Model
from napari_cardioseg.predict.device import available_devices
from napari_cardioseg.predict.infer import probabilities
from napari_cardioseg.store.models import list_models, read_model

_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_SIDES = (256, 128)


def run(report: Report, options: argparse.Namespace) -> None:
    """Measure the ceiling, then each model at each size and batch."""
    if options.device.partition(":")[0] not in available_devices():
        say("skipped", f"this machine has no {options.device}; what it would reach cannot be measured here")
        raise SystemExit(0)
    device = torch.device(options.device)
    report.fact("device", _name(device))
    ceiling = matmul_ceiling(report, device, options.ceiling_side)
    for name in options.models or [entry.name for entry in list_models()]:
        file = read_model(name)
        network = Model.build(file.card, file.weights).network.to(device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's stubs
        report.fact(f"{file.card.name}: parameters", costs.parameters(network))
        for side in options.sides:
            operations = 1e9 * costs.gflops(network, side=side)
            report.fact(f"{file.card.name}, {side} x {side}: GFLOPs a frame", round(operations / 1e9, 3))
            for batch in options.batches:
                case = f"{file.card.name}, {side} x {side}, batch {batch}"
                sample = frames_a_second(report, case, network, batch, side)
                share = sample.median * operations / ceiling
                report.fact(f"{case}: share of the ceiling", round(share, 5))


def matmul_ceiling(report: Report, device: torch.device, side: int) -> float:
    """Measure the operations a second of a bfloat16 product of two square matrices."""
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = costs.timed(lambda: a @ b, device, 4 * report.repeats)
    teraflops = [2e-12 * side**3 / s for s in seconds]
    name = f"bfloat16 product of two {side} x {side} matrices"
    return 1e12 * report.record(name, teraflops, unit="TFLOP/s").median


def frames_a_second(report: Report, case: str, network: SegmentationNetwork, batch: int, side: int) -> Sample:
    """Time batches of frames; small ones are run more often, so that each measurement takes a while."""
    device = next(network.parameters()).device
    images = torch.randn(batch, side, side, device=device)
    rounds = max(1, 16 // batch) if device.type == "cuda" else 1

    def several() -> None:
        for _ in range(rounds):
            probabilities(network, images)

    seconds = costs.timed(several, device, report.repeats)
    return report.record(case, [rounds * batch / s for s in seconds], unit="frames/s")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Let device, models and sizes be chosen."""
    parser.add_argument("--device", default="cuda", help="where to compute (default: cuda)")
    parser.add_argument(
        "--models", nargs="+", metavar="MODEL", help="names or files (default: those shipped)"
    )
    parser.add_argument("--sides", nargs="+", type=int, default=_SIDES, help="sides of the images in pixels")
    parser.add_argument("--batches", nargs="+", type=int, default=_BATCHES, help="images in a batch")
    parser.add_argument("--ceiling-side", type=int, default=8192, help="side of the matrices of the ceiling")


def _name(device: torch.device) -> dict[str, Any]:
    cuda = device.type == "cuda"
    return {
        "name": torch.cuda.get_device_name(device) if cuda else str(device),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if cuda else None,
    }


if __name__ == "__main__":
    main(run, __doc__, add_options)
