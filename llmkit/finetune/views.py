"""The views of each epoch: clean or noisy questions, and corrections, all drawn from the recipe's seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from llmkit.errors import DataError
from llmkit.finetune.rows import TrainingRow
from llmkit.perturb.english import is_english
from llmkit.perturb.reword import reword
from llmkit.prompts import render
from llmkit.recipe.schema import Recipe
from llmkit.repair.adapter import words_answer, words_in_doubt, words_prompt
from llmkit.rop.instructions import hand_written
from llmkit.seeds import derive
from llmkit.types import Edit, Message

if TYPE_CHECKING:
    from llmkit.perturb import Perturbed, Perturber
    from llmkit.perturb.engine import Rate

_ATTEMPTS = 4  # copies of a row that are tried until a word of one is in doubt
_RETRY = 10**9  # between the numbers of these copies: no epoch has a copy of such a number
PAIRED = ("pairs", "consistency", "rdrop")  # objectives that show each question twice at once


@dataclass(frozen=True, slots=True)
class View:
    """A row as one epoch shows it. `second` is the prompt of its second view, where the objective has one."""

    row: str
    prompt: tuple[Message, ...]
    answer: str
    plain: bool
    second: tuple[Message, ...] | None = None


class Views:
    """Makes the views of a recipe. Cheap; the same row, epoch and copy always give the same view."""

    def __init__(self, recipe: Recipe) -> None:
        self.robust, self.correction = recipe.finetune.robust, recipe.finetune.data.correction
        self.seed, self.perturb = recipe.seed, recipe.perturb
        self.guided = recipe.finetune.data.guided
        self.instructions = {"correction": hand_written("correction"), "guidance": hand_written("guidance")}
        self.paired = self.robust.objective in PAIRED
        self.english = True
        self._perturbers: dict[tuple[str, Rate], Perturber] = {}

    def epoch(self, groups: Sequence[Sequence[TrainingRow]], weights: Sequence[float], number: int) -> Iterator[View]:
        """Yields all views of one epoch, in a seeded order. `weights` are the sources' (see SourceSection)."""
        drawn_rows = []
        for source, (rows, weight) in enumerate(zip(groups, weights, strict=True)):
            rng = Random(derive(self.seed, "rows", number, source))
            whole_copies, fraction = int(weight), weight - int(weight)
            drawn_rows += [(row, copy) for copy in range(whole_copies) for row in rows]
            drawn_rows += [(row, whole_copies) for row in rng.sample(list(rows), round(fraction * len(rows)))]
        Random(derive(self.seed, "order", number)).shuffle(drawn_rows)
        return (self.view(row, number, copy) for row, copy in drawn_rows)

    def view(self, row: TrainingRow, epoch: int, copy: int = 0) -> View:
        """Returns one row as one epoch shows it."""
        rng = Random(derive(self.seed, "view", row.id, epoch, copy))
        correction_share = self.correction.share if row.correction is None else row.correction
        asks_correction, is_noisy = rng.random() < correction_share, rng.random() < self.robust.share
        noise_draw = epoch * 1000 + copy
        if row.question is not None and asks_correction:
            correction = self._words if self.correction.form == "words" else self._correction
            return correction(row, rng, noise_draw)
        clean_prompt = prompt = row.prompt
        instruction = None
        if row.question is not None and self.guided and rng.random() < self.guided:
            instruction = rng.choice(self.instructions["guidance"])
            clean_prompt = prompt = row.asks(row.text or "", instruction)
        if is_noisy and row.text is not None:
            noisy_text = self._noise(row, row.text, rng, noise_draw, self.robust.operators, self.robust.rate)
            prompt = row.asks(noisy_text, instruction)
        if not self.paired:
            return View(row.id, prompt, row.answer, row.plain)
        first_prompt = prompt if self.robust.objective == "rdrop" else clean_prompt
        return View(row.id, first_prompt, row.answer, row.plain, prompt)

    def _correction(self, row: TrainingRow, rng: Random, draw: int) -> View:
        """Returns a row asked as `llmkit rop` asks: a noisy question under a correction instruction, with the clean
        question as its answer."""
        clean_text = asked_text = row.text or ""
        if self.correction.reword:
            clean_text = asked_text = reword(clean_text, self.correction.reword, rng)
        if rng.random() >= self.correction.clean:
            asked_text = self._noise(row, clean_text, rng, draw, self.correction.operators, self.correction.rate)
        instruction = rng.choice(self.instructions["correction"])
        content = render("rop/correct-v1", instruction=instruction, shots=[], question=asked_text)
        prompt = (Message("user", content),)
        return View(row.id, prompt, clean_text, row.plain, prompt if self.paired else None)

    def _words(self, row: TrainingRow, rng: Random, draw: int) -> View:
        """Returns a row asked as the corrector `adapter` asks: for the words of a noisy question that are in doubt."""
        clean_text = reword(row.text or "", self.correction.reword, rng) if self.correction.reword else row.text or ""
        is_clean = rng.random() < self.correction.clean
        for attempt in range(_ATTEMPTS):
            text, edits = clean_text, tuple[Edit, ...]()
            if attempt or not is_clean:
                section, copy = self.correction, draw + attempt * _RETRY
                perturbed = self._perturbed(row, clean_text, rng, copy, section.operators, section.rate)
                text, edits = perturbed.text, perturbed.edits
            doubts = words_in_doubt(text)
            answer = words_answer(text, doubts, edits)
            if answer:
                prompt = (Message("user", words_prompt(text, doubts)),)
                return View(row.id, prompt, answer, row.plain, prompt if self.paired else None)
        # Nothing can be asked of a text without a word in doubt: the row is shown as a question.
        return View(row.id, row.prompt, row.answer, row.plain, row.prompt if self.paired else None)

    def check(self, groups: Sequence[Sequence[TrainingRow]]) -> None:
        """Raises DataError if the recipe asks for noise that no row can take. Tests whether the rows are in English."""
        if self.correction.share and not any(row.question is not None for rows in groups for row in rows):
            raise DataError("no row can teach correction: none is a task's question", "set correction.share to 0")
        if self.robust.share and not any(row.text is not None for rows in groups for row in rows):
            raise DataError(
                "no row can be made noisy: none of the sources is a task or a chat", "set robust.share to 0"
            )

        from llmkit.perturb import Perturber

        specs = [spec for section in (self.correction, self.robust) if section.share for spec in section.operators]
        if for_english := [operator_name for spec in specs for operator_name in Perturber(spec).for_english]:
            self.english = is_english((row.text for rows in groups for row in rows if row.text), for_english)

    def _noise(self, row: TrainingRow, text: str, rng: Random, draw: int, operators: Sequence[str], rate: Rate) -> str:
        return self._perturbed(row, text, rng, draw, operators, rate).text

    def _perturbed(
        self, row: TrainingRow, text: str, rng: Random, draw: int, operators: Sequence[str], rate: Rate
    ) -> Perturbed:
        from llmkit.perturb import Perturber
        from llmkit.tasks import gold_text

        spec = rng.choice(list(operators))
        if (spec, rate) not in self._perturbers:
            seed = derive(self.seed, "robust")  # never the seed of an evaluation
            section = self.perturb
            self._perturbers[spec, rate] = Perturber(
                spec, rate, seed, section.protect, section.retries, section.release, self.english, lang=section.lang
            )
        question = row.question
        return self._perturbers[spec, rate].apply(
            text,
            row.id,
            options=question.options if question else (),
            gold=gold_text(question) if question else None,
            copy=draw,
        )
