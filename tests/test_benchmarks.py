"""What the comparisons of networks share, without training any."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from benchmarks import architectures, architectures_page, costs, thesis, thesis_page
from benchmarks.learning import Deadline, Notebook, measure_all, settings_of
from benchmarks.systems import SYSTEMS

from napari_cardioseg.domain import ConfigError
from napari_cardioseg.models import build_network, network_names
from napari_cardioseg.train import TrainConfig

OPTIONS = argparse.Namespace(profile="cpu", steps=None, batch=None, crop=None)


def scores(dice: float, n_slices: int = 4) -> dict[str, Any]:
    return {
        "dice_slice_mean": dice,
        "dice_volume_mean": dice,
        "hd95_mm_slice_mean": 4.25,
        "failures": 1,
        "n_slices": n_slices,
        "n_missed": 1,
        "against_rest": {"mean_iou": 0.625, "iou": 0.375, "dice": 0.5, "n_frames": n_slices},
    }


def result(dice: float, cpu_ms: float) -> dict[str, Any]:
    return {
        "training_seconds": 90.0,
        "costs": {
            "parameters": 2_500_000,
            "gflops": 3.25,
            "cpu_ms": cpu_ms,
            "inference_mib": 50.0,
            "training_mib": None,
        },
        "classes": {"lv": scores(dice), "myo": scores(dice)},
        "patients": {"P1": {"lv": {"dice_volume": dice}}},
    }


def test_every_system_of_the_comparison_is_known_and_is_built() -> None:
    # FC-DenseNets, FCNs and so on; an ensemble is no system of its own.
    assert set(SYSTEMS) == set(network_names()) - {"ensemble"}
    for system in SYSTEMS.values():
        network = build_network(system.network("cpu"))
        assert network.classes == 3
        assert costs.parameters(network) < 12_000_000, system.title  # two cores have to train it
        assert system.gpu["name"] == system.cpu["name"]


def test_operations_are_counted_two_for_each_multiply_add() -> None:
    network = build_network({"name": "unet", "widths": [2, 3], "classes": 2})
    # (multiply-adds of a 3 x 3 convolution at full size and at half of it, 2 x 2 upsampling, 1 x 1 head)
    full, half = 9 * (1 * 2 + 2 * 2 + 4 * 2 + 2 * 2), 9 * (2 * 3 + 3 * 3)
    expected = 2 * (64 * full + 16 * half + 16 * 4 * 3 * 2 + 64 * 2 * 2)
    assert costs.gflops(network, side=8) == pytest.approx(expected / 1e9)


def test_settings_tell_another_recipe_from_this_one(tmp_path: Path) -> None:
    config = thesis.configured("deeplabv3", argparse.Namespace(profile="cpu", steps=300))
    assert (config.optimiser.steps, config.optimiser.hold, config.optimiser.batch) == (300, 129, 2)
    recipe = tmp_path / "thesis.toml"
    recipe.write_text('recipe = "feilles2018"\n')
    settings = settings_of(config, recipe)
    assert settings["crop"] == 225
    recipe.write_text('recipe = "feilles2018"\n[data]\nfully_labelled_share = 0.5\n')
    assert settings_of(config, recipe) != settings
    recipe.write_text('recipe = "feilles2018"\n')
    assert settings_of(replace(config, recipe="unet2015"), recipe) != settings


def test_what_is_known_is_not_made_again_and_a_failure_leaves_the_others_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = []

    def measure(config: TrainConfig, _: Deadline) -> dict[str, Any] | None:
        made.append(config.network["name"])
        if config.network["name"] == "fcn16s":
            raise ConfigError("no number")
        return None if config.network["name"] == "unet" else {"found": 1}

    configs = [architectures.configured(n, OPTIONS) for n in ("fcn32s", "fcn16s", "fcn8s", "unet", "gcn")]
    runs = [(str(c.network["name"]), c, {"network": dict(c.network)}) for c in configs]
    path = tmp_path / "results.json"
    measure_all(runs, Notebook(path), Deadline(None), measure)
    assert made == ["fcn32s", "fcn16s", "fcn8s", "unet"]  # the deadline came, so no more is begun
    assert "failed: no number" in capsys.readouterr().out
    measure_all(runs, Notebook(path), Deadline(0), measure)
    assert len(made) == 4
    assert set(json.loads(path.read_text())["entries"]) == {"fcn32s", "fcn8s"}
    other = [(name, config, {"network": "other"}) for name, config, _ in runs[:1]]
    measure_all(other, Notebook(path), Deadline(None), measure)
    assert made[4:] == ["fcn32s"]


def test_the_page_ranks_by_volumes_and_names_what_is_missing(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path / "results.json")
    for name, dice, cpu_ms in (("segnet", 0.75, 9.0), ("unet", 0.905, 30.0), ("gcn", 0.9, 20.0)):
        config = architectures.configured(name, OPTIONS)
        notebook.write(name, settings_of(config, architectures._CONFIG), result(dice, cpu_ms))
    text = architectures_page.page([notebook.entries])
    rows = [line for line in text.splitlines() if line.startswith("| ") and "4.2 | 1 of 4" in line]
    assert [row.split(" | ")[0] for row in rows] == ["| U-Net", "| GCN", "| SegNet"]
    assert "**U-Net** has the best volumes (mean Dice of both 0.905)" in text
    assert "GCN is the fastest on a CPU" in text
    assert "1000 steps of 8 crops of 128 x 128 pixels" in text
    assert "Not measured yet: FCN-32s;" in text


def test_the_thesis_tables_have_a_dash_where_nothing_was_measured(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path / "results.json")
    config = thesis.configured("deeplabv3", argparse.Namespace(profile="cpu", steps=None))
    settings = {**settings_of(config, thesis._CONFIG), "resize": config.preprocessing.resize}
    notebook.write("deeplabv3", settings, {"kept_step": 429, **result(0.6, 1.0)})
    text = thesis_page.page(notebook.entries, {})
    assert "| Dice, myocardium (class 0) | 0.63 | 0.50 | - |" in text
    assert "| IoU, myocardium (class 0) | 0.39 | - | - |" in text
    assert "of frames resized to 257, of which that after step 429 was kept; 2 minutes on" in text
