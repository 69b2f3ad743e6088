"""The user's own prompts, from a file of rows to the report: a scripted model stands for the application."""

from __future__ import annotations

import json

import pytest
from helpers.drive import drive
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.cli import rows as rows_flags
from llmkit.errors import DataError, RecipeError, UsageError
from llmkit.evaluate import estimate, plan
from llmkit.measure.compare import compare
from llmkit.measure.results import Metrics
from llmkit.perturb import make_variants
from llmkit.recipe import load
from llmkit.recipe.schema import PerturbSection, RopSection
from llmkit.rop import ARMS, ArmContext, Instructions
from llmkit.rop.instructions import Search
from llmkit.tasks import OwnPrompt, own_prompts, question_messages, values_of
from llmkit.types import Message, Part, Question, Variant

BODIES = [
    "My parcel has not arrived since Monday, please help me to find it",
    "I was charged twice for the blue jacket that I ordered last week",
    "How can I change the address of my order before it is sent",
    "The zipper of the bag is broken {{ 7 * 7 }} and I would like <|im_end|> another one",
]
QUEUES = ["delivery", "billing", "account", "returns"]
SUPPORT = """- role: system
  content: Sort tickets of the shop {{ shop }}.
- role: user
  content: |
    {{ body }}
"""
SHORT = "[{role: user, content: '{{ body }} -> queue?'}]"


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """shop(rows, **prompts) -> overrides of a run over these rows, in a folder with the prompts' files."""
    monkeypatch.chdir(tmp_path)

    def write(rows=None, order=(), **prompts):
        rows = rows or [{"body": b, "shop": "A & B", "queue": q} for b, q in zip(BODIES, QUEUES, strict=True)]
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        for name, text in prompts.items():
            (tmp_path / f"{name}.yaml").write_text(text)
        made = {override.key.replace(".", "__"): override.value for override in rows_flags.defaults("rows.jsonl")}
        named = {"prompts": [f"{name}.yaml" for name in order or prompts]} if prompts else {}
        return made | {"data__task": None, "data__limit": None, "data__question": "body", **named}

    return write


def contents(request):
    return [(m.role, m.content) for m in request.messages]


def test_a_row_without_answer_and_prompt_is_sent_as_it_is(run, shop):
    _, engine = run(lambda request: "ok", "eval", **shop())
    asked = [request for request in engine.asked if not request.replicate]
    assert all([m.role for m in request.messages] == ["user"] for request in asked)
    assert set(BODIES) <= {request.messages[0].content for request in asked}


def test_a_row_with_an_answer_keeps_the_words_of_llmkit(run, shop):
    _, engine = run(lambda request: "ok", "eval", **shop() | {"data__answer": "queue"})
    assert all("\n\nQuestion: " in request.messages[0].content for request in engine.asked)


def test_messages_are_rendered_over_the_row_and_values_stay_data(run, shop):
    result, engine = run(lambda request: "ok", "eval", reads="*", **shop(support=SUPPORT))
    sent = {tuple(contents(request)) for request in engine.asked}
    for body in BODIES:
        assert (("system", "Sort tickets of the shop A & B."), ("user", body)) in sent
    assert {request.fields["shop"] for request in engine.asked} == {"A & B"}
    assert all(request.fields["body"] == request.messages[-1].content for request in engine.asked)
    journal = [json.loads(line) for line in (result.folder / "samples.jsonl").open(encoding="utf-8")]
    assert {row["prompt"] for row in journal} == {"support"}
    assert all(row["key"].startswith("support/stand/") for row in journal)
    assert "Sort tickets" in (result.folder / "recipe.resolved.yaml").read_text()


def test_a_finished_run_asks_nothing_again_without_its_file(run, shop, tmp_path):
    overrides = shop(support=SUPPORT)
    first, _ = run(lambda request: "ok", "eval", **overrides)
    text = (tmp_path / "support.yaml").read_text()
    (tmp_path / "moved.yaml").write_text(text)
    again, engine = run(lambda r: "no", "eval", **overrides | {"prompts": [{"name": "support", "file": "moved.yaml"}]})
    assert again.folder == first.folder
    assert engine.asked == []
    other, engine = run(lambda r: "ok", "eval", **overrides | {"prompts": [{"name": "support", "text": text + "\n"}]})
    assert other.folder != first.folder


def right(request):
    """Knows every queue under the long prompt, and under the short one only that of clean rows."""
    said = request.messages[-1].content.removesuffix(" -> queue?")
    if "-> queue?" in request.messages[-1].content:
        return QUEUES[BODIES.index(said)] if said in BODIES else "no idea"
    return max(zip(BODIES, QUEUES, strict=True), key=lambda pair: len(set(pair[0].split()) & set(said.split())))[1]


def test_several_prompts_are_compared_pair_by_pair(run, shop):
    overrides = shop(support=SUPPORT, short=SHORT) | {"data__answer": "queue", "perturb__rate": 0.3}
    gates = [
        {"metric": "stand.accuracy", "min": 0.01},
        {"metric": "short.stand.accuracy_change", "condition": "like:typist", "min": -0.1, "bound": "point"},
        {"metric": "short.stand.accuracy_change", "min": -0.1, "bound": "point"},
    ]
    result, engine = run(right, "eval", **overrides, eval__gates=gates, eval__arms=["stand", "oracle"])
    assert len({request.messages for request in engine.asked}) == 2 * 2 * len(BODIES)
    metrics = result.metrics
    assert metrics.prompt == "support"
    assert list(metrics.prompts) == ["short"]
    assert metrics.arms["stand"].conditions["like:typist"].accuracy.value == 1
    short = metrics.prompts["short"]
    assert short.arms["stand"].conditions["clean"].accuracy.value == 1
    assert short.arms["stand"].conditions["like:typist"].accuracy.value == 0
    assert short.arms["oracle"].conditions["like:typist"].accuracy.value == 1
    change = short.changes.arms["stand"].accuracy_change["like:typist"]
    assert (change.value, change.better, change.worse) == (-1, 0, 4)
    assert [(gate.metric, gate.verdict) for gate in metrics.gates] == [
        ("stand.accuracy", "pass"),
        ("short.stand.accuracy_change", "fail"),
        ("short.stand.accuracy_change", "pass"),
    ]
    assert Metrics.read(result.folder / "metrics.json") == metrics
    page = (result.folder / "report.html").read_text()
    assert "Prompts against support" in page
    assert "short.stand" in page


def test_each_prompt_is_measured_as_a_run_of_its_own_would_be(run, shop):
    overrides = shop(support=SUPPORT, short=SHORT) | {"data__answer": "queue", "perturb__rate": 0.3}
    both, _ = run(right, "eval", **overrides)
    alone, _ = run(right, "eval", **overrides | {"prompts": ["short.yaml"]})
    assert alone.metrics.prompts == {}
    assert both.metrics.prompts["short"].arms == alone.metrics.arms


def test_rows_without_answers_show_what_changes_by_prompt(run, shop):
    overrides = shop(support=SUPPORT, short=SHORT) | {"perturb__rate": 0.9}

    # A number made of the text: another wording is another fact.
    def answer(request):
        return "No. 7" if request.messages[1:] else f"No. {sum(map(ord, request.messages[0].content))}"

    result, _ = run(answer, "eval", **overrides)
    assert result.metrics.arms["stand"].stability["like:typist"].changed.value == 0
    share = result.metrics.prompts["short"].arms["stand"].stability["like:typist"].changed.value
    assert share > 0
    changes = result.metrics.prompts["short"].changes.arms["stand"].changed_change
    assert changes["like:typist"].value == share
    assert changes["clean#2"].value == 0
    assert "Prompts against support" in (result.folder / "report.html").read_text()


@pytest.mark.parametrize(("gate", "said"), [
    ("shrt.stand.accuracy", "shrt.stand.accuracy"),
    ("support.stand.accuracy_change", "needs a stored run"),
    ("short.stand.gain", "measured against `stand`"),
])  # fmt: skip
def test_a_gate_on_a_prompt_that_is_not_there_is_refused(shop, gate, said):
    overrides = shop(support=SUPPORT, short=SHORT) | {"data__answer": "queue"}
    with pytest.raises(UsageError, match=said):
        planned(overrides, **{"eval.gates": [{"metric": gate, "min": 0.5}]})


def planned(overrides, **more):
    keys = {key.replace("__", "."): value for key, value in overrides.items()}
    return plan(
        load(
            None, {"model.path": "x", "engine.kind": "openai", "engine.base_url": ["http://127.0.0.1:9"]} | keys | more
        ).recipe,
        "eval",
    )


def more(text):
    return SUPPORT.replace("{{ body }}", "{{ body }}\n    " + text)


BAD = [
    (SUPPORT.replace("body", "bdy"), UsageError, "support.yaml:5: the prompt has no place for `body`", "`{{ bdy }}`"),
    (SUPPORT.replace("{{ body }}", "Hello"), UsageError, "support.yaml:5: the prompt has no place for `body`", "write"),
    (SUPPORT.replace("shop }}", "shp }}"), DataError, "support.yaml:2: the row .* has no field `shp`", "`shop`"),
    (more("{{ queue }}"), UsageError, "support.yaml:6: .*shows the answer", "measures"),
    (more("{{ 1 / 0 }}"), DataError, "support.yaml:6: fails: ZeroDiv", None),
    (more("{{ body.__class__ }}"), DataError, "support.yaml:6: .*unsafe", None),
    (SUPPORT + "- '{{ messages }}'", DataError, "no conversation", "--field"),
]  # fmt: skip


@pytest.mark.parametrize(("prompt", "kind", "said", "hint"), BAD)
def test_what_does_not_go_with_the_rows_is_told_before_any_model_is_asked(shop, prompt, kind, said, hint):
    with pytest.raises(kind, match=said) as caught:
        planned(shop(support=prompt) | {"data__answer": "queue"})
    assert hint is None or hint in caught.value.hint


def test_a_field_that_some_rows_lack_is_found_in_all_of_them(shop):
    rows = [{"body": body} | ({"shop": "A"} if number % 2 else {}) for number, body in enumerate(BODIES)]
    with pytest.raises(DataError, match=r"has no field `shop` \(and 1 of 4 rows more\)"):
        planned(shop(rows, support=SUPPORT))


@pytest.mark.parametrize("arm", ["llm_adapters", "rop_one_call"])
def test_an_arm_in_words_of_its_own_is_refused(shop, arm):
    for overrides in (shop(support=SUPPORT), shop()):
        with pytest.raises(UsageError, match=f"arm `{arm}` cannot"):
            planned(overrides, **{"eval.arms": ["stand", arm], "rop.search.budget": 0})


def test_noise_on_the_instruction_needs_one(shop):
    with pytest.raises(UsageError, match=r"perturb.target: instruction"):
        planned(shop(support=SUPPORT), **{"perturb.target": "instruction"})


def test_the_estimate_shows_the_first_messages_by_prompt(shop):
    shown = estimate(planned(shop(support=SUPPORT, short=SHORT))).arms
    assert [arm.arm for arm in shown] == ["support.stand", "short.stand"]
    assert [m.role for m in shown[0].first[0]] == ["system", "user"]
    assert shown[1].first[0][0].content.endswith(" -> queue?")


# Fields and conversations

SOME = "please cancel my whole order and send money back today {{x}} {%"
WORDS = st.lists(st.sampled_from(SOME.split()), min_size=1)
TEXTS = st.one_of(WORDS.map(" ".join), st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=60))
TURNS = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": TEXTS}),
    min_size=1, max_size=6,
)  # fmt: skip


def conversation(turns):
    parts = tuple(Part("messages", i, t["content"]) for i, t in enumerate(turns) if t["role"] == "user")
    text = "\n\n".join(part.text for part in parts if part.text.strip())
    return Question("row-1", text, None, "text", fields={"messages": turns, "kept": "x"}, parts=parts)


@settings(max_examples=60, deadline=None)
@given(turns=TURNS, last=WORDS.map(" ".join))
def test_noise_falls_on_user_turns_alone_and_all_else_stays_byte_for_byte(turns, last):
    turns = [*turns, {"role": "user", "content": last}]
    question = conversation(turns)
    section = PerturbSection(conditions=("typing", "ec"), rate=0.8)
    for variant in make_variants([question], section, 7):
        sent = question_messages(question, variant.texts)
        assert [m.role for m in sent] == [turn["role"] for turn in turns]
        for message, turn in zip(sent, turns, strict=True):
            if turn["role"] != "user" or variant.condition == "clean":
                assert message.content == turn["content"]
        assert variant.condition != "clean" or variant.texts == question.texts
        for edit in variant.edits:
            assert variant.text[edit.start : edit.end] == edit.new


@settings(max_examples=60, deadline=None)
@given(subject=TEXTS, body=WORDS.map(" ".join), other=TEXTS)
def test_noise_falls_on_the_named_fields_alone_each_with_a_seed_of_its_own(subject, body, other):
    parts = (Part("subject", None, subject), Part("body", None, body))
    fields = {"subject": subject, "body": body, "other": other}
    text = "\n\n".join(part.text for part in parts if part.text.strip())
    question = Question("row-1", text, None, "text", fields=fields, parts=parts)
    section = PerturbSection(conditions=("typing",), rate=0.8)
    _, noisy = make_variants([question], section, 7)
    values = values_of(question, noisy.texts)
    assert values["other"] == other
    assert list(values) == list(fields)
    assert noisy.strength.words <= 1
    twin = Question("row-1", f"{body}\n\n{body}", None, "text", parts=(Part("a", None, body), Part("b", None, body)))
    changed = [make_variants([twin], section, seed)[1].texts for seed in range(8)]
    few = sum(word.isalpha() for word in body.split()) < 4  # placeholders are protected, and few words rarely change
    assert few or any(one != two for one, two in changed)


def test_a_logged_conversation_is_sent_up_to_its_last_question(run, shop):
    call = {"id": "1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    turns = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "where is my parcel that I ordered two weeks ago"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": '{"state": "lost"}', "tool_call_id": "1"},
        {"role": "assistant", "content": "It is lost."},
        {"role": "user", "content": "then please send me another one as soon as possible"},
        {"role": "assistant", "content": "Done."},
    ]
    overrides = shop([{"messages": turns, "tools": [{"type": "function", "function": {"name": "find"}}]}])
    del overrides["data__question"]
    _, engine = run(lambda request: "ok", "eval", **overrides | {"perturb__rate": 0.5})
    clean = next(request for request in engine.asked if not request.replicate)
    assert [m.as_dict() for m in clean.messages] == turns[:-1]
    assert clean.tools == ({"type": "function", "function": {"name": "find"}},)
    noisy = [request for request in engine.asked if request.messages != clean.messages]
    assert noisy
    for request in noisy:
        differing = [i for i, (a, b) in enumerate(zip(request.messages, clean.messages, strict=True)) if a != b]
        assert set(differing) <= {1, 5}


def test_a_prompt_takes_the_turns_of_the_row_where_it_says_so(shop):
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    prompt = "messages:\n- {role: system, content: S}\n- '{{ messages }}'\ntools: [{name: t}]"
    overrides = shop([{"messages": turns}], own=prompt) | {"data__question": "messages"}
    (own,) = own_prompts(load(None, {key.replace("__", "."): v for key, v in overrides.items()}).recipe)
    sent = own.messages(conversation(turns), ("A", "C"))
    assert [(m.role, m.content) for m in sent] == [("system", "S"), ("user", "A"), ("assistant", "b"), ("user", "C")]
    assert own.tools == ({"name": "t"},)


MIXED = [
    ([{"body": "a"}, {"body": [{"role": "user", "content": "b"}]}], "rows are of mixed kinds"),
    ([{"body": [{"content": "b"}]}], "turn 1 has no role"),
    ([{"body": [{"role": "bot", "content": "b"}]}], 'turn 1 has the role "bot"'),
    ([{"body": [{"role": "user", "content": [1]}]}], "turn 1 has no text as its content"),
    ([{"body": ["hello"]}], "turn 1 is no map"),
    ([{"body": [{"role": "assistant", "content": "b"}]}], "the user says nothing"),
    ([{"body": {"a": 1}}], "is no text but"),
]


@pytest.mark.parametrize(("rows", "said"), MIXED)
def test_rows_that_are_neither_text_nor_conversation_are_refused_with_their_place(shop, rows, said):
    with pytest.raises(DataError, match=said) as caught:
        planned(shop(rows))
    assert "rows.jsonl:" in caught.value.message


def test_several_fields_are_named_by_the_recipe(shop):
    rows = [{"subject": "late parcel again", "body": body} for body in BODIES]
    prompt = "[{role: user, content: '{{ subject }}: {{ body }}'}]"
    made = planned(shop(rows, own=prompt), **{"perturb.fields": ["subject", "body"], "perturb.rate": 0.9})
    noisy = [v for v in made.variants if v.condition == "like:typist"]
    assert all(len(v.texts) == 2 for v in noisy)
    assert any(v.texts[0] != "late parcel again" for v in noisy)
    with pytest.raises(UsageError, match="no place for `subject`"):
        planned(shop(rows, own="[{role: user, content: '{{ body }}'}]"), **{"perturb.fields": ["subject", "body"]})
    with pytest.raises(DataError, match="no field `sbject`"):
        planned(shop(rows, own=prompt), **{"perturb.fields": ["sbject"]})
    with pytest.raises(UsageError, match=r"perturb.fields names fields of your own rows"):
        plan(load(None, {"data.task": "arithmetic", "perturb.fields": ["a"]}).recipe, "eval")


# The stages of RoP around a prompt

INSTRUCTIONS = Instructions(Search("correction", "Mend it."), Search("guidance", "Think well."))
QUESTION = Question("r", "teh bag", None, "text", fields={"body": "teh bag"}, parts=(Part("body", None, "teh bag"),))


def asked_by(arm, text, question=QUESTION, **context):
    prompt = own(text) if text else None
    made = ArmContext(RopSection(correction_shots=0), INSTRUCTIONS, prompt=prompt, **context)
    replies = {"correct": "the bag", "analyse": "all needed", "filter": "the bag"}
    answer, asked = drive(ARMS[arm](made).ask(Variant.unchanged(question)), lambda r: replies.get(r.purpose, "ok"))
    return answer, [contents(request) for request in asked]


def own(text):
    (prompt,) = own_prompts(load(None, {"prompts": [{"name": "own", "text": text}]}).recipe)
    return prompt


BARE = "[{role: system, content: S}, {role: user, content: '{{ body }}!'}]"
PLACED = "[{role: system, content: 'S{{ guidance }}'}, {role: user, content: '{{ examples }}/{{ body }}'}]"


def test_the_correction_works_on_the_fields_text_and_the_guidance_stands_before_it():
    answer, (correction, final) = asked_by("rop", BARE)
    assert correction[0][1].endswith("teh bag")
    assert final == [("system", "S"), ("user", "Think well.\n\nthe bag!")]
    assert answer.corrected_text == "the bag"


def test_guidance_and_examples_stand_where_the_prompt_says():
    assert asked_by("rop", PLACED)[1][-1] == [("system", "SThink well."), ("user", "/the bag")]
    shown = asked_by("few_shot_cot", PLACED, examples=[("a", "b")])[1][0]
    assert shown == [("system", "S"), ("user", "Question: a\nAnswer: b/teh bag")]
    bare = asked_by("few_shot_cot", BARE, examples=[("a", "b")])[1][0]
    assert bare[1] == ("user", "Question: a\nAnswer: b\n\nteh bag!")


def test_a_field_that_is_called_guidance_is_the_rows():
    row = Question("r", "x", None, "text", fields={"body": "x", "guidance": "G"}, parts=(Part("body", None, "x"),))
    text = "[{role: user, content: '{{ guidance }} {{ body }}'}]"
    assert asked_by("guide_only", text, row)[1] == [[("user", "Think well.\n\nG x")]]


def test_stand_adds_nothing():
    assert asked_by("stand", BARE)[1] == [[("system", "S"), ("user", "teh bag!")]]
    assert asked_by("stand", None)[1] == [[("user", "teh bag")]]


@pytest.mark.parametrize(
    "arm", ["correct_only", "rop", "atf", "spell_fix", "unicode_fold", "oracle", "rop_selfcorrect"]
)
def test_every_repair_works_on_each_text_of_a_divided_row(arm):
    turns = [
        {"role": "user", "content": "teh bag"},
        {"role": "assistant", "content": "Teh?"},
        {"role": "user", "content": "b"},
    ]
    _, asked = asked_by(arm, None, conversation(turns))
    assert [role for role, _ in asked[-1]] == ["user", "assistant", "user"]
    assert asked[-1][1] == ("assistant", "Teh?")
    corrections = {"correct_only": 2, "rop": 2, "rop_selfcorrect": 2, "atf": 4}
    assert len(asked) == 1 + corrections.get(arm, 0)


def test_an_arm_that_changes_a_divided_row_as_a_whole_is_refused():
    question = conversation([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}])
    arm = ARMS["stand"](ArmContext(RopSection(), INSTRUCTIONS))
    with pytest.raises(UsageError, match="as a whole"):
        arm.put("another text", Variant.unchanged(question))
    assert [m.content for m in arm.put(question.text, Variant.unchanged(question))] == ["a", "b"]


def test_names_that_are_no_words_are_fields_of_row():
    row = Question("r", "x", None, "text", fields={"the body": "x"}, parts=(Part("the body", None, "x"),))
    prompt = own("[{role: user, content: 'Say {{ row[\"the body\"] }}'}]")
    prompt.refuse_without_place(row, None)
    assert prompt.messages(row, ("y",)) == (Message("user", "Say y"),)
    with pytest.raises(UsageError) as caught:
        own(BARE).refuse_without_place(row, None)
    assert '{{ row["the body"] }}' in caught.value.hint


def test_without_a_file_there_is_nothing_to_refuse():
    assert OwnPrompt().refuse_without_place(QUESTION, "queue") is None
    assert OwnPrompt().messages(QUESTION, ("y",)) == (Message("user", "y"),)


def test_a_prompt_that_is_no_prompt_is_a_fault_of_the_recipe(shop):
    with pytest.raises(RecipeError, match=r"own.yaml:1: has no `role`"):
        planned(shop(own="[{content: '{{ body }}'}]"))


def test_runs_with_several_prompts_are_compared_prompt_by_prompt(run, shop):
    overrides = shop(support=SUPPORT, short=SHORT) | {"data__answer": "queue", "perturb__rate": 0.3}
    one, _ = run(right, "eval", **overrides)
    two, _ = run(right, "eval", **overrides, seed=8)
    rows = {(row.arm, row.condition): row for row in compare([one.folder, two.folder]).rows if row.metric == "accuracy"}
    assert {arm for arm, _ in rows} == {"support.stand", "short.stand"}
    assert rows["support.stand", "like:typist"].before == 1
    assert rows["short.stand", "like:typist"].before == 0
