"""An operator: a kind of noise."""

from __future__ import annotations

from random import Random

from llmkit.perturb import WordEdit, operator


@operator("caps_lock", level="word")
class CapsLock(WordEdit):
    """Writes a word as it comes out with caps lock on: "Monday" becomes "mONDAY" (a slip of typists).

    >>> CapsLock().edit("Monday", Random(1))
    'mONDAY'
    """

    def edit(self, word: str, rng: Random) -> str | None:
        """Returns the edited word, or None where it has no letter to change."""
        edited = word.swapcase()
        return edited if edited != word else None
