"""What the build adds to the wheel: manual pages, and completion for bash, zsh and fish.

An editable installation, which is what `make` makes, goes without.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BuildHook(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        sys.path[:0] = [self.root, str(Path(self.root) / "release")]
        import manuals

        self._made = tempfile.TemporaryDirectory(prefix="pgtrace-manuals-")
        build_data["shared_data"].update({str(path): place for path, place in manuals.written(Path(self._made.name))})

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if version != "editable":
            self._made.cleanup()
