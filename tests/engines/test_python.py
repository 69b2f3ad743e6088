"""A function as an engine: what it is given, what it may return, and that it can stop nothing but its own answer."""

from __future__ import annotations

import sys
import textwrap
import time

import pytest
from helpers.processes import run

from llmkit.engines import cache_key, open_engine
from llmkit.engines.function import Function
from llmkit.errors import EngineError, RecipeError, UsageError
from llmkit.recipe import code_in_files, load
from llmkit.recipe.schema import EngineSection, ModelSection
from llmkit.runs import Runner
from llmkit.types import Message, Reply, Request, ToolCall, Usage

APP = """
import asyncio, sys, threading, time
from functools import partial

seen = []
tries = {}
clients = set()


def text(question: str):
    return question[::-1]


def messages(turns):
    return " / ".join(f"{t['role']}: {t['content']}" for t in turns)


def fields(turns, customer, tier="free"):
    return f"{customer} {tier}"


def any_field(turns, **row):
    return str(sorted(row.items()))


async def slowly(turns):
    clients.add(id(asyncio.get_running_loop()))
    await asyncio.sleep(0.05)
    return turns[-1]["content"] + "!"


wrapped = partial(slowly)


class Bot:
    async def __call__(self, turns):
        return "bot"

    def method(self, turns):
        return "method"


bot = Bot()


def mapping(turns):
    return {
        "text": "It works",
        "usage": {"prompt": 3, "completion": 4},
        "documents": ["a", 7],
        "tool_calls": [{"name": "find", "arguments": '{"n": 1}'}, {"name": "end"}],
    }


def wrong(question: str):
    values = {"none": None, "number": 3, "keys": {"txt": "a"}, "usage": {"text": "a", "usage": 3},
              "calls": {"tool_calls": [{"arguments": 1}]}}
    return values[question]


def look_up(key):
    return {}[key]


def raises(question: str):
    if question == "exit":
        sys.exit(3)
    if question == "stop":
        raise StopIteration("no more")
    if question == "interrupt":
        raise KeyboardInterrupt
    if question == "cancel":
        raise asyncio.CancelledError
    if question == "secret":
        raise ValueError("https://me:passw0rd-x@host/ refuses")
    return look_up(question)


async def raises_async(question: str):
    return raises(question)


def once(question: str):
    tries[question] = tries.get(question, 0) + 1
    if question != "fine" and tries[question] == 1:
        raise {"late": TimeoutError, "gone": ConnectionResetError}[question]("for now")
    return question


def blocks(question: str):
    if "block" in question:
        time.sleep(1000)
    return question


async def blocks_loop(question: str):
    if "block" in question:
        time.sleep(1000)
    await asyncio.sleep(0.2)
    return question


inside = set()

def at_once(question: str):
    inside.add(question)
    seen.append(len(inside))
    time.sleep(0.1)
    inside.remove(question)
    return question


def when(question: str):
    seen.append(time.monotonic())
    return question


not_a_function = 3


def nothing():
    return ""
"""


@pytest.fixture(autouse=True)
def app(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_app").mkdir()
    (tmp_path / "my_app" / "__init__.py").write_text("")
    (tmp_path / "my_app" / "bot.py").write_text(APP)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] in ("my_app", "broken", "needs_more")]:
        del sys.modules[name]


def opened(name, model=None, **keys):
    section = {"timeout_s": 20.0, "retries": 1, "max_num_seqs": 8, **keys}
    return open_engine(ModelSection(path=model), EngineSection(kind=f"python:my_app.bot:{name}", **section))


def ask(engine, *texts, **more):
    """text -> Reply, or the error that ended its request."""

    def steps(text):
        return (yield Request((Message("user", text),), **more))

    with Runner({"answerer": engine}) as runner:
        return {f.key: f.error or f.result for f in runner.run((text, steps(text)) for text in texts)}


def test_a_function_of_one_text_gets_the_question():
    assert ask(opened("text"), "abc")["abc"] == Reply("cba")


def test_any_other_gets_the_messages_and_the_fields_that_it_takes():
    row = {"customer": "c9", "other": "x", "turns": "never"}
    assert ask(opened("messages"), "hi", fields=row)["hi"].text == "user: hi"
    assert ask(opened("fields"), "hi", fields=row)["hi"].text == "c9 free"
    assert ask(opened("any_field"), "hi", fields=row)["hi"].text == "[('customer', 'c9'), ('other', 'x')]"
    error = ask(opened("fields"), "hi", fields={"other": "x"})["hi"]
    assert error.message == "`python:my_app.bot:fields` needs customer, and the row has no such field"


def test_a_system_prompt_goes_first(tmp_path):
    (tmp_path / "system.txt").write_text("Be brief.\n")
    section = EngineSection(kind="python:my_app.bot:messages")
    engine = open_engine(ModelSection(system_prompt=str(tmp_path / "system.txt")), section)
    assert ask(engine, "hi")["hi"].text == "system: Be brief. / user: hi"


@pytest.mark.parametrize(
    ("name", "text"), [("slowly", "a!"), ("wrapped", "a!"), ("bot", "bot"), ("bot.method", "method")]
)
def test_what_can_be_called_is_called(name, text):
    assert ask(opened(name), "a")["a"].text == text


def test_asynchronous_calls_share_one_loop_and_wait_together():
    texts = [f"q{i}" for i in range(40)]
    replies = ask(opened("slowly", max_num_seqs=40), *texts)
    assert {name: reply.text for name, reply in replies.items()} == {text: f"{text}!" for text in texts}
    assert len(sys.modules["my_app.bot"].clients) == 1


def test_plain_calls_run_at_once_and_no_more_than_allowed():
    ask(opened("at_once", max_num_seqs=3), *map(str, range(12)))
    seen = sys.modules["my_app.bot"].seen
    assert 2 <= max(seen) <= 3


def test_no_more_calls_a_second_than_were_asked_for():
    began = time.monotonic()
    ask(opened("when", rps=50.0), *map(str, range(20)))
    for number, moment in enumerate(sorted(sys.modules["my_app.bot"].seen)):
        assert moment - began >= number / 50


def test_a_mapping_says_more_than_a_text():
    calls = (ToolCall("find", {"n": 1}), ToolCall("end", None))
    expected = Reply("It works", usage=Usage(3, 4), documents=("a", "7"), tool_calls=calls)
    assert ask(opened("mapping"), "a")["a"] == expected


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("none", "returned a NoneType"),
        ("number", "returned a int"),
        ("keys", "returned a dict with txt"),
        ("usage", "returned a mapping that cannot be read: AttributeError"),
        ("calls", "returned a mapping that cannot be read: KeyError"),
    ],
)
def test_what_is_no_reply_is_said(question, said):
    error = ask(opened("wrong"), question)[question]
    assert said in error.message
    assert error.hint


@pytest.mark.parametrize("name", ["raises", "raises_async"])
def test_an_exception_ends_its_answer_and_names_its_place(name):
    errors = ask(opened(name), "x1", "exit", "stop", "interrupt", "cancel", "secret")
    assert {type(error) for error in errors.values()} == {EngineError}
    line = APP.split("\n").index("    return {}[key]") + 1
    place = f"(my_app/bot.py:{line} in look_up)"
    assert errors["x1"].message == f"python:my_app.bot:{name} raises KeyError: 'x1' {place}"
    assert "SystemExit: 3" in errors["exit"].message
    assert "StopIteration" in errors["stop"].message
    assert "KeyboardInterrupt" in errors["interrupt"].message
    assert "CancelledError" in errors["cancel"].message
    assert "passw0rd-x" not in errors["secret"].message


def test_only_what_may_pass_is_tried_again():
    replies = ask(opened("once"), "late", "gone", "fine")
    assert {name: reply.text for name, reply in replies.items()} == {"late": "late", "gone": "gone", "fine": "fine"}
    assert sys.modules["my_app.bot"].tries == {"late": 2, "gone": 2, "fine": 1}
    sys.modules["my_app.bot"].tries.clear()
    error = ask(opened("once", retries=0), "late")["late"]
    assert "TimeoutError: for now (my_app/bot.py:" in error.message
    assert "at the only try" in error.message


@pytest.mark.parametrize(
    ("name", "said"), [("blocks", "no answer within 0.5 s"), ("blocks_loop", "blocks its event loop")]
)
def test_a_function_that_blocks_fails_alone(name, said):
    others = [f"q{i}" for i in range(20)]
    replies = ask(opened(name, timeout_s=0.5, retries=0), "block 1", *others, "block 2")
    assert {text: replies[text].text for text in others} == dict(zip(others, others, strict=True))
    for question in ("block 1", "block 2"):
        assert f"python:my_app.bot:{name}" in replies[question].message
        assert said in replies[question].message


RUN = """\
model: {path: own}
data: {task: arithmetic, limit: 3, size: 60}
perturb: {conditions: [ec]}
engine: {timeout_s: 0.5, retries: 0}
eval: {interval: {draws: 100}}
"""


@pytest.mark.parametrize("name", ["blocks", "blocks_loop"])
def test_a_process_ends_although_a_function_never_does(name, tmp_path):
    (tmp_path / "mine.yaml").write_text(RUN)
    code = textwrap.dedent(APP).replace('"block" in question', '"How many" in question')
    (tmp_path / "my_app" / "bot.py").write_text(code)
    command = [sys.executable, "-m", "llmkit", "eval", "mine.yaml", "--engine", f"python:my_app.bot:{name}"]
    began = time.monotonic()
    done = run(command, 120)
    assert time.monotonic() - began < 120
    assert done.returncode in (1, 4), done.stderr
    assert "(engine.timeout_s)" in done.stderr + (tmp_path / "runs").glob("*/samples.jsonl").__next__().read_text()


@pytest.mark.parametrize(
    ("kind", "message", "hint"),
    [
        ("python", "names no function", "python:package.module:function"),
        ("python:my_app.bot", "names no function", "python:package.module:function"),
        ("python:my_app.bott:text", "there is no module `my_app.bott`", "among the installed packages"),
        ("python:my_ap.bot:text", "there is no module `my_ap`", "among the installed packages"),
        ("python:my_app.bot:texts", "has no `texts`", "`text`"),
        ("python:my_app.bot:not_a_function", "is a int, not a function", None),
        ("python:my_app.bot:nothing", "takes no messages", "its first parameter"),
        ("python:needs_more:f", "importing `needs_more` fails: ModuleNotFoundError: No module named 'not", "install"),
        ("python:broken:f", "ZeroDivisionError: division by zero (broken.py:2 in <module>)", "try"),
    ],
)
def test_a_name_that_leads_nowhere_is_explained(kind, message, hint, tmp_path):
    (tmp_path / "broken.py").write_text("a = 0\nb = 1 / a\n")
    (tmp_path / "needs_more.py").write_text("import not_here\n")
    with pytest.raises(UsageError) as caught:
        open_engine(ModelSection(), EngineSection(kind=kind))
    assert message in caught.value.message
    assert hint is None or hint in caught.value.hint


def test_who_answers_is_what_the_user_states():
    plain, other, named = opened("messages").identity, opened("any_field").identity, opened("messages", "v3").identity
    assert (plain.model, named.model) == ("python:my_app.bot:messages", "v3")
    requests = [Request((Message("user", "a"),), fields={"x": x}) for x in "12"]
    assert len({cache_key(plain, request) for request in requests}) == 1
    assert len({cache_key(other, request) for request in requests}) == 2, "it may read any field"
    assert Function.named("python:my_app.bot:fields").fields == ("customer", "tier")


def test_a_recipe_must_not_name_code(tmp_path):
    (tmp_path / "mine.yaml").write_text("version: 1\nengine:\n  kind: python:my_app.bot:text\n")
    (fault,) = code_in_files(load("mine.yaml"))
    assert str(fault).startswith("mine.yaml:3: engine.kind: a recipe must not name code")
    (tmp_path / "child.yaml").write_text("extends: mine\n")
    assert code_in_files(load("child.yaml"))
    assert code_in_files(load("child.yaml", {"engine.kind": "python:my_app.bot:text"})) == []
    judge = "eval: {scores: [judge], judge: {rubric: r.md, engine: {kind: 'python:my_app.bot:text'}}}\n"
    (tmp_path / "judged.yaml").write_text(judge)
    (fault,) = code_in_files(load("judged.yaml"))
    assert "eval.judge.engine.kind: a recipe must not name code: say --set eval.judge.engine.kind=python:" in str(fault)
    from llmkit import evaluate

    with pytest.raises(RecipeError, match="must not name code"):
        next(iter(evaluate.run_each(load("child.yaml", {"model.path": "m", "data.task": "arithmetic"}), "eval")))
