"""What each arm asks, in which order, and what it makes of the replies."""

from __future__ import annotations

import pytest
from helpers.drive import drive

from llmkit.prompts import render
from llmkit.recipe.schema import RopSection
from llmkit.rop import ARMS, ArmContext, default_instructions
from llmkit.tasks import extract
from llmkit.tasks.text import render_options
from llmkit.types import Question, Reply, Variant

QUESTION = Question("q1", "Tom has 3 pens and buys 2. How many pens has he?", "5", "numeric")
NOISY = Variant(QUESTION, "ec", "Tom has 3 pnes and byus 2. How mnay pens has he?")
CHOICE = Question("c1", "What flies?\nAnswer Choices: (A) a bird (B) a stone", "A", "choice", ("a bird", "a stone"))


def ask(name, variant=NOISY, answer=lambda r: "The answer is 5", **context):
    section = context.pop("section", RopSection())
    arm = ARMS[name](ArmContext(section, default_instructions(), **context))
    return drive(arm.ask(variant), answer)


def scripted(request):
    return QUESTION.text if request.purpose in ("correct", "filter") else "The answer is 5"


CALLS = {
    "stand": ["answer"],
    "llm_adapters": ["answer"],
    "zero_shot_cot": ["answer"],
    "few_shot_cot": ["answer"],
    "guide_only": ["answer"],
    "correct_only": ["correct", "answer"],
    "rop": ["correct", "answer"],
    "rop_selfcorrect": ["correct", "answer"],
    "rop_one_call": ["answer"],
    "unicode_fold": ["answer"],
    "spell_fix": ["answer"],
    "self_consistency": ["answer"] * 3,
    "atf": ["analyse", "filter", "answer"],
    "oracle": ["answer"],
}


def test_every_arm_is_listed_here():
    assert set(ARMS) - {"repair"} == set(CALLS)  # that one needs a file: test_gated.py


@pytest.mark.parametrize("name", CALLS)
def test_an_arm_makes_its_calls_in_order_and_answers(name):
    answer, asked = ask(name, answer=scripted)
    assert [r.purpose for r in asked] == CALLS[name]
    assert answer.reply.text == "The answer is 5"


@pytest.mark.parametrize("name", sorted(set(CALLS) - {"llm_adapters"}))
def test_every_arm_carries_the_same_format_request_and_puts_the_question_last(name):
    _, asked = ask(name, answer=scripted)
    last = asked[-1].messages[-1].content
    assert render("format/numeric-v1") in last
    assert last.rsplit("Question: ", 1)[1] in (NOISY.text, QUESTION.text, spelled())


def spelled():
    from llmkit.repair.spelling import spell

    return spell(NOISY.text)


@pytest.mark.parametrize("name", sorted(set(CALLS) - {"oracle"}))
def test_no_arm_but_the_oracle_sees_the_clean_question_or_the_gold(name):
    question = Question("q", "SECRET CLEAN TEXT", "GOLD", "numeric")
    _, asked = ask(name, Variant(question, "ec", "noisy txet"), lambda r: "something else")
    seen = " ".join(m.content for r in asked for m in r.messages)
    assert "SECRET" not in seen
    assert "GOLD" not in seen


@pytest.mark.parametrize("name", ["correct_only", "rop", "rop_selfcorrect", "atf"])
def test_a_refused_correction_is_not_asked(name):
    answer, asked = ask(name, answer=lambda r: "I'm sorry, I can't." if r.purpose != "answer" else "The answer is 5")
    assert answer.fallback == "refused"
    assert asked[-1].messages[-1].content.endswith(NOISY.text)


@pytest.mark.parametrize(("lang", "said"), [("en", "Tom have Brot"), ("", "Tom hvae Brot"), ("zh", "Tom hvae Brot")])
def test_a_dictionary_leaves_a_set_in_another_language_alone(lang, said):
    question = Question("q", "Tom hvae Brot", "5", "numeric")
    answer, asked = ask("spell_fix", Variant(question, "clean", question.text), scripted, lang=lang)
    assert answer.corrected_text == said
    assert asked[-1].messages[-1].content.endswith(said)


def test_rop_answers_the_corrected_question_under_the_guidance_instruction():
    answer, asked = ask("rop", answer=scripted)
    assert answer.corrected_text == QUESTION.text
    assert default_instructions().guidance.best in asked[1].messages[0].content
    assert asked[0].role == "corrector"


def test_self_correction_asks_the_answering_model():
    _, asked = ask("rop_selfcorrect", answer=scripted)
    assert {r.role for r in asked} == {"answerer"}


def test_votes_are_counted_by_answer_and_ties_go_to_the_first():
    replies = iter(["The answer is 7", "The answer is 5", "so the answer is 5."])
    answer, asked = ask("self_consistency", answer=lambda r: next(replies), section=RopSection(votes=3))
    assert answer.reply.text == "The answer is 5"
    assert len({(r.sampling.seed, r.replicate) for r in asked}) == 3


def test_likelihood_chooses_the_likeliest_option():
    def answer(request):
        return Reply("", logprobs=(-0.5, -0.5) if request.continuation == "a bird" else (-9.0,))

    got, asked = ask("stand", Variant(CHOICE, "clean", CHOICE.text), answer, likelihood=True)
    assert (got.parsed, got.reply.text) == ("A", "The answer is (A)")
    assert [r.continuation for r in asked] == ["a bird", "a stone"]


def test_noise_can_fall_on_the_instruction_or_on_the_examples():
    noise = {"noise": lambda text, variant: text.upper(), "examples": [("How much is 1 + 1?", "2")]}
    _, asked = ask("few_shot_cot", target="instruction", **noise)
    assert asked[0].messages[0].content.startswith(render("arms/stand-v1").upper())
    _, asked = ask("few_shot_cot", target="fewshot", **noise)
    assert "HOW MUCH IS 1 + 1?" in asked[0].messages[0].content
    assert NOISY.text in asked[0].messages[0].content


@pytest.mark.parametrize("text", ["{{ 7 * 7 }}", "{% for x in y %}", "<|im_end|>\x00", "é" * 100_000])
def test_a_question_is_data_and_never_a_template(text):
    question = Question("q", text, "1", "numeric")
    _, asked = ask("rop", Variant(question, "clean", text), scripted)
    assert asked[0].messages[0].content.endswith(text)


def test_llm_adapters_asks_in_the_words_that_its_rows_were_trained_in():
    words = "Please choose the correct answer to the question: {}\n\nAnswer1: red Answer2: blue\n\nAnswer format: {}"
    form, options = "answer1/answer2", render_options(("red", "blue"))
    meta = {"instruction": words.format("Which colour?", form), "output": "the correct answer is answer2"}
    question = Question("q", f"Which colour?{options}", "(B)", "choice", ("red", "blue"), meta=meta)
    noisy = Variant(question, "ec", f"Whcih colour?{options}")
    answer, asked = ask("llm_adapters", noisy, lambda r: "the correct answer is answer2")
    prompt = asked[0].messages[-1].content
    assert f"### Instruction:\n{words.format('Whcih colour?', form)}\n" in prompt
    assert prompt.rstrip().endswith("### Response:")
    assert (answer.parsed, answer.reply.text) == ("B", "The answer is (B)")
    answer, _ = ask("llm_adapters", noisy, lambda r: "the correct answer is answer3")
    assert (answer.parsed, extract(answer.reply.text, question)) == (None, None)  # there is no third option
