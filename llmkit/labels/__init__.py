"""Has a person label the few rows that decide, by a local page or a CSV file, or a model judge them, and the numbers
that follow."""

from llmkit.labels.changes import Change, judged, pairs_of, unlabelled
from llmkit.labels.labelling import Labelling, labelling
from llmkit.labels.server import Served, serve
from llmkit.labels.session import Session

__all__ = [
    "Change",
    "Labelling",
    "Served",
    "Session",
    "judged",
    "labelling",
    "pairs_of",
    "serve",
    "unlabelled",
]
