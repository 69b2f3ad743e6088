"""The official sets, read from their files: counts, splits, golds, and the same from the hub."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest

from llmkit.errors import DataError, UsageError
from llmkit.recipe.schema import DataSection
from llmkit.tasks import TASKS, Item, Task, extract, gold_text, load, normalise, official, score
from llmkit.tasks.base import GeneratedTask, parts

AT_HAND = {
    "gsm8k": {"train": 6696, "dev": 777, "test": 1319},
    "aqua": {"train": 122, "dev": 132, "test": 254},
    "svamp": 1000,
    "multiarith": 600,
    "addsub": 395,
    "singleeq": 508,
    "csqa": {"train": 8759, "dev": 982, "test": 1221},
    "strategyqa": 2290,
    "date_understanding": 369,
    "tracking_shuffled_objects": 750,
    "boolq": {"test": 3270},
    "arc_easy": {"test": 2376},
    "arc_challenge": {"test": 1172},
    "openbookqa": {"test": 500},
}
POOLS = {"boolq": 9427, "arc_easy": 2251, "arc_challenge": 1119, "openbookqa": 4957, "gsm8k": 7473, "csqa": 9741}


@pytest.fixture(scope="module")
def sets(data_dir, tmp_path_factory):
    """Every set that is at hand, read once, with a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield {name: load(DataSection(task=name, data_dir=str(data_dir)), "all") for name in AT_HAND}


@pytest.mark.parametrize("name", AT_HAND)
def test_the_count_is_the_published_one(sets, name):
    expected = AT_HAND[name]
    if isinstance(expected, int):
        assert len(sets[name]) == expected
    else:
        counts = Counter(q.split for q in sets[name])
        assert expected.items() <= counts.items()
    if name in POOLS:  # what stands in the test split was dropped from the pool
        pool = [q for q in sets[name] if q.split != "test"]
        assert 0.97 * POOLS[name] <= len(pool) <= POOLS[name]


def test_a_packages_set_without_a_hub_is_not_looked_for_there(tmp_path):
    class Riddles(Task):
        name = "riddles"
        files = parts(all="riddles/riddles.jsonl")

        def read(self, row):
            return Item(row["riddle"], row["answer"])

    with pytest.raises(DataError, match=r"`riddles` is not at hand: riddles/riddles.jsonl is not in") as failure:
        official.read(Riddles(), str(tmp_path), "test")
    assert failure.value.hint == "give a folder with riddles/riddles.jsonl as --data-dir or LLMKIT_DATA_DIR"


@pytest.mark.parametrize("name", AT_HAND)
def test_ids_are_unique_and_splits_share_no_question_and_no_cluster(sets, name):
    questions = sets[name]
    assert len({q.id for q in questions}) == len(questions)
    for key in (lambda q: normalise(q.text), lambda q: q.cluster_id):
        seen = {}
        assert all(seen.setdefault(key(q), q.split) == q.split for q in questions)


@pytest.mark.parametrize("name", AT_HAND)
def test_every_gold_answer_is_found_in_a_reply_that_gives_it(sets, name):
    for question in sets[name]:
        for reply in (f"#### {question.gold}", f"The answer is {gold_text(question)}."):
            assert score(extract(reply, question), question), (question, reply)


@pytest.mark.parametrize("name", ["gsm8k", "aqua"])
def test_every_solution_ends_in_the_gold_answer(sets, name):
    assert all(score(extract(q.meta["solution"], q), q) for q in sets[name])


@pytest.mark.parametrize("name", AT_HAND)
def test_a_choice_question_ends_with_its_options(sets, name):
    for question in sets[name]:
        if question.kind == "choice":
            assert question.text.rpartition("\nAnswer Choices: ")[2].startswith(f"(A) {question.options[0]}")
            assert all(question.options)
        else:
            assert question.options == ()


def test_hashed_splits_are_about_twenty_twenty_sixty(sets):
    for name in ("svamp", "strategyqa", "multiarith"):
        shares = {split: n / len(sets[name]) for split, n in Counter(q.split for q in sets[name]).items()}
        assert shares == pytest.approx({"train": 0.2, "dev": 0.2, "test": 0.6}, abs=0.07)


def test_the_gold_option_of_bigbench_sets_is_not_always_at_the_same_place(sets):
    for name in ("date_understanding", "tracking_shuffled_objects"):
        assert max(Counter(q.gold for q in sets[name]).values()) < 0.45 * len(sets[name])


def test_a_story_that_is_asked_about_thrice_is_one_cluster(sets):
    assert set(Counter(q.cluster_id for q in sets["tracking_shuffled_objects"]).values()) == {3}


@pytest.mark.parametrize("name", ["boolq", "arc_easy", "openbookqa"])
def test_the_verbalised_form_is_kept_and_our_own_verbalisation_equals_it(sets, name):
    task = TASKS[name]()
    same = 0
    for question in sets[name][:300]:
        assert question.meta["output"].startswith("the correct answer is ")
        if name == "boolq":
            row = {"question": question.text, "answer": question.gold == "yes"}
        else:
            text = question.text.rpartition("\nAnswer Choices: ")[0]
            choices = {"text": list(question.options), "label": list("ABCDE"[: len(question.options)])}
            row = {"question": text, "choices": choices, "answerKey": question.gold}
        again = task.read_hub(row)
        same += again.meta == question.meta
    assert same > 290  # a few rows of the file hold stray spaces


def write_gsm8k(folder, rows, test=()):
    (folder / "gsm8k").mkdir(parents=True, exist_ok=True)
    for name, part in (("train", rows), ("test", test)):
        lines = [row if isinstance(row, str) else json.dumps(row) for row in part]
        (folder / "gsm8k" / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return DataSection(task="gsm8k", data_dir=str(folder))


ROWS = [{"question": f"Ann has {i} pens and gets 2. How many?", "answer": f"{i}+2\n#### {i + 2}"} for i in range(60)]


def test_the_order_of_rows_changes_nothing(tmp_path):
    shuffled = random.Random(1).sample(ROWS, len(ROWS))
    one = load(write_gsm8k(tmp_path / "one", ROWS, ROWS[:5]), "all")
    two = load(write_gsm8k(tmp_path / "two", shuffled, ROWS[:5][::-1]), "all")
    assert one == two


def test_what_stands_in_test_is_dropped_from_the_pool_however_it_is_written(tmp_path):
    test = [{"question": "ANN has 3 pens, and gets 2 -- how many", "answer": "#### 5"}]
    questions = load(write_gsm8k(tmp_path, ROWS, test), "all")
    assert len(questions) == 60
    assert {q.split for q in questions if normalise(q.text) == normalise(test[0]["question"])} == {"test"}


def test_duplicates_share_split_and_cluster_and_have_their_own_ids(tmp_path):
    rows = [*ROWS, {"question": ROWS[7]["question"].upper(), "answer": "#### 9"}]
    double = [q for q in load(write_gsm8k(tmp_path, rows, ROWS[:1]), "all") if q.gold == "9"]
    assert len({q.id for q in double}) == 2
    assert len({(q.split, q.cluster) for q in double}) == 1


def test_smaller_limits_lie_inside_larger_ones(tmp_path):
    data = write_gsm8k(tmp_path, ROWS, ROWS)
    orders = [load(data.model_copy(update={"limit": n}), "test", seed=5) for n in (3, 10, None)]
    assert orders[0] == orders[1][:3] == orders[2][:3]
    assert orders[2] != load(data, "test", seed=6)
    assert sorted(q.id for q in orders[2]) == sorted(q.id for q in load(data, "test", seed=6))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"question": "How many', "gsm8k/train.jsonl:61: not JSON"),
        ('{"question": "How many?"}', "gsm8k/train.jsonl:61: no field `answer`"),
        (
            '{"question": "How many?", "answer": "#### lots"}',
            "gsm8k/train.jsonl:61: the answer 'lots' is not one number",
        ),
        ('{"question": " ", "answer": "#### 3"}', "gsm8k/train.jsonl:61: the question is empty"),
        ('{"question": 7, "answer": "#### 3"}', "gsm8k/train.jsonl:61: a field is not what it should be"),
        ('["How many?", 3]', "gsm8k/train.jsonl:61: not an object with fields"),
        ('{"question": "\\ud800?", "answer": "#### 3"}', "gsm8k/train.jsonl:61: the question holds half a character"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line_or_counted(tmp_path, line, complaint):
    data = write_gsm8k(tmp_path, [*ROWS, line], ROWS)
    with pytest.raises(DataError) as error:
        load(data, "train")
    assert complaint in error.value.message
    skipping = load(data.model_copy(update={"skip_bad_lines": True}), "all")
    assert (len(skipping), skipping.skipped) == (60, 1)


def test_a_file_that_is_not_utf8_is_named_with_its_line(tmp_path):
    data = write_gsm8k(tmp_path, ROWS, ROWS)
    (tmp_path / "gsm8k" / "test.jsonl").write_bytes(b'{"question": "a"}\n{"question": "caf\xe9"}')
    with pytest.raises(DataError, match=r"test\.jsonl:2: not UTF-8 \(byte 0xe9\)"):
        load(data, "test")


def test_an_unknown_task_is_met_with_the_nearest_names():
    with pytest.raises(UsageError, match="unknown task `gsm8`") as error:
        load(DataSection(task="gsm8"))
    assert "gsm8k" in error.value.hint


def test_no_task_both_and_a_missing_folder_are_clear_errors(tmp_path):
    with pytest.raises(UsageError, match="no questions are named"):
        load(DataSection())
    with pytest.raises(UsageError, match="both a task"):
        load(DataSection(task="gsm8k", path="x.jsonl"))
    with pytest.raises(DataError, match="there is no folder"):
        load(DataSection(task="gsm8k", data_dir=str(tmp_path / "nowhere")))


DATE = "Q: Today is May 2, 2020. What is the date tomorrow in MM/DD/YYYY?"
SWAP = "Ann has a red ball. Ben has a blue ball. They swap. At the end of the game, Ann has the "
HUB_ROWS = {
    "gsm8k": ROWS[0],
    "aqua": {"question": "2 + 3?", "options": ["A)4", "B)5"], "rationale": "2 + 3 = 5", "correct": "B"},
    "svamp": {"Body": "Ann has 5 pens and loses 2", "Question": "How many are left?", "Answer": "3"},
    "multiarith": {"question": " Ann has 5 pens and loses 2. How many? ", "final_ans": "3"},
    "addsub": {"input": "Ann has 5 pens . She loses 2 . How many ?", "output_answer": "3.0"},
    "singleeq": {"input": "Ann has 5 pens. She loses 2. How many?", "output_answer": "3"},
    "csqa": {"question": "Where is milk?", "choices": {"label": ["A", "B"], "text": ["oven", "fridge"]},
             "answerKey": "B"},
    "strategyqa": {"inputs": "Q: Is ice hot?\nA: ", "multiple_choice_targets": ["Yes", "No"],
                   "multiple_choice_scores": [0, 1]},
    "date_understanding": {"inputs": f"{DATE}\n  choice: 05/03/2020\n  choice: 01/01/2020\nA:",
                           "multiple_choice_targets": ["05/03/2020", "01/01/2020"], "multiple_choice_scores": [1, 0]},
    "tracking_shuffled_objects": {"inputs": SWAP, "multiple_choice_targets": ["red ball.", "blue ball.", "green ball."],
                                  "multiple_choice_scores": [0, 1, 0]},
    "boolq": {"question": "is ice cold", "answer": True, "passage": "Ice is cold."},
    "piqa": {"goal": "cool soup", "sol1": "boil it", "sol2": "stir it", "label": 1},
    "social_i_qa": {"context": "Kim lost a key.", "question": "How is Kim?", "answerA": "glad", "answerB": "upset",
                    "answerC": "tall", "label": "2"},
    "hellaswag": {"activity_label": "Baking", "ctx": "She beats two eggs. She", "endings": ["flies.", "adds flour."],
                  "label": "1"},
    "winogrande": {"sentence": "The box did not fit as the _ was big.", "option1": "box", "option2": "car",
                   "answer": "1"},
    "arc_easy": {"question": "Which melts?", "choices": {"label": ["1", "2"], "text": ["ice", "sand"]},
                 "answerKey": "1"},
    "arc_challenge": {"question": "Which melts?", "choices": {"label": ["A", "B"], "text": ["ice", "sand"]},
                      "answerKey": "A"},
    "openbookqa": {"question_stem": "A plant will", "choices": {"label": ["A", "B"], "text": ["sing", "grow"]},
                   "answerKey": "B"},
}  # fmt: skip


def on_the_hub(monkeypatch, rows):
    """Puts rows where `datasets.load_dataset` looks; returns the calls it gets."""
    import datasets

    calls = []

    def load_dataset(name, config=None, *, split, revision=None):
        calls.append((name, config, split))
        return datasets.Dataset.from_list(rows if len(calls) == 1 else [])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return calls


def test_every_set_has_a_row_of_its_hub_version_here():
    assert set(HUB_ROWS) == {name for name in TASKS if not issubclass(TASKS[name], GeneratedTask)}


@pytest.mark.parametrize("name", HUB_ROWS)
def test_every_set_is_read_from_the_hub_where_no_files_are(monkeypatch, tmp_path, name):
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LLMKIT_DATA_DIR", raising=False)
    calls = on_the_hub(monkeypatch, [HUB_ROWS[name]])
    (question,) = load(DataSection(task=name), "all")
    assert {call[0] for call in calls} == {TASKS[name].hub.name}
    assert not {"choice:", "Q:"} & set(question.text.split())
    assert score(extract(f"The answer is {gold_text(question)}.", question), question)
    before = len(calls)
    assert load(DataSection(task=name), "all") == [question]  # kept: the hub is not asked again
    assert len(calls) == before


def test_files_and_hub_give_the_same_questions(monkeypatch, tmp_path):
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LLMKIT_DATA_DIR", raising=False)
    body = [
        {"Body": f"Ann has {i} pens and gets 2", "Question": "How many?", "Answer": float(i + 2)} for i in range(40)
    ]
    (tmp_path / "svamp").mkdir()
    (tmp_path / "svamp" / "SVAMP.json").write_text(json.dumps(body))
    on_the_hub(monkeypatch, [{**row, "Answer": str(row["Answer"])} for row in random.Random(2).sample(body, 40)])
    assert load(DataSection(task="svamp"), "all") == load(DataSection(task="svamp", data_dir=str(tmp_path)), "all")


def test_a_set_that_is_nowhere_is_an_error_that_says_both_ways(monkeypatch, tmp_path):
    import datasets

    def unreachable(*_, **__):
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError, match="`gsm8k` is not at hand") as error:
        load(DataSection(task="gsm8k", data_dir=str(tmp_path)))
    assert "no route to the hub" in error.value.message
    for way in ("gsm8k/test.jsonl", "--data-dir", "LLMKIT_DATA_DIR", "openai/gsm8k (main)"):
        assert way in error.value.hint


def test_the_data_folder_may_come_from_the_environment(monkeypatch, tmp_path):
    write_gsm8k(tmp_path, ROWS, ROWS[:4])
    monkeypatch.setenv("LLMKIT_DATA_DIR", str(tmp_path))
    assert len(load(DataSection(task="gsm8k"), "test")) == 4


def test_a_test_split_alone_is_enough_to_be_tested_on(tmp_path):
    write_gsm8k(tmp_path, ROWS, ROWS[:4])
    (tmp_path / "gsm8k" / "train.jsonl").unlink()
    assert len(load(DataSection(task="gsm8k", data_dir=str(tmp_path)), "test")) == 4


def test_every_set_says_what_it_is_and_shows_a_row():
    for name in TASKS:
        text = TASKS[name].__doc__
        assert len(text.split("\n")[0]) > 30
        assert "{" in text or "->" in text or name == "arc_challenge"
