"""Whole runs against a scripted model whose right answers are known."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import weakref
from dataclasses import replace

import pytest
from helpers.fakes import FakeEngine
from helpers.processes import started
from helpers.scripted import OVERRIDES, scholar

from llmkit import evaluate, runs
from llmkit.errors import DataError, EngineError, Incomplete, RecipeError, UsageError
from llmkit.evaluate import pools as conditions
from llmkit.evaluate.estimate import estimate
from llmkit.evaluate.rescore import rescore
from llmkit.evaluate.run import finished
from llmkit.measure.beside import beside
from llmkit.measure.compare import compare
from llmkit.recipe import load as load_recipe
from llmkit.runs import Run, RunFolder
from llmkit.runs.journal import parsed
from llmkit.runs.samples import Sample
from llmkit.tasks import SCORERS, leaks, worked_examples
from llmkit.types import Question, Reply


def accuracy(result, arm, condition):
    return result.metrics.arms[arm].conditions[condition].accuracy.value


def test_rop_recovers_what_noise_takes_when_the_corrector_can_correct(run):
    result, _ = run()
    assert accuracy(result, "stand", "clean") == accuracy(result, "rop", "clean") == 1.0
    assert accuracy(result, "stand", "ec") == accuracy(result, "guide_only", "woo") == 0.0
    assert accuracy(result, "rop", "ec") == accuracy(result, "correct_only", "woo") == 1.0


def test_a_run_leaves_everything_in_its_folder(run):
    result, _ = run()
    names = {p.name for p in result.folder.iterdir()}
    assert {
        "recipe.yaml",
        "recipe.resolved.yaml",
        "env.json",
        "samples.jsonl",
        "metrics.json",
        "instructions.json",
    } <= names
    rows = [json.loads(line) for line in (result.folder / "samples.jsonl").read_text().splitlines()]
    outcomes = [r for r in rows if r["kind"] == "outcome"]
    assert len(outcomes) == 6 * 3 * 5
    assert len({r["key"] for r in outcomes}) == len(outcomes)
    assert all(r["calls"] for r in rows)


def test_a_second_run_asks_no_model(run):
    first, _ = run()
    second, engine = run()
    assert second.model_calls == 0
    assert engine.asked == []
    assert without_timing(second.metrics) == without_timing(first.metrics)


def test_the_cache_alone_answers_a_run_in_another_folder(run, tmp_path):
    run()
    _, engine = run(output__name="elsewhere")
    assert engine.asked == []


def test_the_journal_alone_answers_where_the_cache_is_off(run):
    run(use_cache=False)
    _, engine = run(use_cache=False)
    assert engine.asked == []


def without_timing(metrics):
    return {k: v for k, v in metrics.as_dict().items() if k != "timing"}


@pytest.mark.parametrize("after", [0, 1, 7, 30, 55])
def test_an_engine_that_dies_leaves_a_run_that_resumes_and_ends_the_same(run, after):
    whole, engine = run(output__name="whole", cache="other")
    total = len(engine.asked)
    said = 0

    def dies(request):
        nonlocal said
        said += 1
        if said > after:
            raise EngineError("the server is gone")
        return scholar(request)

    with pytest.raises((Incomplete, EngineError)):
        run(dies)
    resumed, engine = run(shuffle=5)
    assert len(engine.asked) == total - after
    assert without_timing(resumed.metrics) == without_timing(whole.metrics)
    assert [s.outcome for s in resumed.samples] == [s.outcome for s in whole.samples]


def test_a_run_that_goes_on_holds_one_line_of_its_journal_at_a_time(run, monkeypatch):
    run()
    held: list[weakref.ref] = []
    at_once: list[int] = []

    class Line(dict):
        """A parsed line that can be watched."""

    def watched(path, number, line):
        at_once.append(sum(ref() is not None for ref in held))
        row = Line(parsed(path, number, line))
        held.append(weakref.ref(row))
        return row

    for module in (runs.run, runs.journal):
        monkeypatch.setattr(module, "parsed", watched)
    run(use_cache=False)
    assert len(at_once) > 100
    assert max(at_once) <= 2


def test_the_order_of_replies_changes_nothing(run):
    a, _ = run(shuffle=1, output__name="a", use_cache=False)
    b, _ = run(shuffle=2, output__name="b", use_cache=False)
    assert without_timing(a.metrics) == without_timing(b.metrics)
    assert a.instructions == b.instructions


def test_a_failed_request_is_a_wrong_answer_with_its_reason(run):
    def sometimes(request):
        if request.purpose == "answer" and len(request.messages[0].content) % 3 == 0:
            return EngineError("too long")
        return scholar(request)

    result, _ = run(sometimes, use_cache=False)
    failed = [s.outcome for s in result.samples if s.outcome.error]
    assert failed
    assert {o.error for o in failed} == {"too long"}
    assert not any(o.correct for o in failed)
    assert len(result.samples) == 6 * 3 * 5


def test_per_type_tunes_one_pair_of_instructions_for_each_kind_of_noise(run):
    result, _ = run(rop__scope="per_type")
    assert [i.trained_on for i in result.instructions] == ["ec", "woo"]
    assert len(result.samples) == 6 * 3 * 5


def test_held_out_kinds_make_a_matrix(run):
    result, _ = run(rop__holdout="one-out", rop__arms=["stand", "rop"])
    assert [i.trained_on for i in result.instructions] == ["all but ec", "all but woo"]
    held = {(s.outcome.meta.get("holdout"), s.outcome.condition) for s in result.samples if s.outcome.arm == "rop"}
    assert held == {(h, c) for h in ("ec", "woo") for c in ("clean", "ec", "woo")}


def test_several_search_seeds_and_draws_are_kept_apart(run):
    result, _ = run(rop__search_seeds=2, eval__draws=2, rop__arms=["stand", "rop"])
    rop = [s.outcome for s in result.samples if s.outcome.arm == "rop"]
    assert {o.meta.get("search_seed", 0) for o in rop} == {0, 1}
    assert len(rop) == 6 * (1 + 2 * 2) * 2
    assert "stand" in result.metrics.arms


def test_three_models_each_do_their_part(tmp_path, monkeypatch, opens):
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    engines = {name: FakeEngine(scholar, name=name) for name in ("scripted", "writer", "mender")}
    opens(lambda model, section: engines[model.path])
    roles = {"rop.optimizer": "writer", "rop.corrector": "mender", "rop.arms": ["stand", "rop", "rop_selfcorrect"]}
    evaluate.run(load_recipe(None, OVERRIDES | roles | {"output.dir": str(tmp_path / "runs")}), "rop", quiet=True)
    asked = {name: {r.purpose for r in engine.asked} for name, engine in engines.items()}
    assert asked == {"scripted": {"answer", "correct"}, "writer": {"propose"}, "mender": {"correct"}}


def test_given_instructions_are_used_and_nothing_is_searched(run, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text('{"correction": "Mend it.", "guidance": "Ponder."}')
    _, engine = run(rop__instructions=str(path), use_cache=False)
    assert {r.purpose for r in engine.asked} == {"correct", "answer"}
    assert any("Mend it." in r.messages[0].content for r in engine.asked)


def test_eval_asks_only_what_it_is_asked_for(run):
    result, engine = run(command="eval", eval__arms=["stand"])
    assert {s.outcome.arm for s in result.samples} == {"stand"}
    assert {r.purpose for r in engine.asked} == {"answer"}


def test_what_waits_for_a_correction_begins_first(run):
    _, engine = run(rop__search__budget=0, rop__arms=["stand", "correct_only"], use_cache=False)
    purposes = [r.purpose for r in engine.asked]
    corrections = purposes.count("correct")
    assert corrections > 0
    assert set(purposes[:corrections]) == {"correct"}


@pytest.mark.parametrize(
    ("dtype", "changes", "said"),
    [
        ("bfloat16", {}, "in bfloat16 answers depend a little on what else is in the batch: eval.replicate_clean=true"),
        (None, {}, "a server's answers may depend on what else it is asked"),
        ("bfloat16", {"eval.replicate_clean": True}, None),
        ("bfloat16", {"engine.batch_invariant": True}, None),
        ("float32", {}, None),
    ],
)
def test_batch_noise_that_nobody_measures_is_named(dtype, changes, said, tmp_path, monkeypatch, capsys, opens):
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    engine = FakeEngine(scholar, local=dtype is not None)
    engine.identity = replace(engine.identity, dtype=dtype)
    opens(lambda model, section: engine)
    given = OVERRIDES | {"output.dir": str(tmp_path / "runs"), "data.limit": 2, "perturb.conditions": []} | changes
    evaluate.run(load_recipe(None, given), "eval")
    shown = capsys.readouterr().err
    assert (said or "independent questions") in shown
    assert ("noise floor" in shown) == (said is not None)


def test_a_replicate_of_clean_is_asked_for_itself(run):
    result, engine = run(command="eval", eval__replicate_clean=True, perturb__conditions=[], use_cache=False)
    assert {s.outcome.condition for s in result.samples} == {"clean", conditions.REPLICATE}
    assert len(engine.asked) == 12


def test_noise_on_the_instruction_leaves_the_question_alone(run):
    result, engine = run(command="eval", perturb__target="instruction", use_cache=False)
    assert accuracy(result, "stand", "ec") == 1.0
    asked = {r.messages[0].content.splitlines()[0] for r in engine.asked}
    assert len(asked) == 3


def test_a_leak_is_refused_with_both_ids():
    test = [Question("t1", "Tom has 3 pens. How many?", "3", "numeric")]
    pool = [Question("p1", "TOM has 3 pens - how many", "3", "numeric")]
    with pytest.raises(DataError, match="p1 = t1"):
        leaks.refuse_leaks(pool, test)
    leaks.refuse_leaks([Question("p2", "Tom has 4 pens. How many?", "4", "numeric")], test)


def test_near_duplicates_are_named_and_not_refused():
    test = [
        Question("t1", "Tom has 3 red pens and buys 4 more pens. How many has he?", "7", "numeric"),
        Question("t2", "A bus left with 54 people.", "54", "numeric"),
    ]
    pool = [
        Question("p1", "Tom has 3 red pens and buys 5 more pens. How many has he?", "8", "numeric"),
        Question("p2", "Ann reads 9 books a week.", "9", "numeric"),
    ]
    leaks.refuse_leaks(pool, test)
    assert leaks.near_duplicates(pool, test) == [leaks.Similar("p1", "t1", round(11 / 13, 3))]
    assert leaks.near_duplicates([], test) == []


def test_what_the_number_of_questions_can_show_is_said_before_anything_is_asked(capsys, opens):
    opens(lambda model, section: 1 / 0)
    loaded = load_recipe(None, OVERRIDES | {"data.limit": 40})
    with pytest.raises(ZeroDivisionError):
        evaluate.run(loaded, "eval")
    assert "independent questions" in capsys.readouterr().err


def test_a_gate_that_cannot_pass_is_refused_before_anything_is_asked(run):
    gate = {"metric": "rop.clean_drop", "max": 0.03, "bound": "high"}
    with pytest.raises(RecipeError, match="cannot pass with 6 questions"):
        run(eval__gates=[gate])


def test_budget_zero_needs_no_tuning_questions(run, monkeypatch):
    monkeypatch.setattr(conditions, "tuning_questions", lambda *args: 1 / 0)
    result, engine = run(rop__search__budget=0)
    assert result.instructions[0].correction.strategy == "hand-written"
    assert {r.purpose for r in engine.asked} == {"correct", "answer"}


def test_an_unknown_arm_names_the_nearest(run):
    with pytest.raises(UsageError, match="unknown arm") as error:
        run(rop__arms=["correct_onli"])
    assert "correct_only" in error.value.hint


def test_an_answer_to_another_text_is_not_taken_for_this_one(run):
    first, _ = run(command="eval")
    journal = first.folder / "samples.jsonl"
    rows = [json.loads(line) for line in journal.read_text().splitlines()]
    rows[0]["text"] += " (as an older version asked it)"
    journal.write_text("".join(json.dumps(row) + "\n" for row in rows))
    second, _ = run(command="eval")
    assert [s.text for s in second.samples] == [s.text for s in first.samples]


def test_other_instructions_in_the_same_file_are_asked_with_anew(run, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text('{"correction": "Mend it.", "guidance": "Ponder."}')
    run(rop__instructions=str(path))
    path.write_text('{"correction": "Mend it.", "guidance": "Think twice."}')
    result, engine = run(rop__instructions=str(path))
    assert {r.purpose for r in engine.asked} == {"answer"}  # corrections are as before
    asked = [c["messages"][0]["content"] for s in result.samples if s.outcome.arm == "rop" for c in s.calls]
    assert sum("Think twice." in text for text in asked) == len(asked) / 2
    assert not any("Ponder." in text for text in asked)


def test_another_model_in_the_same_place_is_asked_anew(run):
    first, _ = run(command="eval")
    second, engine = run(lambda request: "The answer is 1.", command="eval", name="trained further")
    assert second.folder == first.folder
    assert len(engine.asked) == len(second.samples)
    assert {s.outcome.parsed for s in second.samples} == {"1"}


def test_shards_merge_into_the_run_that_was_never_cut(run, tmp_path):
    given = tmp_path / "mine.json"
    given.write_text('{"correction": "Mend it.", "guidance": "Ponder."}')
    whole, _ = run(rop__instructions=str(given))
    parts = [run(rop__instructions=str(given), output__dir=str(tmp_path / "cut"), shard=(i, 3))[0] for i in (1, 2, 3)]
    asked = [{s.outcome.question_id for s in part.samples} for part in parts]
    assert sum(map(len, asked)) == len(set().union(*asked)) == 6
    changes = {"rop.instructions": str(given), "output.dir": str(tmp_path / "joined")}
    loaded = load_recipe(None, OVERRIDES | changes)
    merged = evaluate.merge(loaded, "rop", [p.folder for p in parts])
    assert without_timing(merged.metrics) == without_timing(whole.metrics)
    assert (merged.folder / "report.html").is_file()


def test_a_merge_without_all_shards_says_what_is_missing(run, tmp_path):
    part, _ = run(command="eval", shard=(1, 2))
    loaded = load_recipe(None, OVERRIDES | {"output.dir": str(tmp_path / "joined")})
    with pytest.raises(Incomplete, match="1 of 2 shards are missing: 2"):
        evaluate.merge(loaded, "eval", [part.folder])
    (part.folder / "shard.json").unlink()  # as earlier releases leave it
    with pytest.raises(Incomplete, match="in none of the shards"):
        evaluate.merge(loaded, "eval", [part.folder])


def test_shards_do_not_search_each_for_themselves(run):
    with pytest.raises(UsageError, match="shards"):
        run(shard=(1, 2))


def test_scoring_again_changes_nothing_and_takes_new_gates(run):
    result, _ = run()
    gate = {"metric": "rop.gain", "condition": "ec", "min": 0.5, "bound": "low"}
    loaded = load_recipe(result.folder / "recipe.resolved.yaml", {"eval.gates": [gate]})
    again = rescore(result.folder, loaded)
    assert again.changed == 0
    assert again.gates[0].metric == "rop.gain"
    assert without_timing(again.metrics) | {"gates": []} == without_timing(result.metrics)


def test_after_scoring_again_every_reader_counts_the_same_verdicts(run, tmp_path, monkeypatch):
    """metrics.json said one accuracy, and comparisons, the page and --baseline another."""
    result, _ = run(command="eval")
    old = shutil.copytree(result.folder, tmp_path / "old")
    loaded = load_recipe(result.folder / "recipe.resolved.yaml")
    monkeypatch.setattr(SCORERS["answer"], "extract", lambda self, said, question: question.gold)
    again = rescore(result.folder, loaded)
    assert again.changed > 0
    assert again.metrics.arms["stand"].conditions["ec"].accuracy.value == 1
    for stored in (Run(result.folder).samples(), against_itself(result.folder)):
        assert all(sample.outcome.correct for sample in stored)
    row = next(r for r in compare([old, result.folder]).rows if r.condition == "ec" and r.metric == "accuracy")
    assert (row.before < 1, row.after) == (True, 1)
    page = beside([old, result.folder])
    assert page.rows[1].accuracy["noisy"].value == 1
    assert rescore(result.folder, loaded).changed == 0
    monkeypatch.undo()


def test_what_an_arm_knows_is_scored_again_without_reading_a_reply(run, monkeypatch):
    """An answer by likelihood is no reply that a scorer has to understand; runs of before kept its sentence alone."""

    def answer(request):
        return Reply("", logprobs=(-0.1 if request.continuation == "The answer is yes" else -2.0,))

    result, _ = run(answer, "eval", data__task="coin_flip", eval__answer="likelihood", eval__arms=["stand"])
    verdicts = [(s.outcome.parsed, s.outcome.correct) for s in result.samples]
    assert {parsed for parsed, _ in verdicts} == {"yes"}
    assert {correct for _, correct in verdicts} == {True, False}
    loaded = load_recipe(result.folder / "recipe.resolved.yaml")
    journal = result.folder / "samples.jsonl"
    rows = [json.loads(line) for line in journal.read_text().splitlines()]
    journal.write_text("".join(json.dumps({k: row[k] for k in row if k != "arm_parsed"}) + "\n" for row in rows))
    assert rescore(result.folder, loaded).changed == 0
    journal.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(SCORERS["answer"], "extract", lambda self, said, question: None)
    assert rescore(result.folder, loaded).changed == 0


def against_itself(folder):
    """The samples that a resumed run measures."""
    return map(Sample.from_row, finished(RunFolder(folder).entries()).values())


def test_scoring_keeps_out_of_an_unfinished_run_and_of_one_that_is_being_written(run):
    result, _ = run(command="eval")
    loaded = load_recipe(result.folder / "recipe.resolved.yaml")
    hold = "import sys; from pathlib import Path; from llmkit.runs import RunFolder\n"
    hold += "folder = RunFolder.reopen(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with started([sys.executable, "-c", hold, str(result.folder)], **pipes) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match="another process works in"):
            rescore(result.folder, loaded)
        other.stdin.close()
        assert other.wait() == 0
    assert rescore(result.folder, loaded).outcomes == 18
    (result.folder / "metrics.json").unlink()
    with pytest.raises(DataError, match="is unfinished"):
        rescore(result.folder, loaded)
    assert not (result.folder / "metrics.json").exists()


def test_an_estimate_counts_the_calls_that_the_run_makes(run):
    result, engine = run(use_cache=False, rop__search__budget=0)
    planned = evaluate.plan(load_recipe(result.folder / "recipe.resolved.yaml").recipe, "rop")
    found = estimate(planned)
    calls = {"stand": 18, "zero_shot_cot": 18, "correct_only": 36, "guide_only": 18, "rop": 36}
    assert {a.arm: a.calls for a in found.arms} == calls
    assert found.arms[0].first[0] in {r.messages for r in engine.asked}
    assert found.effect > 0.8  # six questions show next to nothing


def test_a_worked_example_says_its_answer_once_and_at_its_end():
    told = Question("a", "2 + 2?", "4", "numeric", meta={"solution": "2 + 2 = 4. The answer is 4."})
    silent = Question("b", "4 + 4?", "8", "numeric", meta={"solution": "4 + 4 = 8."})
    bare = Question("c", "Which?", "B", "choice", options=("x", "y"))
    answers = [answer for _, answer in worked_examples([told, silent, bare], 3)]
    assert answers == ["2 + 2 = 4. The answer is 4.", "4 + 4 = 8.\nThe answer is 8", "The answer is (B)"]


@pytest.mark.parametrize("command", ["rop", "eval"])
def test_votes_by_sampling_are_refused_where_options_are_compared_by_likelihood(run, command):
    arms = {"rop__arms": ["stand", "self_consistency"], "eval__arms": ["stand", "self_consistency"]}
    with pytest.raises(UsageError, match=r"self_consistency.*likelihood") as error:
        run(command=command, data__task="coin_flip", eval__answer="likelihood", **arms)
    assert "generate" in error.value.hint
    # questions without options are generated in any case, with the request for the form of their answer
    result, engine = run(command=command, eval__answer="likelihood", **arms)
    voted = [r for r in engine.asked if r.sampling.temperature > 0]
    assert len(voted) == 6 * 3 * 3
    assert all("The answer is" in r.messages[0].content for r in voted)
    assert accuracy(result, "self_consistency", "clean") == 1.0
