"""A user's own files."""

from __future__ import annotations

import io
import json
import sys
import tracemalloc

import pytest

from llmkit.errors import DataError, UsageError
from llmkit.recipe.schema import DataSection
from llmkit.tasks import load, user

ROWS = [{"question": f"What is {i} + 1?", "answer": i + 1, "topic": "sums"} for i in range(30)]


def write(path, rows):
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return DataSection(path=str(path), split="all")


def test_jsonl_csv_parquet_and_json_give_the_same_questions(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    expected = load(write(tmp_path / "a.jsonl", ROWS))
    (tmp_path / "a.json").write_text(json.dumps(ROWS))
    (tmp_path / "a.csv").write_text(
        "question,answer,topic\n" + "".join(f"What is {i} + 1?,{i + 1},sums\n" for i in range(30))
    )
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    assert len(expected) == 30
    for name in ("a.json", "a.csv", "a.parquet"):
        assert load(DataSection(path=str(tmp_path / name), split="all")) == expected
    assert expected[0].meta == {"topic": "sums"}


def test_the_splits_of_a_file_are_a_partition(tmp_path):
    data = write(tmp_path / "a.jsonl", ROWS)
    parts = [load(data, split) for split in ("train", "dev", "test")]
    assert sorted(q.id for part in parts for q in part) == sorted(q.id for q in load(data))


def test_rows_that_a_split_sets_aside_are_counted(tmp_path):
    data = write(tmp_path / "a.jsonl", ROWS)
    parts = {split: len(load(data, split)) for split in ("train", "dev", "test")}
    assert load(data, "test").aside == {split: count for split, count in parts.items() if split != "test"}
    assert load(data).aside == {}
    assert load(DataSection(task="arithmetic", size=10)).aside == {}


def test_questions_of_one_document_are_one_cluster_and_stay_in_one_split(tmp_path):
    rows = [{**row, "topic": f"document {i % 13}"} for i, row in enumerate(ROWS)]
    data = write(tmp_path / "a.jsonl", rows).model_copy(update={"cluster": "topic"})
    found = load(data)
    assert {q.cluster_id for q in found} == {f"document {i}" for i in range(13)}
    parts = [{q.cluster_id for q in load(data, split)} for split in ("train", "dev", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 13
    with pytest.raises(DataError, match="no field `topik`"):
        load(data.model_copy(update={"cluster": "topik"}))


def test_jsonl_from_standard_input_may_be_asked_for_more_than_once(monkeypatch):
    user._stdin.cache_clear()
    text = "\n".join(map(json.dumps, ROWS))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    data = DataSection(path="-", split="all")
    assert len(load(data)) == len(load(data)) == 30
    user._stdin.cache_clear()


def test_fields_go_by_the_names_that_the_user_gives(tmp_path):
    row = {"q": "Where is milk kept?", "a": "fridge", "o": ["oven", "fridge"], "n": 17}
    data = DataSection(
        path=str(tmp_path / "a.jsonl"), question="q", answer="a", options="o", id="n", kind="choice", split="all"
    )
    write(tmp_path / "a.jsonl", [row])
    (question,) = load(data)
    assert (question.id, question.gold, question.options) == ("17", "B", ("oven", "fridge"))
    assert question.text == "Where is milk kept?\nAnswer Choices: (A) oven (B) fridge"


@pytest.mark.parametrize("options", ["oven|fridge", '["oven", "fridge"]', "oven | fridge"])
def test_options_in_a_csv_are_a_list_or_stand_between_bars(tmp_path, options):
    (tmp_path / "a.csv").write_text(
        f'question,answer,options\nWhere is milk?,(b),"{options.replace(chr(34), chr(34) * 2)}"\n'
    )
    (question,) = load(DataSection(path=str(tmp_path / "a.csv"), options="options", kind="choice", split="all"))
    assert (question.gold, question.options) == ("B", ("oven", "fridge"))


def test_a_rendered_block_of_options_is_not_added_twice(tmp_path):
    text = "Where is milk?\nAnswer Choices: (A) oven (B) fridge"
    data = write(tmp_path / "a.jsonl", [{"question": text, "answer": "B", "options": ["oven", "fridge"]}])
    (question,) = load(data.model_copy(update={"kind": "choice", "options": "options"}))
    assert question.text == text


@pytest.mark.parametrize(
    ("kind", "answer", "gold"),
    [("numeric", "$1,200.50", "1200.5"), ("numeric", 3.0, "3"), ("numeric", "18 dollars", "18"),
     ("boolean", True, "yes"), ("boolean", "No", "no"), ("boolean", 0, "no"), ("text", " new york ", "new york")],
)  # fmt: skip
def test_gold_answers_are_written_in_one_form(tmp_path, kind, answer, gold):
    data = write(tmp_path / "a.jsonl", [{"question": "?!", "answer": answer}])
    (question,) = load(data.model_copy(update={"kind": kind}))
    assert question.gold == gold


def test_rows_without_ids_are_told_apart_by_text_and_occurrence(tmp_path):
    one = load(write(tmp_path / "a.jsonl", [ROWS[0], ROWS[1], ROWS[0]]))
    two = load(write(tmp_path / "a.jsonl", [ROWS[1], ROWS[0], ROWS[0]]))
    assert len({q.id for q in one}) == 3
    assert one == two


def test_a_hundred_thousand_rows_without_ids_have_names_that_stay(tmp_path):
    """Each text comes twice; a row more at the front leaves the names of all others as they were."""
    path = tmp_path / "log.csv"
    texts = [f"Where is order {n % 50_000}? I have waited for it since Monday." for n in range(100_000)]
    section = DataSection(path=str(path), split="all", answer=None, kind="text")

    def names(rows):
        path.write_text("question\n" + "".join(f"{text}\n" for text in rows), encoding="utf-8")
        return [question.id for question in user.read(section, str(path))[0]]

    ids = names(texts)
    assert len(set(ids)) == 100_000
    assert names(["A new row.", *texts[:1000]])[1:] == ids[:1000]
    tracemalloc.start()
    names(texts[:2000])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2000 * 4096, "bytes: 100,000 such rows in 400 MB, file and questions together"


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ('{"question": "How many', "not JSON"),
        ("[1, 2]", "not an object with fields"),
        ({"question": "How many?"}, "no field `answer`"),
        ({"question": "How many?", "answer": None}, "the field `answer` is empty"),
        ({"question": "", "answer": 3}, "the field `question` is empty"),
        ({"question": "  ", "answer": 3}, "the question is empty"),
        ({"question": 5, "answer": 3}, "the field `question` is no text"),
        ({"question": "How many?", "answer": "many"}, "the answer 'many' is not one number"),
        ({"question": "How many?", "answer": "3 or 4"}, "the answer '3 or 4' is not one number"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_bad_line_is_named_or_counted(tmp_path, bad, complaint):
    data = write(tmp_path / "a.jsonl", [ROWS[0], "", bad, ROWS[1]])
    with pytest.raises(DataError) as error:
        load(data)
    assert error.value.message.startswith(f"{tmp_path / 'a.jsonl'}:3: {complaint}")
    questions = load(data.model_copy(update={"skip_bad_lines": True}))
    assert (len(questions), questions.skipped) == (2, 1)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"options": ["a", "b"], "answer": "c"}, "the answer 'c' is not among the options"),
        ({"options": ["a"], "answer": "a"}, "needs 2 to 26 options, this one has 1"),
        ({"options": [], "answer": "a"}, "needs 2 to 26 options, this one has 0"),
        ({"options": {"A": "a"}, "answer": "a"}, "the options are no list of texts"),
        ({"options": "[a", "answer": "a"}, "the options start like a JSON list"),
        ({"answer": "a"}, "no field `options`"),
    ],
)
def test_bad_options_are_named(tmp_path, row, complaint):
    data = write(tmp_path / "a.jsonl", [{"question": "Which?", **row}])
    with pytest.raises(DataError, match=r"a\.jsonl:1: ") as error:
        load(data.model_copy(update={"kind": "choice", "options": "options"}))
    assert complaint in error.value.message


def test_a_misspelt_field_is_met_with_the_nearest(tmp_path):
    write(tmp_path / "a.jsonl", ROWS)
    with pytest.raises(DataError, match="no field `questoin`") as error:
        load(DataSection(path=str(tmp_path / "a.jsonl"), question="questoin"))
    assert "did you mean `question`" in error.value.hint


def test_an_id_that_stands_twice_is_named_with_both_lines(tmp_path):
    data = write(tmp_path / "a.jsonl", [{**ROWS[0], "n": 1}, {**ROWS[1], "n": 1}])
    with pytest.raises(DataError, match=r"a\.jsonl:2: the id '1' stands already at .*a\.jsonl:1"):
        load(data.model_copy(update={"id": "n"}))


def test_files_that_hold_nothing_are_absent_or_are_not_text(tmp_path):
    with pytest.raises(DataError, match="holds no questions"):
        load(write(tmp_path / "empty.jsonl", []))
    with pytest.raises(DataError, match=r"holds no questions \(1 bad rows\)"):
        load(write(tmp_path / "bad.jsonl", ["{"]).model_copy(update={"skip_bad_lines": True}))
    with pytest.raises(DataError, match="there is no file") as error:
        load(DataSection(path=str(tmp_path / "emtpy.jsonl")))
    assert "empty.jsonl" in error.value.hint
    (tmp_path / "latin.jsonl").write_bytes(b'{"question": "a", "answer": 1}\n{"question": "caf\xe9"}')
    with pytest.raises(DataError, match=r"latin\.jsonl:2: not UTF-8"):
        load(DataSection(path=str(tmp_path / "latin.jsonl")))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="not Parquet"):
        load(DataSection(path=str(tmp_path / "broken.parquet")))
    (tmp_path / "short.csv").write_text("question,answer\nHow many?\n")
    with pytest.raises(DataError, match=r"short\.csv:2: the number of columns differs"):
        load(DataSection(path=str(tmp_path / "short.csv")))


def test_a_split_without_questions_says_how_many_there_are(tmp_path):
    data = write(tmp_path / "a.jsonl", ROWS[:1])
    (where,) = {q.split for q in load(data)}
    with pytest.raises(DataError, match="has no questions in its") as error:
        load(data, "dev" if where != "dev" else "test")
    assert "1 in all" in error.value.hint


def test_an_unknown_kind_of_answer_is_refused_with_the_nearest_name(tmp_path):
    with pytest.raises(UsageError, match="unknown kind of answer `numerical`") as failure:
        load(write(tmp_path / "a.jsonl", ROWS).model_copy(update={"kind": "numerical"}))
    assert failure.value.hint == "did you mean `numeric`?"


def test_choice_needs_the_field_of_options(tmp_path):
    with pytest.raises(UsageError, match=r"needs `data\.options`"):
        load(write(tmp_path / "a.jsonl", ROWS).model_copy(update={"kind": "choice"}))
