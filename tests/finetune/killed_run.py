"""Run by test_resume.py in a process that is killed: RECIPE OUT FLAG. A training that waits for its end at step 3."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

from llmkit.finetune import finetune
from llmkit.finetune.callbacks import Reporter
from llmkit.recipe import load


def main(recipe: str, out: str, flag: Path) -> None:
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 3:
            flag.touch()
            time.sleep(600)

    Reporter.on_step_end = on_step_end
    torch.set_num_threads(1)
    finetune(load(recipe, {"output.dir": out}), quiet=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
