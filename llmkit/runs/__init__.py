"""Keeps work in flight and on disk: the runner, the run folder, progress."""

from llmkit.runs.environment import environment
from llmkit.runs.folder import RunFolder
from llmkit.runs.progress import Progress
from llmkit.runs.run import Run
from llmkit.runs.runner import Finished, Runner, terminable

__all__ = ["Finished", "Progress", "Run", "RunFolder", "Runner", "environment", "terminable"]
