"""`coin_flip` and `last_letters`: symbol manipulation as Wei et al. 2022 (arXiv 2201.11903) define it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from random import Random

from llmkit.errors import DataError
from llmkit.seeds import derive
from llmkit.tasks.base import GeneratedTask, Item, task
from llmkit.tasks.generated.words import MEN, SURNAMES, WOMEN
from llmkit.tasks.splits import SPLITS

_LENGTHS = (2, 3, 4)  # people or words in a question, in turn
_TRIES = 1000


def names_of(split: str, names: Sequence[str]) -> list[str]:
    """Returns every third name: no name is in two splits, so no question is."""
    return sorted(names)[SPLITS.index(split) :: len(SPLITS)]


class _Symbolic(GeneratedTask):
    def generate(self, split: str, size: int, levels: Sequence[int], seed: int) -> Iterator[Item]:
        seen: set[str] = set()
        for index in range(size):
            rng = Random(derive(seed, self.name, split, index))
            for _ in range(_TRIES):
                item = self.draw(rng, split, _LENGTHS[index % len(_LENGTHS)])
                if item.text not in seen:
                    break
            else:
                raise DataError(f"`{self.name}` has no more new questions after {index}", "lower `data.size`")
            seen.add(item.text)
            yield item

    @abstractmethod
    def draw(self, rng: Random, split: str, length: int) -> Item:
        """Returns one question about `length` people or words."""


@task("coin_flip")
class CoinFlip(_Symbolic):
    """A coin lies heads up; two, three or four people flip it over or do not. Does it still lie heads up? No download.

    "A coin lies heads up. Nora flips the coin over. Leo does not flip the coin over. Does the coin still lie heads up?"
    -> no. `meta.level` is the number of people. No first name is in two splits.
    """

    kind = "boolean"

    def draw(self, rng: Random, split: str, length: int) -> Item:
        people = rng.sample(names_of(split, WOMEN + MEN), length)
        flips = [rng.random() < 0.5 for _ in people]
        acts = [
            f"{p} {'flips' if flip else 'does not flip'} the coin over." for p, flip in zip(people, flips, strict=True)
        ]
        count = sum(flips)
        gold, parity, side = ("no", "an odd", "tails") if count % 2 else ("yes", "an even", "heads")
        solution = (
            f"The coin was flipped over {count} time{'' if count == 1 else 's'}, which is {parity} number. "
            f"It started heads up, so it lies {side} up now. The answer is {gold}."
        )
        text = f"A coin lies heads up. {' '.join(acts)} Does the coin still lie heads up?"
        return Item(text, gold, meta={"level": length, "solution": solution})


@task("last_letters")
class LastLetters(_Symbolic):
    """The last letters of a name of two, three or four words, put together. No download.

    'Put the last letters of the words in "Nora Keller" together.' -> ar. `meta.level` is the number of words. No name
    is in two splits.
    """

    kind = "text"

    def draw(self, rng: Random, split: str, length: int) -> Item:
        first = rng.sample(names_of(split, WOMEN + MEN), length - length // 2)
        words = first + rng.sample(names_of(split, SURNAMES), length // 2)
        gold = "".join(word[-1] for word in words)
        letters = " ".join(f'The last letter of "{word}" is "{word[-1]}".' for word in words)
        text = f'Put the last letters of the words in "{" ".join(words)}" together.'
        return Item(
            text, gold, meta={"level": length, "solution": f"{letters} Together: {gold}. The answer is {gold}."}
        )
