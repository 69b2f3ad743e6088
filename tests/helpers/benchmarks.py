"""The scripts in benchmarks/, which are no package, as modules."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


def load(name: str) -> ModuleType:
    """Loads benchmarks/NAME.py."""
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", ROOT / "benchmarks" / f"{name}.py")
    script = importlib.util.module_from_spec(spec)
    if str(folder := ROOT / "benchmarks") not in sys.path:
        sys.path.append(str(folder))  # scripts import each other, as they do when one is run
    sys.modules[spec.name] = script  # dataclasses look their module up
    spec.loader.exec_module(script)
    return script
