"""The program as a shell sees it: help, exit codes, and where its words go."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_cardioseg import __version__
from napari_cardioseg.cli import main
from napari_cardioseg.cli.program import COMMANDS, build_parser


def shell(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "napari_cardioseg.cli", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_version_and_help_go_to_stdout() -> None:
    version = shell("--version")
    assert (version.returncode, version.stdout) == (0, f"napari-cardioseg {__version__}\n")
    shown = shell("--help")
    assert shown.returncode == 0
    for command in ("open", "demo", "info", "segment", "evaluate", "train", "models"):
        assert f"\n    {command} " in shown.stdout
    assert "not a medical device" in shown.stdout


@pytest.mark.parametrize("command", ["open", "info", "segment", "evaluate", "train"])
def test_every_help_teaches_by_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert f"napari-cardioseg {command} " in capsys.readouterr().out.split("examples:")[1]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["sgement", "x"], "invalid choice: 'sgement'"),
        (["segment", "x"], "required: -o/--output"),
        (["segment", "x", "-o", "labels.png"], "does not end in .nii or .nii.gz"),
        (["segment", "x", "-o", "y.nii", "--phases", "first"], "neither all, ed-es nor"),
        (["segment", "x", "-o", "y.nii", "--phases", "-1"], "neither all, ed-es nor"),
        (["segment", "x", "-o", "y.nii", "--device", "abacus"], "invalid choice: 'abacus'"),
        (["evaluate"], "required: --frames"),
        (["evaluate", "--frames", "x", "--patients", ","], "names no patient"),
    ],
)
def test_wrong_usage_ends_with_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    shown = capsys.readouterr()
    assert complaint in shown.err
    assert shown.out == ""


def test_a_failure_ends_with_1_and_one_sentence(tmp_path: Path) -> None:
    ran = shell("info", str(tmp_path / "nowhere"))
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == f"napari-cardioseg: There is no file or folder {tmp_path / 'nowhere'}.\n"


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("napari_cardioseg.cli.models.run", interrupted)
    assert main(["models"]) == 130
    assert capsys.readouterr().err == "napari-cardioseg: cancelled.\n"


def test_full_memory_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_options: object) -> None:
        raise MemoryError

    monkeypatch.setattr("napari_cardioseg.cli.models.run", full)
    assert main(["models"]) == 1
    assert capsys.readouterr().err == "napari-cardioseg: The memory of this machine is full.\n"


@pytest.mark.skipif(os.name == "nt", reason="pipes break in another way on Windows")
def test_a_reader_that_leaves_early_causes_no_traceback(study: Path) -> None:
    command = f'"{sys.executable}" -m napari_cardioseg.cli info "{study}" --json | true'
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert ran.stderr == ""


def test_models_lists_names_that_segment_takes(capsys: pytest.CaptureFixture[str]) -> None:
    from napari_cardioseg.store.models import DEFAULT_MODEL

    assert main(["models"]) == 0
    assert f"{DEFAULT_MODEL} (default)" in capsys.readouterr().out


def test_each_command_sits_in_one_module() -> None:
    named = [module.__name__.rsplit(".", 1)[1] for module in COMMANDS]
    assert sorted(named) == ["evaluate", "info", "models", "segment", "train", "weights", "window"]
    assert build_parser().parse_args([]).run.__name__ == "run_open"


def test_a_stopped_training_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    def stopped(_job: object, _title: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("napari_cardioseg.cli.train.run_job", stopped)
    monkeypatch.setattr("napari_cardioseg.io.frames.read_frames", lambda _folder: [])
    run = ["train", "--recipe", "cardioseg", "--frames", "f", "-o", str(tmp_path)]
    assert main(run) == 130
    assert "cancelled." in capsys.readouterr().err  # before there was anything to go on from
    (tmp_path / "checkpoint.pt").touch()
    assert main(run) == 130
    assert f"the same command goes on from {tmp_path}." in capsys.readouterr().err
