"""Two processes, started as `torchrun` does, learn what one learns from the same batches."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from napari_cardioseg.domain import ConfigError, drain
from napari_cardioseg.io.frames import read_frames
from napari_cardioseg.store.models import read_model
from napari_cardioseg.train import load_config, train
from napari_cardioseg.train.distributed import World

# Everything that could tell two shares from one batch: batch normalisation, a Dice over the whole batch,
# classes unknown on some frames, accumulated gradients, gradients cut to a norm.
RUN = """
name = "tiny"
device = "cpu"
output = "{output}"
[data]
frames = "frames"
validation = ["C"]
[network]
name = "unet"
widths = [4, 8]
[loss]
per_frame = false
[optimiser]
steps = 5
batch = 4
crop = 32
accumulate = 2
warm_up = 0
method = "sgd"  # AdamW would make much of gradients that are zero but for rounding
learning_rate = 0.05
weight_decay = 1e-4
average = 0.5
gradient_norm = 0.5
precision = "fp32"
validate_every = 5
[augmentation]
shift = 6
"""


def test_two_processes_learn_what_one_learns(frames_folder):
    folder = frames_folder.parent
    for name in ("one", "two"):
        (folder / f"{name}.toml").write_text(RUN.format(output=name))
    one = load_config(folder / "one.toml")
    alone = drain(train(one, read_frames(one.data.frames)))
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = ["-m", "napari_cardioseg.cli", "train", str(folder / "two.toml")]
    ran = subprocess.run(
        [sys.executable, *launch, *command],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    (line,) = ran.stdout.splitlines()  # of the first process alone
    assert line.startswith(
        f"{folder / 'two' / 'tiny.safetensors'}: trained on 8 frames; step 5, Dice by slice"
    )
    together = read_model(folder / "two" / "tiny.safetensors")
    for name, value in read_model(alone.path).weights.items():
        np.testing.assert_allclose(
            together.weights[name].astype(float), value.astype(float), atol=1e-3, err_msg=name
        )
    ours, theirs = alone.card.metrics["validation"], together.card.metrics["validation"]
    assert theirs["loss"] == pytest.approx(ours["loss"], abs=1e-5)
    # After five steps most pixels are near even, and rounding turns some of them over.
    assert theirs["score"] == pytest.approx(ours["score"], abs=0.03)
    assert "Warning" not in ran.stderr


def test_a_batch_is_shared_evenly_or_not_at_all():
    assert [list(World(rank, 2).share(4)) for rank in (0, 1)] == [[0, 1], [2, 3]]
    with pytest.raises(ConfigError, match="multiple of 3"):
        World(0, 3).share(4)
