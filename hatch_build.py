"""Bring the manifest, which stands at the top level, to where napari looks for it: inside the package.

npe2 resolves the entry point ``napari_cardioseg:napari.yaml`` to a file in the package's folder. A wheel
therefore carries a copy of it there; an editable install, whose package folder is `src/napari_cardioseg`,
gets a link there (a copy where the system allows no links), which git ignores.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MANIFEST = "napari.yaml"
PACKAGE = "napari_cardioseg"


class ManifestHook(BuildHookInterface):  # type: ignore[type-arg]  # generic only in its stubs
    """Put `napari.yaml` into the wheel, or beside the modules of an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Run before a wheel is built; `version` is "standard" or "editable"."""
        manifest = Path(self.root, MANIFEST)
        if not manifest.is_file():
            raise FileNotFoundError(
                f"{manifest} is missing: without its manifest napari would not find the plugin."
            )
        if version == "editable":
            link_or_copy(manifest, Path(self.root, "src", PACKAGE, MANIFEST))
        else:
            build_data["force_include"][str(manifest)] = f"{PACKAGE}/{MANIFEST}"


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` stand for `source`, replacing what an earlier install left."""
    target.unlink(missing_ok=True)
    try:
        target.symlink_to(Path("..", "..", source.name))
    except OSError:  # Windows without developer mode, some network drives
        shutil.copyfile(source, target)
