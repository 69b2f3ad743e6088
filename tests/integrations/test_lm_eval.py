"""Tasks of the real lm-evaluation-harness on clean and noisy text, paired by id, without a network."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys

import pytest
from helpers import benchmarks, processes

from llmkit.errors import DataError, UsageError
from llmkit.integrations.lm_eval import noisy, paired

pytest.importorskip("lm_eval", reason="lm-eval is not installed")

ROWS = [
    {
        "question": f"Janet has {n} ducks that lay {n + 2} brown eggs every morning. How many eggs does she collect?",
        "answer": str(n + 2),
        "shop": f"shop {n % 6}",
    }
    for n in range(3, 43)
]
TASK = """
task: eggs
dataset_path: json
dataset_kwargs: {data_files: {test: ROWS}}
test_split: test
output_type: generate_until
doc_to_text: "Q: {{question}}\\nA:"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n"]}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
"""
NOISY = """
include: eggs.yaml
task: eggs_noisy
process_docs: !function noise.process_docs
"""
SHOTS = """
include: eggs_noisy.yaml
task: eggs_shots
fewshot_split: test
num_fewshot: 1
fewshot_config: {process_docs: null}
"""
HOOK = """
from llmkit.integrations.lm_eval import noisy

process_docs = noisy("question", "typing@0.3", seed=7, answer="answer")
"""


def write_tasks(folder, task=TASK, hook=HOOK):
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / "eggs.yaml").write_text(task.replace("ROWS", str(folder / "rows.jsonl")))
    (folder / "eggs_noisy.yaml").write_text(NOISY)
    (folder / "eggs_shots.yaml").write_text(SHOTS)
    (folder / "noise.py").write_text(hook)
    return folder


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """The folder of both tasks, run by lm-eval itself with a model whose answers are known."""
    from lm_eval import simple_evaluate
    from lm_eval.api.model import LM
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    class Counter(LM):
        """Reads the second number of a clean question, and the first of one without the word "collect"."""

        def generate_until(self, requests, disable_tqdm=False):
            return [self.answer(request.args[0]) for request in requests]

        def answer(self, prompt):
            numbers = re.findall(r"\d+", prompt)
            return numbers[1] if "collect" in prompt else numbers[0]

        def loglikelihood(self, requests, disable_tqdm=False):
            raise NotImplementedError

        loglikelihood_rolling = loglikelihood

    folder = write_tasks(tmp_path_factory.mktemp("tasks"))
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    results = simple_evaluate(
        Counter(), tasks=["eggs", "eggs_noisy", "eggs_shots"], task_manager=manager, log_samples=True, bootstrap_iters=0
    )
    tracker = EvaluationTracker(output_path=str(folder / "out"))
    tracker.save_results_aggregated(results=dict(results), samples=results["samples"])  # it gives the files their time
    for task, samples in results["samples"].items():
        tracker.save_results_samples(task_name=task, samples=samples)
    return folder, results


def samples_of(folder, task):
    (file,) = (folder / "out").rglob(f"samples_{task}_2*.jsonl")
    return file


def test_a_noisy_task_asks_the_same_rows_with_noise(evaluated):
    _, results = evaluated
    clean, noisy_rows = results["samples"]["eggs"], results["samples"]["eggs_noisy"]
    assert [row["doc_id"] for row in clean] == [row["doc_id"] for row in noisy_rows]
    for before, after in zip(clean, noisy_rows, strict=True):
        record = json.loads(after["doc"]["perturbation"])["question"]
        assert record["original"] == before["doc"]["question"]
        assert re.findall(r"\d+", after["doc"]["question"]) == re.findall(r"\d+", before["doc"]["question"])
        assert after["doc"]["question"] in str(after["arguments"])
        assert after["target"] == before["target"]
    assert sum(a["doc"]["question"] != b["doc"]["question"] for a, b in zip(clean, noisy_rows, strict=True)) > 35


def test_worked_examples_stay_clean_where_the_task_says_so(evaluated):
    _, results = evaluated
    clean = {row["question"] for row in ROWS}
    for row in results["samples"]["eggs_shots"]:
        example = re.search(r"Q: (.*?)\\nA:", str(row["arguments"]))[1]
        assert example in clean
        assert row["doc"]["question"] in str(row["arguments"])


def test_both_files_become_paired_statistics(evaluated):
    folder, results = evaluated
    files = samples_of(folder, "eggs"), samples_of(folder, "eggs_noisy")
    result = paired(*files)
    assert result.metric == "exact_match"
    assert result.clean.value == results["results"]["eggs"]["exact_match,none"] == 1
    assert result.noisy.value == results["results"]["eggs_noisy"]["exact_match,none"]
    assert result.drop.n == result.drop.clusters == 40
    assert result.drop.value == pytest.approx(1 - result.noisy.value)
    assert 0 < result.drop.low < result.drop.value < result.drop.high
    assert (result.drop.worse, result.drop.better) == (round(40 * result.drop.value), 0)
    assert "40 questions, paired by id" in str(result)
    by_shop = paired(*files, metric="exact_match", filter="none", cluster="shop")
    assert by_shop.drop.clusters == 6
    assert by_shop.drop.test == "sign_flip"
    assert by_shop.drop.high - by_shop.drop.low > result.drop.high - result.drop.low


def test_files_that_are_no_pair_are_refused(evaluated, tmp_path):
    folder, _ = evaluated
    clean, after = samples_of(folder, "eggs"), samples_of(folder, "eggs_noisy")
    with pytest.raises(DataError, match="no record of noise"):
        paired(clean, clean)
    with pytest.raises(DataError, match="no record of noise"):
        paired(after, clean)
    with pytest.raises(UsageError, match=r"no metric `acc`.*") as refused:
        paired(clean, after, "acc")
    assert "exact_match" in refused.value.hint
    with pytest.raises(UsageError, match="no filter `strict`"):
        paired(clean, after, filter="strict")
    with pytest.raises(DataError, match="there is no file"):
        paired(tmp_path / "gone.jsonl", after)
    lines = clean.read_text().splitlines()
    moved = [json.dumps({**json.loads(line), "doc_id": 39 - i}) for i, line in enumerate(lines)]
    for name, text, says in [
        ("empty", "", "holds no samples"),
        ("broken", "{", "not JSON"),
        ("other", '{"a": 1}\n', "not a sample of lm-eval"),
        ("texts", '{"doc_id": 1, "doc": "a", "metrics": []}\n', "not a sample of lm-eval"),
        ("moved", "\n".join(moved) + "\n", "noisy copy of another text"),
        ("apart", json.dumps({**json.loads(lines[0]), "doc_id": 99}) + "\n", "share no question"),
    ]:
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=says):
            paired(tmp_path / name, after)


@pytest.mark.parametrize(
    ("noise", "says"),
    [
        ("llm:ec", "needs a model"),
        ("clean", "changes nothing"),
        ("typing@0", "changes nothing"),
        ("ec,sc", "not one noise"),
        ("tpying", "tpying"),
        ("typing@1.5", "not in 0..1"),
    ],
)
def test_a_noise_that_cannot_be_is_refused_before_any_row(noise, says):
    with pytest.raises(UsageError, match=says):
        noisy("question", noise)


def test_rows_that_cannot_be_are_refused():
    hook = noisy("question", "ec")
    with pytest.raises(DataError, match="no field `question`") as refused:
        hook([{"query": "How many?", "gold": 1}])
    assert "query, gold" in refused.value.hint
    with pytest.raises(DataError, match="`question` is list, not a text"):
        hook([{"question": ["How many?"]}])
    for given in ({"options": "choices"}, {"answer": "gold"}):
        with pytest.raises(DataError, match=f"no field `{next(iter(given.values()))}`"):
            noisy("question", "ec", **given)(ROWS)
    with pytest.raises(DataError, match="`answer` holds no list of texts"):
        noisy("question", "ec", options="answer")([{**ROWS[0], "answer": 5}])
    with pytest.raises(DataError, match="no rows"):
        hook([])
    with pytest.raises(DataError, match="no rows"):
        noisy("question", "ec", process_docs=lambda rows: [])(ROWS)


def test_equal_texts_get_equal_noise_whatever_their_order_and_options_stay():
    hook = noisy(["question", "shop"], "ec@0.5", options="choices", process_docs=lambda rows: rows[::-1])
    rows = [{**row, "choices": {"text": ["brown eggs", "ducks"], "label": ["A", "B"]}} for row in ROWS]
    there, back = hook(rows), hook(rows[::-1])
    assert there == back[::-1]
    assert all("brown eggs" in row["question"] and "ducks" in row["question"] for row in there)
    assert sum(a["question"] != b["question"] for a, b in zip(there, rows[::-1], strict=True)) > 35


@pytest.mark.e2e
def test_the_example_runs_by_the_command_of_its_page(tmp_path, smollm2):
    shutil.copytree(benchmarks.ROOT / "examples" / "harnesses", tmp_path, dirs_exist_ok=True)
    page = (benchmarks.ROOT / "docs" / "harnesses.md").read_text(encoding="utf-8")
    command = re.search(r"^\$ lm_eval (run .*(?:\\\n.*)*)", page, re.MULTILINE)[1].replace("\\\n", " ")
    words = [word.replace("MODEL", smollm2) for word in shlex.split(command)]
    finished = processes.run([sys.executable, "-m", "lm_eval", *words, "--limit", "8"], cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    result = paired(samples_of(tmp_path, "capitals"), samples_of(tmp_path, "capitals_noisy"))
    assert result.drop.n == 8
    assert result.changed == 1
