"""The texts of a run folder (`output.texts`): as they are, as digests, or as digests that nobody can compare."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from llmkit.errors import UsageError
from llmkit.files import text_digest
from llmkit.measure.compared import canonical, compared, decisive, refused, signature
from llmkit.runs import names
from llmkit.runs.samples import Sample

Policy = Literal["full", "hash", "none"]
Row = dict[str, Any]

_TEXTS = ("question", "text", "said", "corrected_text", "arm_parsed", "gold")
_CALL = ("id", "purpose", "cached", "seconds")
_SHORTEST = 8  # characters; a shorter text is not looked for in what a server said


class Keeper:
    """Puts digests in the place of a row's texts and replies before anything is written of them.

    With `hash` equal texts have equal digests everywhere, so that a run resumes and compares. With `none` the digests
    are made with a key that is forgotten when the process ends: they tell equal answers of one run and nothing else.
    What needs the texts themselves, whether two replies differ in facts or in wording only, is found while both are in
    memory and kept beside the answer.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._key = secrets.token_bytes(32)
        self._answered: dict[str, list[Sample]] = defaultdict(list)

    @property
    def full(self) -> bool:
        """True where texts are kept as they are."""
        return self.policy == "full"

    def digest(self, text: str | None) -> str | None:
        """Returns what is kept of a text."""
        if text is None or self.full:
            return text
        if self.policy == "hash":
            return text_digest(text)
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=8).hexdigest()

    def kept(self, row: Row) -> Row:
        """Returns a journal line as it is written."""
        if self.full:
            return row
        sample = Sample.from_row(row)
        before = self._answered[sample.outcome.question_id]
        verdicts = {other.key: self._verdict(sample, other) for other in before}
        before.append(sample)
        failed = row["error"] is not None
        return {
            **row,
            **{name: self.digest(row[name]) for name in _TEXTS},
            "parsed": None if failed else self.digest(canonical(sample)),
            "options": [self.digest(option) for option in row["options"]],
            **({"labels": [self.digest(label) for label in row["labels"]]} if "labels" in row else {}),
            "edits": [],
            # Fields of JSON answers are named by the keys of the row's own answer.
            "scores": {name: value for name, value in row["scores"].items() if "/" not in name},
            "error": self._without_texts(row),
            "hidden": {
                "policy": self.policy,
                "signature": None if failed else self.digest(signature(sample)),
                "decisive": decisive(sample),
                "refused": refused(sample),
                "verdicts": verdicts,
            },
            "calls": [self._call(call) for call in row["calls"]],
        }

    def _verdict(self, one: Sample, other: Sample) -> list[str]:
        found = compared(one, other)
        return [found.verdict, *found.kinds]

    def _call(self, call: Mapping[str, Any]) -> Row:
        reply = call["reply"]
        said = {"text": self.digest(reply["text"]), "usage": reply["usage"], "finish_reason": reply["finish_reason"]}
        if documents := reply.get("documents"):
            said["documents"] = [self.digest(document) for document in documents]
        asked = self.asked(call["messages"], call["continuation"])
        kept = {name: call[name] for name in _CALL}
        return {**kept, "messages": [], "continuation": None, "asked": asked, "reply": said}

    def asked(self, messages: Sequence[Mapping[str, str]], continuation: str | None) -> str | None:
        """Returns what is kept of the text of a request."""
        return self.digest(json.dumps([messages, continuation], sort_keys=True))

    def _without_texts(self, row: Row) -> str | None:
        """Returns what went wrong, without the row's text where a server repeats it."""
        error: str | None = row["error"]
        asked = [row["question"], row["text"], *(m["content"] for call in row["calls"] for m in call["messages"])]
        for text in asked:
            if error and isinstance(text, str) and len(text) >= _SHORTEST:
                error = error.replace(text, "...")
        return error

    def refuse_kept(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Raises UsageError where a folder holds texts of an earlier start that kept them."""
        if self.full:
            return
        if any(row.get("kind") == names.OUTCOME and "hidden" not in row for row in rows):
            raise UsageError(
                f"the folder of this run holds texts, and output.texts is {self.policy}",
                "give the run another --name, or delete its folder",
            )
