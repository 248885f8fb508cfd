"""Build hook: wheels, editable installs included, carry the library of `pqmim.native` where a C compiler is there.

Such a wheel is one of its platform, for any Python. Without a compiler, or with PQMIM_NATIVE=off in the environment,
the wheel is pure, and coding takes longer.
"""

import importlib.util
import os
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NativeHook(BuildHookInterface):
    """Compiles the library into the package's folder, and has it included."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before a wheel of any kind is built."""
        folder = Path(self.root) / "src" / "pqmim" / "native"
        native = _module(folder / "build.py")
        target = folder / native.NAME
        target.unlink(missing_ok=True)
        if os.environ.get("PQMIM_NATIVE") == "off":
            return
        try:
            levels = native.build(target)
        except native.BuildError as error:
            self.app.display_warning(f"pqmim is installed without its library, and coding takes longer: {error}")
            return
        self.app.display_info(f"pqmim.native: {', '.join(levels)}")
        build_data["artifacts"].append(str(target.relative_to(self.root)))
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform()}"


def _platform() -> str:
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


def _module(path: Path) -> ModuleType:
    """A module by its file: the package itself cannot be imported yet."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
