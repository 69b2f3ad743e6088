"""Operators that ask a model, against a scripted one."""

from __future__ import annotations

import json

import pytest
from helpers.fakes import FakeEngine

from llmkit.errors import EngineError, UsageError
from llmkit.perturb import Perturber, make_variants, spread_variants, undo
from llmkit.perturb.input_rows import InputRow, RowFields
from llmkit.perturb.stream import RowPerturber, perturb_rows_asking
from llmkit.recipe.schema import PerturbSection
from llmkit.runs import Runner
from llmkit.types import Question, Reply

TEXT = "Tom has 12 red apples and 3 green pears in the basket. How many are left?"


def asked(request) -> str:
    return request.messages[0].content.rsplit("Question: ", 1)[1]


def write(perturber: Perturber, answer, text: str = TEXT, **more):
    """One copy of a text, and what the engine was asked for it."""
    engine = FakeEngine(answer)
    with Runner({"answerer": engine}) as runner:
        (done,) = runner.run([("q", perturber.steps(text, "q", **more))])
    assert done.error is None
    return done.result, engine.asked


class TestLlm:
    def test_what_the_model_writes_is_recorded_as_edits(self):
        made, requests = write(Perturber("llm:ec"), lambda r: asked(r).replace("apples", "appels"))
        assert made.text == TEXT.replace("apples", "appels")
        assert undo(made.text, made.edits) == TEXT
        assert (len(requests), made.rejected, made.detail) == (1, False, None)

    def test_failed_attempts_are_written_again_and_told(self):
        bad = iter([TEXT.replace("12", "13"), TEXT, ""])
        made, requests = write(Perturber("llm:ec"), lambda r: next(bad, TEXT.replace("red", "rde")))
        assert made.text == TEXT.replace("red", "rde")
        failed = ["a number was lost", "llm: the model changed nothing", "llm: the reply was empty"]
        assert made.detail == {"failed": failed}
        assert len({r.sampling.seed for r in requests}) == 4

    def test_what_never_passes_is_the_original(self):
        cut = Reply("Tom has", finish_reason="length")
        made, requests = write(Perturber("llm:uic", retries=2), lambda r: cut)
        assert (made.text, made.rejected, made.reason) == (TEXT, True, "llm: the reply was cut")
        assert len(requests) == 3

    @pytest.mark.parametrize("spec", ["llm:ec", "llm:uic"])
    def test_an_answer_is_no_rewritten_question(self, spec):
        said = ["The answer is 12 - 3 = 9 apples.", "Are 12 and 3 both numbers that one could like, or is neither so?"]
        replies = iter([*said, TEXT.replace("How", "He is so tall. How")])
        made, _ = write(Perturber(spec), lambda r: next(replies))
        assert made.detail == {"failed": ["llm: the question was not kept"] * 2}
        assert made.text == TEXT.replace("How", "He is so tall. How")

    @pytest.mark.parametrize(("spec", "told"), [("llm:uic", False), ("llm:uic,gold", True)])
    def test_the_answer_is_withheld_unless_asked_for(self, spec, told):
        seen = []
        write(Perturber(spec), lambda r: seen.append(r.messages[0].content) or TEXT + " Fine.", gold="9,876")
        assert ("9,876" in seen[0]) is told

    def test_options_are_not_the_models_to_write(self):
        text = "Which one is dark?\nAnswer Choices: (A) night (B) noon"
        made, requests = write(Perturber("llm:ec"), lambda r: asked(r).replace("dark", "drak"), text)
        assert "Answer Choices" not in requests[0].messages[0].content
        assert made.text == text.replace("dark", "drak")

    def test_apply_says_that_a_model_is_needed(self):
        with pytest.raises(UsageError, match="needs a model"):
            Perturber("llm:ec").apply(TEXT, "q")


def likes_apples(request) -> Reply:
    """The answer is likely as long as "apples" and "basket" stand, and a little less so for every other change."""
    text = asked(request)
    lost = 5.0 * ("apples" not in text) + 2.0 * ("basket" not in text) + 0.01 * (text.split() != TEXT.split())
    return Reply("", logprobs=(-0.5 - lost, -0.25))


class TestAdversarial:
    @pytest.mark.parametrize("spec", ["adversarial:2", "adversarial(k=2,beam=3)", "adversarial(k=2,edits=textbugger)"])
    def test_it_finds_the_words_that_matter(self, spec):
        made, requests = write(Perturber(spec), likes_apples, gold="9")
        assert {e.old for e in made.edits} == {"apples", "basket"}
        assert made.detail["logprob"] == [-0.75, -7.76]
        assert made.detail["queries"] == len(requests) <= 150
        assert {r.continuation for r in requests} == {"The answer is 9"}

    def test_the_budget_bounds_the_queries(self):
        made, requests = write(Perturber("adversarial(k=2,budget=8)", retries=0), likes_apples, gold="9")
        assert len(requests) <= 8
        assert made.rejected or made.edits

    def test_without_an_answer_there_is_nothing_to_search(self):
        made, requests = write(Perturber("adversarial:2", retries=0), likes_apples)
        assert (requests, made.rejected) == ([], True)
        assert made.reason == "adversarial: no answer is known to search against"

    def test_a_model_that_does_not_care_is_told(self):
        same = Reply("", logprobs=(-1.0,))
        made, _ = write(Perturber("adversarial:2", retries=0), lambda r: same, gold="9")
        assert made.rejected
        assert "no edit of" in made.reason


def asking(answer):
    """Runs named generators against a scripted engine, as a run does."""

    def ask(jobs):
        with Runner({"answerer": FakeEngine(answer)}) as runner:
            yield from ((done.key, done.result) for done in runner.run(jobs))

    return ask


class TestMany:
    def test_variants_take_a_way_to_ask(self):
        questions = [Question(f"q{i}", TEXT.replace("3", str(i)), "9", "numeric") for i in range(5)]
        section = PerturbSection(conditions=("ec", "llm:ec"))
        with pytest.raises(UsageError, match="needs a model"):
            make_variants(questions, section, seed=1)
        ask = asking(lambda r: asked(r).replace("apples", "appels"))
        made = make_variants(questions, section, seed=1, ask=ask)
        assert [v.condition for v in made] == ["clean", "ec", "llm:ec"] * 5
        assert all("appels" in v.text for v in made if v.condition == "llm:ec")
        spread = spread_variants(questions, section, seed=1, ask=ask)
        assert spread == [made[3 * i + 1 + i % 2] for i in range(5)]

    def test_a_failed_request_is_a_rejected_variant(self):
        section = PerturbSection(conditions=("llm:ec",))
        ask = asking(lambda r: EngineError("too long"))
        made = make_variants([Question("q", TEXT, "9", "numeric")], section, seed=1, ask=ask)
        assert (made[1].text, made[1].rejected) == (TEXT, "nothing was written")

    def test_rows_come_out_in_order(self):
        rows = [InputRow({"question": TEXT.replace("3", str(i)), "n": i}, str(i)) for i in range(30)]
        job = RowPerturber({"llm:ec": Perturber("llm:ec"), "ec": Perturber("ec", rate=0.1)}, RowFields())
        with Runner({"answerer": FakeEngine(lambda r: asked(r).replace("red", "rde"))}) as runner:
            chunks = list(perturb_rows_asking(job, rows, runner))
        made = [json.loads(line) for c in chunks for line in c.lines.splitlines()]
        assert [r["n"] for r in made] == [i for i in range(30) for _ in range(2)]
        assert sum(c.stats["llm:ec"].rows for c in chunks) == 30
