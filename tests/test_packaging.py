"""What is installed is what was written: napari finds the manifest from every kind of install."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
MANIFEST = "napari_cardioseg/napari.yaml"
SHIPPED = Path("napari_cardioseg", "store", "shipped")
MOST_WEIGHTS = 40e6
LEFT_OUT = (".git", ".venv*", "runs", "build", "dist", ".*_cache", "__pycache__", ".whl")
# What npe2 does with the entry point when napari starts, in a process that sees only this install.
FIND = (
    "from npe2 import PluginManifest; import napari_cardioseg, pathlib; "
    "m = PluginManifest.from_distribution('napari-cardioseg'); "
    "print(m.name, pathlib.Path(napari_cardioseg.__file__).parent)"
)


@dataclass(frozen=True)
class Built:
    """The distributions of one copy of the tree."""

    tree: Path
    sdist: Path
    wheel_from_sdist: Path
    wheel_from_tree: Path


def python(*args: str | Path, cwd: Path, path: str = "") -> str:
    """Run Python in `cwd` with only `path` ahead of the environment's own packages."""
    run = subprocess.run(
        [sys.executable, *map(str, args)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build everything from a copy that looks lived-in: installed editable, with runs lying about."""
    base = tmp_path_factory.mktemp("packaging")
    tree = base / "tree"
    shutil.copytree(REPOSITORY, tree, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
    link = tree / "src" / MANIFEST
    link.unlink(missing_ok=True)
    link.symlink_to(Path("..", "..", "napari.yaml"))
    (tree / "runs").mkdir()
    (tree / "runs" / "patient.png").write_bytes(b"not for others")
    python("-m", "build", "--no-isolation", "--outdir", base / "a", tree, cwd=base)
    python("-m", "build", "--no-isolation", "--wheel", "--outdir", base / "b", tree, cwd=base)
    (sdist,) = (base / "a").glob("*.tar.gz")
    (from_sdist,) = (base / "a").glob("*.whl")
    (from_tree,) = (base / "b").glob("*.whl")
    return Built(tree, sdist, from_sdist, from_tree)


@pytest.fixture(params=["wheel_from_sdist", "wheel_from_tree"])
def wheel(built: Built, request: pytest.FixtureRequest) -> Path:
    """Give each of the two wheels in turn."""
    return Path(getattr(built, request.param))


def test_sdist_carries_the_manifest_once_and_no_stray_files(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = [name.split("/", 1)[1] for name in archive.getnames()]
        manifest = archive.extractfile(next(n for n in archive.getnames() if n.endswith("/napari.yaml")))
        assert manifest is not None
        assert manifest.read() == (REPOSITORY / "napari.yaml").read_bytes()
    assert [name for name in names if name.endswith("napari.yaml")] == ["napari.yaml"]
    assert {"hatch_build.py", "pyproject.toml", "LICENSE", "README.md", "tests/conftest.py"} <= set(names)
    assert not [name for name in names if name.startswith(("runs", ".venv", ".git/"))]


def test_wheel_carries_the_manifest_inside_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert [n for n in archive.namelist() if n.endswith("napari.yaml")] == [MANIFEST]
        assert archive.read(MANIFEST) == (REPOSITORY / "napari.yaml").read_bytes()
        assert not [n for n in archive.namelist() if not n.startswith("napari_cardioseg")]


def test_wheel_carries_the_weights(wheel: Path) -> None:
    shipped = REPOSITORY / "src" / SHIPPED
    files = {f"{SHIPPED.as_posix()}/{p.name}": p.stat().st_size for p in shipped.glob("*") if p.is_file()}
    assert any(name.endswith(".safetensors") for name in files), f"no weights lie in {shipped}"
    with zipfile.ZipFile(wheel) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    assert {name: sizes.get(name) for name in files} == files
    assert sum(files.values()) <= MOST_WEIGHTS


def test_napari_finds_the_plugin_of_an_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    install = ("-m", "pip", "install", "--no-deps", "--no-index", "--no-compile", "--quiet", "--target")
    python(*install, target, wheel, cwd=tmp_path)
    found = python("-c", FIND, cwd=tmp_path, path=str(target))
    assert found.split() == ["napari-cardioseg", str(target / "napari_cardioseg")]
    python("-m", "npe2", "validate", "napari-cardioseg", "--imports", cwd=tmp_path, path=str(target))


def test_napari_finds_the_plugin_of_an_editable_install(built: Built, tmp_path: Path) -> None:
    (built.tree / "src" / MANIFEST).unlink()
    build = f"from hatchling.build import build_editable; print(build_editable({str(tmp_path)!r}))"
    python("-c", build, cwd=built.tree)
    (wheel,) = tmp_path.glob("*.whl")
    target = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    (pth,) = target.glob("*.pth")
    path = os.pathsep.join([str(target), *pth.read_text().split()])
    found = python("-c", FIND, cwd=tmp_path, path=path)
    assert found.split() == ["napari-cardioseg", str(built.tree / "src" / "napari_cardioseg")]
    manifest = built.tree / "src" / MANIFEST
    assert manifest.read_bytes() == (REPOSITORY / "napari.yaml").read_bytes()


def test_a_build_without_the_manifest_fails(built: Built, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(built.tree, tree, symlinks=True)
    (tree / "napari.yaml").unlink()
    with pytest.raises(AssertionError, match=r"napari\.yaml is missing"):
        python("-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path, tree, cwd=tmp_path)
