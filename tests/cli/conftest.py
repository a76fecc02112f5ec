"""A small study and a small model, for the commands to work on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from napari_cardioseg.domain import ModelCard, Preprocessing
from napari_cardioseg.io.phantom import Phantom, make_phantom
from napari_cardioseg.io.phantom_dicom import write_phantom_dicom


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt, here and in processes started here, even in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def small_phantom() -> Phantom:
    """Make a cine of 4 phases x 6 slices of 128 x 128 pixels."""
    return make_phantom(n_phases=4, n_slices=6, matrix=(128, 128), pixel_mm=2.4)


@pytest.fixture(scope="session")
def study(small_phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write that cine as DICOM files; the tests only read them."""
    folder = tmp_path_factory.mktemp("study")
    write_phantom_dicom(folder / "cine", small_phantom, suffix="")
    return folder


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a U-Net with chance weights that favour the cavity, so that it always finds some."""
    import torch

    from napari_cardioseg.models import build_network
    from napari_cardioseg.store.models import ModelFile, write_model

    torch.manual_seed(0)
    network = {"name": "unet", "classes": 3, "widths": [4, 8]}
    weights = build_network(network).state_dict()
    card = ModelCard("untrained", network, preprocessing=Preprocessing(spacing=None))
    path = tmp_path_factory.mktemp("model") / "untrained.safetensors"
    write_model(path, ModelFile(card, {name: value.numpy() for name, value in weights.items()}))
    return path
