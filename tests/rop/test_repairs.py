"""Arms that are named by a chain of correctors."""

from __future__ import annotations

import pytest
from helpers.drive import drive
from helpers.scripted import scholar

from llmkit.cli import app
from llmkit.errors import GateFailed, UsageError
from llmkit.measure import gates
from llmkit.measure.beside import beside
from llmkit.recipe.schema import RopSection
from llmkit.report import write
from llmkit.rop import ArmContext, arm_of, default_instructions, known_arm
from llmkit.runs import Run
from llmkit.types import Part, Question, Reply, Variant

QUESTION = Question("q1", "Tom has 3 pens and buys 2. How many pens has he?", "5", "numeric")
NOISY = Variant(QUESTION, "ec", "Tom has 3 pnes \u0430nd buys 2. How mnay pens has he?")
CHOICE = Question("c1", "What flies?\nAnswer Choices: (A) a bird (B) a stone", "A", "choice", ("a bird", "a stone"))


def ask(name, variant=NOISY, said=QUESTION.text, section=None, **context):
    arm = arm_of(name)(ArmContext(section or RopSection(), default_instructions(), **context))

    def answer(request):
        if request.continuation:
            return Reply("", logprobs=(-0.5,) if request.continuation == "a bird" else (-9.0,))
        return said if request.purpose == "correct" else "The answer is 5"

    return drive(arm.ask(variant), answer)


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("fold", 0),
        ("spell", 0),
        ("fold+spell", 0),
        ("model", 1),
        ("fold+spell+model", 1),
        ("vote", 5),
        ("fold+vote", 5),
    ],
)
def test_a_chain_repairs_and_asks(name, calls):
    answer, asked = ask(name)
    assert [r.purpose for r in asked] == ["correct"] * calls + ["answer"]
    assert asked[-1].messages[-1].content.endswith(answer.corrected_text)
    assert ("correction" in arm_of(name).needs) == bool(calls)
    assert arm_of(name).name == name
    assert arm_of(name) is arm_of(name)


def test_the_links_of_a_chain_work_one_after_the_other():
    answer, asked = ask("fold+spell+model")
    assert " and buys 2. How many" in asked[0].messages[0].content
    assert answer.corrected_text == QUESTION.text


def test_the_number_of_votes_is_the_recipes():
    assert len(ask("vote", section=RopSection(correction_votes=3))[1]) == 4


def test_a_reply_that_is_no_correction_is_noted():
    answer, asked = ask("model", said="7")
    assert answer.fallback == "answered"
    assert asked[-1].messages[-1].content.endswith(NOISY.text)


def test_options_of_a_likelihood_question_are_not_put_to_the_corrector():
    noisy = CHOICE.text.replace("What flies", "Waht fleis").replace("a bird", "a brid")
    answer, asked = ask("model", Variant(CHOICE, "ec", noisy), "What flies?", likelihood=True)
    assert "brid" not in asked[0].messages[0].content
    assert answer.corrected_text == "What flies?\nAnswer Choices: (A) a brid (B) a stone"
    assert answer.parsed == "A"
    _, asked = ask("model", Variant(CHOICE, "ec", noisy), "What flies?")
    assert "brid" in asked[0].messages[0].content


def test_each_text_of_a_divided_row_is_repaired_by_itself():
    parts = (Part("subject", None, "a"), Part("body", None, "b"), Part("note", None, "c"))
    row = Question("r", "a\n\nb", None, "text", fields={"subject": "a", "body": "b", "note": "c"}, parts=parts)
    texts = ("Peolpe \u0430nd", "", "thsi 3 mnay")
    answer, asked = ask("fold+spell", Variant(row, "ec", "\n\n".join(texts), parts=texts))
    assert answer.corrected_text == "People and\n\nthis 3 many"
    _, asked = ask("model", Variant(row, "ec", "\n\n".join(texts), parts=texts))
    assert len(asked) == 3, "an empty text is not put to the corrector"


@pytest.mark.parametrize(
    ("name", "said", "hint"),
    [
        ("fold+spel", "unknown corrector `spel`", "`spell`"),
        ("fold+spell+", "unknown corrector ``", "spell"),
        ("spel", "unknown arm `spel`", "`spell`"),
        ("stnad", "unknown arm `stnad`", "`stand`"),
        ("stand+spell", "unknown corrector `stand`", "known"),
        ("spell+fold+spell", "`spell+fold+spell` names a corrector twice", "once"),
    ],
)
def test_a_wrong_name_is_met_with_the_nearest(name, said, hint):
    with pytest.raises(UsageError) as error:
        arm_of(name)
    assert said in error.value.message
    assert hint in error.value.hint
    assert known_arm(name) is None


def test_a_gate_names_a_chain():
    gate = gates.parse("fold+spell.gain@ec >= -0.1 low")
    assert gate == {"metric": "fold+spell.gain", "condition": "ec", "min": -0.1, "bound": "low"}


ARMS = ["stand", "fold+spell", "fold+model", "vote"]


def test_a_run_with_chains_is_judged_shown_and_compared(run):
    result, _ = run(
        scholar,
        rop__arms=ARMS,
        rop__search__budget=0,
        eval__gates=[{"metric": "fold+model.gain", "condition": "ec", "min": 0.1, "bound": "point"}],
    )
    assert set(result.metrics.arms) == set(ARMS)
    assert result.metrics.arms["fold+model"].conditions["ec"].accuracy.value == 1.0
    assert result.metrics.gates[0].verdict == "pass"
    # The guard keeps the order of words where a number is in the way, so not all of `woo` comes back.
    assert result.metrics.arms["vote"].correction["ec"].numbers_kept.value == 1.0
    paths = write(result.folder, Run(result.folder).samples(), result.metrics)
    assert all("fold+model" in path.read_text() for path in paths if path.suffix in (".html", ".md"))
    again, _ = run(scholar, rop__arms=["stand", "fold+model"], rop__search__budget=0, output__name="again")
    assert [row.arm for row in beside([result.folder, again.folder]).rows].count("fold+model") == 2


def test_a_gate_on_a_chain_fails(run):
    result, _ = run(
        scholar,
        rop__arms=["stand", "fold+model"],
        rop__search__budget=0,
        eval__gates=[{"metric": "fold+model.gain", "condition": "ec", "max": 0, "bound": "point"}],
    )
    with pytest.raises(GateFailed, match=r"fold\+model.gain"):
        gates.enforce(result.metrics.gates)


def test_recipe_check_knows_chains(tmp_path, capsys):
    def check(arm):
        path = tmp_path / "r.yaml"
        gate = f"eval: {{gates: [{{metric: {arm}.gain, min: -0.5}}]}}"
        path.write_text(f"version: 1\ndata: {{task: arithmetic}}\nrop: {{arms: [stand, {arm}]}}\n{gate}\n")
        code = app.run(["recipe", "check", str(path)])
        said = capsys.readouterr()
        return code, said.out + said.err

    assert check("fold+spell+vote")[0] == 0
    code, said = check("fold+spel")
    assert code == 2
    assert "spell" in said
