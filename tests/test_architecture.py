"""The house rules of docs/architecture.md, held against every import in the package, lazy ones too."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = "napari_cardioseg"
SOURCE = Path(__file__).resolve().parent.parent / "src" / PACKAGE

# Which rooms a room may import. cli opens the window through ui; nothing imports cli.
SIBLINGS = {"io", "models", "refine", "quantify", "store"}
ALLOWED: dict[str, set[str]] = {
    "domain": set(),
    **{room: {"domain"} for room in SIBLINGS},
    "predict": {"domain", "models", "refine"},
    "train": {"domain", "models", "predict", "quantify", "store"},
    "plugin": {"domain", "io"},
    "ui": {"domain", "predict", "train", "plugin", *SIBLINGS},
    "cli": {"domain", "predict", "train", "plugin", "ui", *SIBLINGS},
}
GUI = {"napari", "qtpy", "magicgui", "superqt", "vispy", "PyQt5", "PyQt6", "PySide2", "PySide6"}
TORCH_ROOMS = {"models", "predict", "refine", "store", "train"}
FILE_LINES = {"ui": 250}
DEFAULT_FILE_LINES = 400
FUNCTION_LINES = 60
CLASS_METHODS = 20


@dataclass(frozen=True)
class Import:
    """One import of one module, and where it stands."""

    importer: str
    target: str
    where: str
    runs_on_import: bool

    @property
    def room(self) -> str:
        parts = self.importer.split(".")
        return parts[1] if len(parts) > 1 else ""

    @property
    def target_room(self) -> str | None:
        parts = self.target.split(".")
        return (parts[1] if len(parts) > 1 else "") if parts[0] == PACKAGE else None


def modules(root: Path) -> dict[str, Path]:
    """Map the dotted name of every module under `root` to its file."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = [PACKAGE, *path.relative_to(root).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(root: Path) -> list[Import]:
    """Read every import of every module under `root`."""
    known = modules(root)
    found = []
    for name, path in known.items():
        base = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
        for node, on_import in walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.relative_to(root)}:{node.lineno}"
            found += [Import(name, target, where, on_import) for target in targets(node, base, known)]
    return found


def walk(tree: ast.AST, on_import: bool = True) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Yield every import statement, and whether it runs when its module is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, on_import
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        lazy = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from walk(node, on_import and not typing_only and not lazy)


def targets(node: ast.Import | ast.ImportFrom, base: list[str], known: dict[str, Path]) -> list[str]:
    """Give the dotted modules that a statement imports; a name that is no module counts as its module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    prefix = base[: len(base) - node.level + 1] if node.level else []
    module = ".".join([*prefix, *([node.module] if node.module else [])])
    return [full if (full := f"{module}.{alias.name}") in known else module for alias in node.names]


def room_violations(found: list[Import]) -> list[str]:
    """List imports that do not run down the picture."""
    wrong = []
    for one in found:
        target = one.target_room
        if target and one.room and target != one.room and target not in ALLOWED.get(one.room, set()):
            wrong.append(f"{one.where}: {one.room} imports {one.target}")
    return wrong


def foreign_violations(found: list[Import]) -> list[str]:
    """List imports of other people's packages in rooms that must not know them."""
    wrong = []
    for one in found:
        top = one.target.split(".")[0]
        gui = top in GUI and one.room != "ui"
        torch = top == "torch" and one.room not in TORCH_ROOMS
        plain = one.room in ("domain", "") and top not in {PACKAGE, "numpy", *sys.stdlib_module_names}
        if gui or torch or plain:
            wrong.append(f"{one.where}: {one.room or 'the package'} imports {one.target}")
    return wrong


def cycles(found: list[Import]) -> list[str]:
    """List the loops among modules that import each other as they are imported."""
    graph: dict[str, set[str]] = {}
    for one in found:
        if one.runs_on_import and one.target_room is not None and one.target != one.importer:
            graph.setdefault(one.importer, set()).add(one.target)
    loops: set[frozenset[str]] = set()
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            loops.add(frozenset(path[path.index(module) :]))
        elif module not in done:
            for target in sorted(graph.get(module, ())):
                visit(target, [*path, module])
            done.add(module)

    for module in sorted(graph):
        visit(module, [])
    return [" <-> ".join(sorted(loop)) for loop in loops]


def size_violations(root: Path) -> list[str]:
    """List files, functions and classes that have outgrown their room."""
    wrong = []
    for name, path in modules(root).items():
        text = path.read_text(encoding="utf-8")
        room = name.split(".")[1] if "." in name else ""
        limit, lines = FILE_LINES.get(room, DEFAULT_FILE_LINES), len(text.splitlines())
        if lines > limit:
            wrong.append(f"{path.relative_to(root)}: {lines} lines, at most {limit}")
        for node in ast.walk(ast.parse(text)):
            where = f"{path.relative_to(root)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES:
                    wrong.append(f"{where}: {node.name} has {length} lines, at most {FUNCTION_LINES}")
            if isinstance(node, ast.ClassDef):
                methods = sum(
                    isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) for child in node.body
                )
                if methods > CLASS_METHODS:
                    wrong.append(f"{where}: {node.name} has {methods} methods, at most {CLASS_METHODS}")
    return wrong


def test_every_folder_is_a_known_room() -> None:
    rooms = {p.name for p in SOURCE.iterdir() if p.is_dir() and any(p.glob("*.py"))}
    assert rooms == set(ALLOWED)


def test_imports_run_down_the_picture() -> None:
    assert room_violations(imports(SOURCE)) == []


def test_only_ui_knows_the_window_and_domain_knows_only_numpy() -> None:
    assert foreign_violations(imports(SOURCE)) == []


def test_no_modules_import_each_other() -> None:
    assert cycles(imports(SOURCE)) == []


def test_files_functions_and_classes_stay_small() -> None:
    assert size_violations(SOURCE) == []


@pytest.mark.parametrize("module", ["", ".domain", ".cli", ".io", ".plugin"])
def test_importing_loads_neither_torch_nor_a_window(module: str) -> None:
    code = (
        f"import {PACKAGE}{module}, sys; "
        f"print(sorted(m for m in sys.modules if m in {sorted(GUI | {'torch'})!r}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.strip(), run.stderr) == (0, "[]", "")


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        (path.parent / "__init__.py").touch()
    return root


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("io/read.py", "from napari_cardioseg.store import cases"),
        ("domain/cine.py", "import napari_cardioseg.io"),
        ("refine/crf.py", "def f():\n    from napari_cardioseg.models.unet import UNet"),
        ("models/unet.py", "from ..predict import predict_cine"),
        ("ui/panel.py", "from napari_cardioseg.cli import main"),
        ("train/loop.py", "from napari_cardioseg import io"),
    ],
)
def test_an_import_against_the_picture_is_found(tmp_path: Path, file: str, text: str) -> None:
    write(tmp_path, {"io/__init__.py": "", file: text})
    assert [line.split(":")[0] for line in room_violations(imports(tmp_path))] == [file]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("plugin/hooks.py", "import napari"),
        ("predict/run.py", "def f():\n    from qtpy.QtCore import QTimer"),
        ("domain/cine.py", "import scipy.ndimage"),
        ("io/read.py", "import torch.nn.functional"),
        ("__init__.py", "import pydicom"),
    ],
)
def test_a_foreign_package_in_the_wrong_room_is_found(tmp_path: Path, file: str, text: str) -> None:
    write(tmp_path, {file: text})
    assert [line.split(":")[0] for line in foreign_violations(imports(tmp_path))] == [file]


def test_what_the_table_allows_is_not_found(tmp_path: Path) -> None:
    files = {
        "predict/run.py": "import torch\nfrom napari_cardioseg.refine import clean_up",
        "ui/panel.py": "import napari\nfrom napari_cardioseg.io import scan",
        "domain/cine.py": "from __future__ import annotations\nimport numpy as np",
    }
    found = imports(write(tmp_path, files))
    assert room_violations(found) + foreign_violations(found) + cycles(found) == []


def test_a_loop_is_found_but_a_lazy_import_breaks_it(tmp_path: Path) -> None:
    back = "from napari_cardioseg.io.a import f"
    root = write(tmp_path, {"io/a.py": "from napari_cardioseg.io import b", "io/b.py": back})
    assert cycles(imports(root)) == [f"{PACKAGE}.io.a <-> {PACKAGE}.io.b"]
    write(root, {"io/b.py": f"def g():\n    {back}"})
    assert cycles(imports(root)) == []


def test_what_has_outgrown_its_room_is_found(tmp_path: Path) -> None:
    methods = "".join(f"    def m{i}(self): ...\n" for i in range(21))
    files = {
        "ui/panel.py": "x = 1\n" * 251,
        "io/read.py": "x = 1\n" * 401,
        "io/fits.py": "x = 1\n" * 400,
        "store/cases.py": "def f():\n" + "    x = 1\n" * 60,
        "models/unet.py": f"class Net:\n{methods}",
    }
    found = size_violations(write(tmp_path, files))
    assert {line.split(":")[0] for line in found} == set(files) - {"io/fits.py"}
