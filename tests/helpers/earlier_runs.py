"""Makes runs/earlier/runs.tar.xz, run folders of one release that later ones must read: see runs/test_earlier.py.

Called with the release's own code, from the root of its checkout:
PYTHONPATH=.:tests python -m helpers.earlier_runs RUNS_TAR_XZ
"""

from __future__ import annotations

import difflib
import json
import os
import shutil
import sys
import tarfile
import tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from unittest.mock import patch

from helpers.fault_server import FaultServer

RECIPE = Path(__file__).parents[1] / "runs" / "earlier" / "eval.yaml"


@cache
def golds():
    """Clean text, its white space made single, to gold answer."""
    from llmkit.recipe.schema import DataSection
    from llmkit.tasks import load

    data = DataSection(task="arithmetic", size=60)
    return {" ".join(q.text.split()): q.gold for split in ("train", "dev", "test") for q in load(data, split, 7)}


def scholar(answer):
    """Answers a clean question rightly and a noisy one wrongly, and corrects to the nearest clean one."""
    choice = answer["choices"][0]
    if "message" in choice:
        prompt = " ".join(reversed(choice["message"]["content"].split()))
        _, mark, text = prompt.rpartition("Text: ")
        if mark and "Question: " not in text:
            said = difflib.get_close_matches(text, golds(), 1, 0.0)[0]
        else:
            said = f"The answer is {golds().get(prompt.rpartition('Question: ')[2], '-1')}"
        choice["message"]["content"] = said
    return answer


@contextmanager
def model():
    """The server of every run, at an address that does not depend on a free port: it is part of a run's name."""
    with FaultServer(model="scripted", change=scholar) as server:
        proxy = server.url.removesuffix("/v1")
        with patch.dict(os.environ, {"HTTP_PROXY": proxy, "http_proxy": proxy, "NO_PROXY": "", "no_proxy": ""}):
            yield server


def main(target: Path) -> None:
    from llmkit.cli.app import run

    home = Path(tempfile.mkdtemp())
    os.environ["LLMKIT_CACHE"] = str(home / "cache")
    os.chdir(home)
    shutil.copy(RECIPE, home)
    commands = {
        "eval eval.yaml --name whole": 3,  # one gate passes, one fails
        "rop eval.yaml --name search": 3,
        "eval eval.yaml --name part --shard 1/2": 0,
        "eval eval.yaml --name part --shard 2/2": 0,
        "eval eval.yaml --name half --no-cache --max-tokens-total 900": 4,
    }
    with model():
        for command, code in commands.items():
            assert run(command.split()) == code, command
    for path in home.glob("runs/*/env.json"):  # what machine it was is nobody's business
        environment = json.loads(path.read_text())
        path.write_text(json.dumps({**environment, "platform": "Linux", "hardware": {"cores": 2, "gpus": []}}))
    with tarfile.open(target, "w:xz", preset=9) as archive:
        for path in sorted(home.glob("runs/*/*")):
            if path.name not in ("report.html", ".lock"):
                archive.add(path, path.relative_to(home), filter=_anonymous)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    return member


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
