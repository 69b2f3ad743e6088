"""A scorer: another way to judge replies, of any kind of answer."""

from __future__ import annotations

from llmkit.tasks import Scorer, kind_of, scorer
from llmkit.types import Question


@scorer("last_line")
class LastLine(Scorer):
    """Reads the last line alone: a reply that does not end in its answer counts as unparsed."""

    def extract(self, text: str, question: Question) -> str | None:
        """Returns the answer in the last line of a reply, or None where it holds none."""
        return kind_of(question).extract(text.rstrip().rpartition("\n")[2], question)
