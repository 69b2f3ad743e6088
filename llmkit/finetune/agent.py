"""Accelerate's launcher, which starts the training processes of one machine and ends with the llmkit that started it.

Without that a killed llmkit would leave processes that train on in a run folder that the next one takes over.
"""

from __future__ import annotations

from llmkit.signals import end_with_parent


def main() -> None:
    end_with_parent()
    from accelerate.commands.launch import main as launch

    launch()


if __name__ == "__main__":
    main()
