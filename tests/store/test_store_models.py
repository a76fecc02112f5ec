import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from napari_cardioseg.domain import LV_SCHEME, ModelCard, ModelError, Preprocessing
from napari_cardioseg.store.models import ModelFile, find_model, read_card, read_model, write_model


@pytest.fixture
def model():
    card = ModelCard(
        "mine",
        {"name": "unet", "widths": [4, 8]},
        LV_SCHEME,
        Preprocessing(spacing=1.3),
        training={"patients": ["A", "B"]},
        metrics={"lv": 0.9},
        parent="theirs",
        description="A model.",
    )
    return ModelFile(card, {"a": np.arange(6, dtype=np.float16).reshape(2, 3), "n": np.array(3)})


def test_a_model_comes_back_as_it_was(model, tmp_path):
    path = tmp_path / "mine.safetensors"
    write_model(path, model)
    assert read_card(path) == model.card
    again = read_model(path)
    assert again.card == model.card
    assert again.weights.keys() == model.weights.keys()
    for name, value in model.weights.items():
        np.testing.assert_array_equal(again.weights[name], value)
        assert again.weights[name].dtype == value.dtype
    assert list(tmp_path.iterdir()) == [path]


def test_every_way_of_preprocessing_comes_back_and_old_cards_get_the_defaults(model, tmp_path):
    path = tmp_path / "mine.safetensors"
    how = Preprocessing(method="nyul", scope="volume", landmarks=tuple(range(11)), resize=(513, 513))
    write_model(path, replace(model, card=replace(model.card, preprocessing=how)))
    assert read_card(path).preprocessing == how
    with safe_open(path, framework="numpy") as opened:
        card = json.loads(opened.metadata()["card"])
    card["preprocessing"] = {"spacing": 1.33, "low_percentile": 0.5, "high_percentile": 99.5}
    save_file({"a": np.zeros(3)}, path, {"card": json.dumps(card)})
    assert read_card(path).preprocessing == Preprocessing(spacing=1.33)


def test_a_missing_model_is_named_with_those_there_are():
    with pytest.raises(ModelError, match="no model called 'nobody'"):
        find_model("nobody")


def test_damaged_foreign_and_pickled_files_are_refused(model, tmp_path):
    whole = tmp_path / "whole.safetensors"
    write_model(whole, model)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole.read_bytes()[:-5])
    with pytest.raises(ModelError, match="damaged"):
        read_model(cut)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": np.zeros(3)}, foreign)
    with pytest.raises(ModelError, match="another program's"):
        read_model(foreign)
    pickled = tmp_path / "evil.pt"
    pickled.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ModelError, match="not a model file"):
        read_model(pickled)


def test_a_newer_format_asks_for_an_update(tmp_path):
    path = tmp_path / "new.safetensors"
    card = {"format": "napari-cardioseg model", "version": 99}
    save_file({"a": np.zeros(3)}, path, {"card": json.dumps(card)})
    with pytest.raises(ModelError, match="newer version"):
        read_model(path)


def test_a_folder_that_cannot_be_written_is_said_in_a_sentence(model, tmp_path):
    with pytest.raises(ModelError, match="could not be written"):
        write_model(tmp_path / "nowhere" / "mine.safetensors", model)
