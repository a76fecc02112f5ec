"""Where to compute, and in what precision."""

from __future__ import annotations

import contextlib

import torch

from napari_cardioseg.domain import ConfigError


def available_devices() -> tuple[str, ...]:
    """Give the devices of this machine, the fastest first; "cpu" is always among them."""
    found = []
    if torch.cuda.is_available():
        found.append("cuda")
    if torch.backends.mps.is_available():
        found.append("mps")
    return (*found, "cpu")


def choose_device(name: str = "auto") -> torch.device:
    """Give the device called `name`, or for "auto" the fastest one.

    Raises
    ------
    ConfigError
        If this machine does not have it.
    """
    devices = available_devices()
    try:
        device = torch.device(devices[0] if name == "auto" else name)
        known = device.type in devices
    except RuntimeError:  # torch's way to say that there is no such name
        known = False
    if not known or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        raise ConfigError(
            f"This machine has no device {name!r} that PyTorch can use; it has {', '.join(devices)}."
        )
    return device


def mixed_precision(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Compute convolutions in bfloat16 where the hardware has it, else in float32."""
    if device.type == "cuda":
        return torch.autocast("cuda", torch.bfloat16, enabled=torch.cuda.is_bf16_supported())
    if device.type == "cpu" and _cpu_has_bfloat16():
        return torch.autocast("cpu", torch.bfloat16)
    return contextlib.nullcontext()


def _cpu_has_bfloat16() -> bool:
    # Without the instructions bfloat16 is emulated, slower than float32. PyTorch has no public name for it.
    capabilities = getattr(torch.backends.cpu, "get_cpu_capability", lambda: "")()
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool("AVX512" in capabilities and probe is not None and probe())
