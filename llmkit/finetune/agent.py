"""Accelerate's launcher, which starts the training processes of one machine and ends with the llmkit that started it.

Without that a killed llmkit would leave processes that train on in a run folder that the next one takes over.
"""

from __future__ import annotations

import sys

from llmkit.extras import lasting
from llmkit.signals import end_with_parent


def main() -> None:
    end_with_parent()
    with lasting():
        from accelerate.commands.launch import main as launch
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    try:
        launch()
    except ChildFailedError:  # which says only that one failed; its own message is above
        sys.exit(1)


if __name__ == "__main__":
    main()
