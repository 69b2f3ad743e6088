"""The Dockerfile: its lines, and llmkit as it runs in the container, by the same means of the kernel."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
from helpers.benchmarks import ROOT
from helpers.processes import run

LINES = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
STEPS = [line.split(maxsplit=1) for line in LINES if line and not line.startswith("#")]


def last_stage():
    return STEPS[max(i for i, (word, _) in enumerate(STEPS) if word == "FROM") :]


def test_it_ends_as_a_user_who_is_not_root():
    words = [word for word, _ in last_stage()]
    user = dict(last_stage())["USER"]
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user), "a number, which a cluster can check"
    assert words.index("USER") > max(i for i, word in enumerate(words) if word == "RUN")
    assert dict(last_stage())["ENTRYPOINT"] == '["llmkit"]'


def test_all_that_is_written_goes_to_volumes_and_tmp():
    settings = dict(pair.split("=", 1) for pair in dict(last_stage())["ENV"].split())
    assert settings["HOME"] == "/tmp"
    assert settings["LLMKIT_CACHE"] in dict(last_stage())["VOLUME"]
    owned = re.search(r"chown 10001:10001 (.*)$", dict(last_stage())["RUN"])[1].split()
    assert set(owned) == {"/cache", "/runs"}


def test_no_key_and_no_address_is_in_it():
    text = (ROOT / "Dockerfile").read_text()
    assert not re.search(r"(?i)https?://|token|secret|password|\bADD\b|--index|curl|wget|:latest", text)
    assert all(":" in image for word, image in STEPS if word == "FROM"), "a base image without a version moves"


def test_the_build_has_what_the_wheel_is_made_of_and_little_else():
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignore[1] == "*"
    allowed = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*wheel["packages"], *wheel["force-include"], project["project"]["readme"], "pyproject.toml"}
    needed |= set(project["project"]["license-files"])
    assert allowed == {name.partition("/")[0] for name in needed}
    assert all((ROOT / name).exists() for name in needed)


INSIDE = """
set -e
mount --bind "$1" /mnt && mount -o remount,ro,bind /mnt
mount --bind "$2" /srv && mount --bind "$3" /media
mount -t tmpfs tmpfs /tmp
mount -o remount,ro,bind /
cd /mnt
export HOME=/tmp LLMKIT_CACHE=/srv PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$5"
exec setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs \\
  --inh-caps -all,+dac_read_search --ambient-caps -all,+dac_read_search "$4" -m llmkit eval recipe.yaml \\
  --engine python:app:answer --limit 60 --dir /media --gate "stand.accuracy >= 0.5"
"""


@pytest.mark.e2e
def test_it_runs_with_a_read_only_file_system_as_another_user(project, tmp_path):
    """The container's own conditions: all read-only but /tmp and two volumes, and a user without a home.

    The interpreter may be in a folder of root's, so the user may read what is not theirs; writing is what counts.
    """
    if os.geteuid() or not all(map(shutil.which, ("unshare", "setpriv"))):
        pytest.skip("needs root, unshare and setpriv")
    if any(Path(path).is_relative_to("/tmp") for path in (sys.executable, ROOT)):
        pytest.skip("this installation is in /tmp, in whose place the container has a folder of its own")
    if run(["unshare", "--mount", "true"]).returncode:
        pytest.skip("this machine allows no mount namespace")
    folders = [tmp_path / name for name in ("cache-volume", "runs-volume")]
    for folder in folders:
        folder.mkdir()
        os.chown(folder, 10001, 10001)
    before = {path: path.stat().st_mtime_ns for path in project.rglob("*")}
    command = ["unshare", "--mount", "bash", "-c", INSIDE, "bash", project, *folders, sys.executable, ROOT]
    done = run(command)
    assert done.returncode == 0, done.stderr
    (made,) = folders[1].iterdir()
    assert (made / "report.html").stat().st_uid == 10001
    assert {path: path.stat().st_mtime_ns for path in project.rglob("*")} == before
