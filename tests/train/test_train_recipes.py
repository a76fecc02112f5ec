"""Recipes, and what is laid over them."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_cardioseg.cli import main
from napari_cardioseg.domain import ConfigError
from napari_cardioseg.train import load_config
from napari_cardioseg.train.recipes import find_recipe, laid_over, list_recipes

NAMES = ["cardioseg", "deeplabv3", "feilles2018", "unet2015"]
ENOUGH = ("--recipe", "cardioseg", "--frames", "f", "-o", "o")
CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def from_recipe(name, **changes):
    return load_config(changes={"name": "n", "recipe": name, **laid_over({"data": {"frames": "f"}}, changes)})


def test_every_recipe_makes_a_run_and_states_its_source():
    assert [recipe.name for recipe in list_recipes()] == NAMES
    for recipe in list_recipes():
        config = from_recipe(recipe.name)
        assert config.recipe == recipe.name
        assert len(recipe.source) > 20
        assert config.description
    with pytest.raises(ConfigError, match="no recipe called 'unet'; there are cardioseg"):
        find_recipe("unet")


def test_feilles2018_says_what_the_thesis_says():
    config = from_recipe("feilles2018")
    assert config.preprocessing.resize == (513, 513)
    assert [c.key for c in config.data.scheme()] == ["myo"]
    assert config.loss.class_weights == (0.05, 0.95)
    assert (config.loss.cross_entropy, config.loss.dice) == (1, 0)
    how = config.optimiser
    assert (how.method, how.learning_rate, how.batch, how.crop) == ("sgd", 2.5e-4, 2, 450)
    assert (how.schedule, how.power, how.hold, how.steps - how.hold) == ("poly", 0.9, 15000, 20000)


def test_deeplabv3_and_unet2015_say_what_their_papers_say():
    config = from_recipe("deeplabv3")
    how = config.optimiser
    assert (how.learning_rate, how.schedule, how.power) == (0.007, "poly", 0.9)
    assert (how.batch, how.crop, how.steps) == (16, 513, 30000)
    assert (config.augmentation.scale, config.augmentation.mirror) == (2.0, 0.5)
    assert config.network["output_stride"] == 16
    config = from_recipe("unet2015")
    assert (config.optimiser.momentum, config.optimiser.batch) == (0.99, 1)
    assert (config.loss.border, config.loss.border_sigma) == (10, 5)
    assert config.augmentation.elastic == 10
    assert config.network["widths"] == [64, 128, 256, 512, 1024]


def test_a_file_is_laid_over_its_recipe(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(
        'name = "n"\nrecipe = "unet2015"\n'
        '[data]\nframes = "frames"\n[optimiser]\nsteps = 7\n[network]\nwidths = [8, 16]\n'
    )
    config = load_config(path)
    assert (config.optimiser.steps, config.optimiser.momentum) == (7, 0.99)
    assert config.network == {"name": "unet", "widths": [8, 16]}
    assert config.data.frames == str(tmp_path / "frames")
    other = load_config(path, {"network": {"name": "segnet"}, "optimiser": {"steps": 9}})
    assert other.network == {"name": "segnet"}  # a U-Net's widths are not a SegNet's
    assert (other.optimiser.steps, other.optimiser.momentum) == (9, 0.99)


def test_every_configuration_of_the_repository_is_understood():
    files = sorted(CONFIGS.glob("*.toml"))
    assert files
    for file in files:
        assert load_config(file).name


def test_the_shell_lists_recipes_and_needs_no_file(monkeypatch, capsys, tmp_path):
    assert main(["train", "--recipes"]) == 0
    shown = capsys.readouterr().out
    assert all(f"{name}\n" in shown for name in NAMES)
    assert "Univ. de Franche-Comté" in shown

    asked = []
    monkeypatch.setattr("napari_cardioseg.cli.train._train", lambda config, resume: asked.append(config))
    monkeypatch.chdir(tmp_path)
    options = ["--recipe", "cardioseg", "--network", "segnet", "--frames", "frames", "-o", "runs/mine"]
    settings = ["--set", "optimiser.steps=9", "run.tensorboard=true", "device=cpu", "--validation", "A,B"]
    assert main(["train", *options, *settings]) == 0
    (config,) = asked
    assert (config.name, config.output) == ("mine", tmp_path / "runs" / "mine")
    assert config.data.frames == str(tmp_path / "frames")
    assert config.data.validation == ("A", "B")
    assert config.preprocessing.spacing == find_recipe("cardioseg").content["preprocessing"]["spacing"]
    assert config.network == {"name": "segnet"}
    assert (config.optimiser.steps, config.device, config.run.tensorboard) == (9, "cpu", True)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--recipe", "cardioseg"], "all of --recipe, --frames and -o"),
        ([*ENOUGH, "--set", "speed"], "wants KEY=VALUE"),
        ([*ENOUGH, "--set", "speed=1"], "speed, which is not known"),
        ([*ENOUGH, "--set", "loss=1"], "must be a section"),
    ],
)
def test_slips_on_the_command_line_end_with_a_sentence(arguments, complaint, capsys):
    assert main(["train", *arguments]) == 1
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ({"optimiser": {"steps": "many"}}, r'\[optimiser\].*: steps must be a whole number, not "many"'),
        ({"optimiser": {"keep_best": "no"}}, "keep_best must be true or false"),
        ({"optimiser": {"learning_rate": float("nan")}}, "learning_rate must be a number"),
        ({"optimiser": {"seed": -1}}, "seed must be at least 0"),
        ({"optimiser": {"crop": 1}}, "at least 16"),
        ({"optimizer": {"steps": 3}}, "Perhaps optimiser is meant"),
        ({"loss": {"class_weights": ["a"]}}, "class_weights must be a list of numbers"),
        ({"data": {"validation": [1]}}, "validation must be a list of texts"),
        ({"data": {"frames": 3}}, "frames must be a text"),
        ({"preprocessing": {"spacing": 0.001}}, "0.001 mm shows no heart; give 0.1 to 10.0 mm.$"),
        ({"network": "unet"}, "network must be a section"),
        ({"network": {"channels": 3}}, "Leave channels out"),
        ({"network": {"classes": 5}}, "Leave classes out"),
        ({"name": 3}, "name must be a text"),
        ({"name": "a/b"}, "cannot be named"),
        ({"name": ""}, "cannot be named"),
        ({"output": 3}, "output must be a path"),
        ({"parent": 3}, "parent must be a text"),
        ({"recipe": ["unet2015"]}, "no recipe called"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_by_section_and_name(entries, complaint):
    with pytest.raises(ConfigError, match=complaint):
        load_config(changes=laid_over({"name": "n", "recipe": "cardioseg", "data": {"frames": "f"}}, entries))


def test_data_need_their_folder():
    with pytest.raises(ConfigError, match=r"\[data\].*has no 'frames'"):
        load_config(changes={"name": "n", "data": {}, "network": {"name": "unet"}})
