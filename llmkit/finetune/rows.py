"""Training rows: from tasks and files to prompts and answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from llmkit.errors import DataError, UsageError
from llmkit.parsing import parse_json
from llmkit.prompts import render
from llmkit.recipe.schema import Recipe
from llmkit.recipe.schema.finetune import SourceSection
from llmkit.records import json_lines
from llmkit.rop.arms import llm_adapters_prompt
from llmkit.seeds import derive
from llmkit.tasks import OwnPrompt, gold_text, load, own_prompts, question_messages
from llmkit.types import Message, Question


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One prompt and the answer to learn.

    `text` is the part that noise may change: the question of a task, the last message of a prompt; None where noise
    could touch answer options that nothing protects. `plain` rows never go through a chat template. `correction` is the
    share of times that the row asks for a correction, where its source has a share of its own. `own` is the user's own
    prompt around the question.
    """

    id: str
    prompt: tuple[Message, ...]
    answer: str
    text: str | None = None
    plain: bool = False
    question: Question | None = None
    correction: float | None = None
    own: OwnPrompt | None = None

    def asks(self, text: str, instruction: str | None = None) -> tuple[Message, ...]:
        """Returns the prompt with another text in the place of its own, and under `instruction` where its form has
        one."""
        if self.question is not None and self.plain:
            return (Message("user", llm_adapters_prompt(self.question, text)),)
        if self.question is not None:
            texts = self.question.texts if self.question.divided else (text,)
            return question_messages(self.question, texts, instruction, prompt=self.own)
        return (*self.prompt[:-1], replace(self.prompt[-1], content=text))


def load_rows(recipe: Recipe, source: SourceSection, split: str) -> list[TrainingRow]:
    """Loads the rows of one source: `train`, or the `dev` rows that training never sees. Test rows are never read."""
    if source.task and source.path:
        raise UsageError(f"a source names both the task `{source.task}` and a file", "give two sources")
    if source.path and source.form != "llmkit":
        raise UsageError(f"finetune.data.sources: {source.path} has its own form", "`form` is for tasks: leave it out")
    if source.path and (source.levels or source.correction is not None):
        raise UsageError(
            f"finetune.data.sources: {source.path} is a file", "`levels` and `correction` are for tasks: leave them out"
        )
    if recipe.prompts:
        rows = _own_rows(recipe, source, split)
    elif source.path:
        rows = _held_out(_file_rows(Path(source.path)), recipe.finetune.data.dev_share, split, recipe.seed)
    else:
        rows = _task_rows(recipe, source, split)
    limit = source.limit if split == "train" else min(source.limit or 10**9, recipe.finetune.data.dev_limit)
    if limit is not None and len(rows) > limit:
        rows = sorted(rows, key=lambda row: derive(recipe.seed, "limit", row.id))[:limit]
    if not rows:
        name = source.path or source.task or recipe.data.task
        raise DataError(f"{name} has no {split} rows", "a file needs enough rows for `finetune.data.dev_share`")
    return rows


def sources(recipe: Recipe) -> tuple[SourceSection, ...]:
    """Returns the recipe's sources, by default its own task."""
    if recipe.finetune.data.sources:
        return recipe.finetune.data.sources
    if recipe.data.task is None and recipe.data.path is None:
        raise UsageError("there is nothing to train on", "give `data.task`, or `finetune.data.sources`")
    return (SourceSection(task=recipe.data.task, path=None if recipe.data.task else recipe.data.path),)


def _task_rows(recipe: Recipe, source: SourceSection, split: str) -> list[TrainingRow]:
    from llmkit.tasks import gold_text, kind_of

    task = source.task or recipe.data.task
    levels = source.levels or recipe.data.levels
    section = recipe.data.model_copy(
        update={"task": task, "path": None, "limit": None, "split": split, "levels": levels}
    )
    rows: list[TrainingRow] = []
    for question in load(section, split, recipe.seed):
        if source.form == "llm_adapters":
            rows.append(_verbalised(question, str(task), source.correction))
            continue
        answer = question.meta.get("solution") or kind_of(question).announced(gold_text(question))
        prompt = question_messages(question, question.texts)
        rows.append(
            TrainingRow(question.id, prompt, answer, question.text, question=question, correction=source.correction)
        )
    return rows


def _own_rows(recipe: Recipe, source: SourceSection, split: str) -> list[TrainingRow]:
    """Returns questions under the user's own prompt, each with its answer and no word more. A source's file has the
    fields that `data` names, and is all for training; of `data.path` and of tasks the test split never is."""
    if len(recipe.prompts) > 1:
        raise UsageError(f"rows are trained under one prompt, and {len(recipe.prompts)} are given", "give one --prompt")
    if source.form != "llmkit":
        raise UsageError(f"a prompt of your own takes the place of form {source.form}", "leave out one of the two")
    prompt = own_prompts(recipe)[0]
    whole = source.path is not None and source.path != recipe.data.path
    named = {"task": source.task, "path": source.path} if source.task or source.path else {}
    section = recipe.data.model_copy(update={**named, "limit": None, "levels": source.levels or recipe.data.levels})
    questions = load(section, "all" if whole else split, recipe.seed, recipe.perturb.fields)
    prompt.refuse_without_place(questions[0], section.answer if section.path else None)
    rows: list[TrainingRow] = []
    for question in questions:
        if question.gold is None:
            raise UsageError(f"{section.path}: the rows have no answers to learn", "name their field with data.answer")
        asked = prompt.messages(question, question.texts)
        # Of several texts the views perturb none: each would need a share of the noise.
        text = None if question.divided else question.text
        row = TrainingRow(question.id, asked, gold_text(question), text, question=question, own=prompt)
        rows.append(replace(row, correction=source.correction))
    return _held_out(rows, recipe.finetune.data.dev_share, split, recipe.seed) if whole else rows


def _verbalised(question: Question, task: str, correction: float | None) -> TrainingRow:
    """Returns a commonsense question as LLM-Adapters publish it: their prompt, "the correct answer is answer2"."""
    if not {"instruction", "output"} <= question.meta.keys():
        raise UsageError(f"finetune.data.sources: {task} has no form llm_adapters", "eight commonsense sets have it")
    prompt = (Message("user", llm_adapters_prompt(question, question.text)),)
    answer = question.meta["output"]
    return TrainingRow(question.id, prompt, answer, question.text, plain=True, question=question, correction=correction)


def _held_out(rows: list[TrainingRow], dev_share: float, split: str, seed: int) -> list[TrainingRow]:
    """Returns the train or the dev rows of a file, split by a hash of the prompt: equal prompts stay on one side."""

    def is_dev(row: TrainingRow) -> bool:
        return derive(seed, "dev", *(m.content for m in row.prompt)) / 2**63 < dev_share

    return [row for row in rows if is_dev(row) == (split == "dev")]


def _file_rows(path: Path) -> list[TrainingRow]:
    rows: list[TrainingRow] = []
    for number, (where, fields) in enumerate(_read(path)):
        try:
            rows.extend(_parse(fields, f"{path.name}-{number}"))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{where}: {error}", _FORMS) from None
    if not rows:
        raise DataError(f"{path} holds no rows", _FORMS)
    return rows


_FORMS = (
    "a row is {messages: [{role, content}, …]} ending with an assistant turn, {prompt, completion}, or LLM-Adapters' "
    "{instruction, input, output}"
)


def _read(path: Path) -> Iterator[tuple[str, Any]]:
    """Yields every row with its place. A file that begins with `[` is one JSON list, any other has one row a line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}", "give a JSON or JSONL file in UTF-8") from None
    if text.lstrip()[:1] == "[":
        try:
            parsed = parse_json(text)
        except ValueError as error:
            raise DataError(f"{path} is not JSON: {error}") from None
        for number, row in enumerate(parsed, 1):
            yield f"{path}, row {number}", row
        return
    for place, row in json_lines(text.split("\n"), str(path)):
        if isinstance(row, DataError):
            raise DataError(f"{place}: {row.message}")
        yield place, row


def _parse(fields: Any, id: str) -> Iterator[TrainingRow]:
    if not isinstance(fields, dict):
        raise ValueError("not an object")
    if "messages" in fields:
        yield from _chat(fields["messages"], id)
    elif "completion" in fields:
        prompt = fields["prompt"]
        messages = _messages(prompt) if isinstance(prompt, list) else (Message("user", _filled(prompt, "prompt")),)
        yield TrainingRow(id, messages, _filled(_completion(fields["completion"]), "completion"), messages[-1].content)
    elif "instruction" in fields:
        content = render("finetune/llm-adapters-v1", **adapters_fields(fields))
        yield TrainingRow(id, (Message("user", content),), _filled(fields["output"], "output"), plain=True)
    else:
        raise ValueError(f"fields {', '.join(fields) or '(none)'} are of no known form")


def adapters_fields(row: dict[str, Any]) -> dict[str, str]:
    """Returns instruction and input of an LLM-Adapters row (arXiv 2304.01933)."""
    return {"instruction": _filled(row["instruction"], "instruction"), "input": (row.get("input") or "").strip()}


def _chat(turns: Any, id: str) -> Iterator[TrainingRow]:
    """Yields one row for each assistant turn, with everything before it as the prompt."""
    messages = _messages(turns)
    if not messages or messages[-1].role != "assistant":
        raise ValueError("the last message is not the assistant's: there is no answer to learn")
    for place, message in enumerate(messages):
        if message.role == "assistant" and place:
            before = messages[:place]
            answer = _filled(message.content, f"message {place + 1}")
            yield TrainingRow(f"{id}.{place}", before, answer, before[-1].content)


def _messages(turns: Any) -> tuple[Message, ...]:
    made = tuple(Message(turn["role"], turn["content"]) for turn in turns)
    for message in made:
        if message.role not in ("system", "user", "assistant") or not isinstance(message.content, str):
            raise ValueError(f"a message of role {message.role!r} is not understood")
    return made


def _completion(value: Any) -> Any:
    return value[-1]["content"] if isinstance(value, list) and value else value


def _filled(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"the {name} is empty")
    return value.strip()


def rows_digest(groups: Iterable[Sequence[TrainingRow]]) -> str:
    """Returns 32 hex digits of everything in the rows."""
    digest = blake2b(digest_size=16)
    for rows in groups:
        digest.update(b"\x1e")
        for row in rows:
            fields = (
                row.id,
                row.answer,
                row.text or "",
                str(row.plain),
                *([] if row.correction is None else [str(row.correction)]),
                *(m.role + ":" + m.content for m in row.prompt),
            )
            digest.update("\x1f".join(fields).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
