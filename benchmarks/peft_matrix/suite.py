"""PEFT's own tests, taken from the source distribution of the installed version; they are never part of the project."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

from peft_matrix.cases import LISTS

# What quantises; installed beside the tests only, at versions that run on a CPU.
QUANTISERS = ("bitsandbytes==0.50.2", "torchao==0.18.0", "hqq==0.2.8.post1", "termcolor==3.3.0")
_DIFFUSERS = re.compile(r"^from diffusers import (\w+)$", re.MULTILINE)


def install_quantisers(folder: Path) -> None:
    """Installs the libraries that quantise into a folder of their own, to be put on the path."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--target", str(folder), *QUANTISERS], check=True)


def unpack(folder: Path) -> Path:
    """Downloads PEFT's source distribution and writes the tests of the matrix to `folder`/tests; returns that."""
    installed = version("peft")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--no-binary", ":all:", "--dest", str(folder), f"peft=={installed}"], check=True)
    tests = folder / "tests"
    tests.mkdir(exist_ok=True)
    (tests / "__init__.py").touch()
    wanted = {f"{name}.py" for name in (*LISTS, "testing_common", "testing_utils")}
    with tarfile.open(folder / f"peft-{installed}.tar.gz") as archive:
        for member in archive:
            path = Path(member.name)
            content = archive.extractfile(member) if member.isfile() else None
            if content and path.parent.name == "tests" and path.name in wanted:
                text = content.read().decode("utf-8")
                # Only tests of image pipelines use diffusers, which are not part of the matrix.
                (tests / path.name).write_text(_DIFFUSERS.sub(r"class \1: ...", text), encoding="utf-8")
    shutil.copy(Path(__file__).parent / "hqq.py", tests / "test_hqq.py")
    return tests
