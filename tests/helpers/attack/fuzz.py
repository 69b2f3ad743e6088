"""Invocations, recipes, rows and run folders that nobody would write, each from its number alone."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from helpers.attack.sandbox import Case, Sandbox, invoke
from helpers.fakes import FakeEngine, fake_kind

from llmkit.cli import app
from llmkit.engines import ENGINES
from llmkit.recipe.faults import all_keys
from llmkit.recipe.load import shipped_recipes
from llmkit.resources import shipped
from llmkit.seeds import derive

HOSTILE = "\x1b]0;owned\x07\x9b2J\x1b[8m\u202e\x7f\x85\rok"
# fmt: off
STRANGE = (
    "", " ", "-", "--", ".", "..", "~", "/", "x", "null", "true", "no", "nan", "inf", "-inf", "1e308", "1e-320", "0x10",
    "0", "-1", "1", "2", "3", "1.5", "١٢", "1_000", "9" * 30, "9" * 5000, "a" * 300, "a/b", "../../x", "./x/", "a\nb",
    "[", "{", "[1", "{a: b}", "[[1]]", "{a: {b: [c]}}", "!!python/object:os.system x", "&a [*a]", "*a", "? x", "|", "'",
    "{{ 1/0 }}", "{{", "%s", "$HOME", "`id`", "$(id)", "é漢🙂", "\udcff", "\u200b", HOSTILE, "ec@0.3", "clean",
    "mix(ec:nan,sc:1)", "mix(", "mix(ec:1,sc:1)", "chars:1,4", "chars:" + "9" * 50, "typo:1", "ec+ec+ec", "hub:x/y",
    "task:", "task:nope", "hub:", "x.jsonl", "x.csv", "x.parquet", "x.yaml", "/dev/null", "/proc/self/mem", "\x00x",
    "stand.drop <= 0.05", "stand.drop <= 5", "rop.gain@ec >= nan", "stand.accuracy >= 0 high", "a.b", "<= 1", "1/0",
    "2/1", "http://", "http://127.0.0.1:9", "http://[::1", "ftp://x", "http://u:p@127.0.0.1:9/v1?key=abc", "http://x:99999",
)
# fmt: on
PLAUSIBLE = {
    "--task": ("arithmetic", "coin_flip", "last_letters", "gsm8k", "aqua"),
    "--op": ("ec", "sc,woo", "ec+uic", "chars:1,4", "typo", "mix(ec:0.5,sc:0.5)", "uic"),
    "--conditions": ("ec", "sc,woo", "ec+uic", "clean,ec"),
    "--rate": ("0.1", "0,0.3", "paper", "1"),
    "--arms": ("stand", "stand,rop", "correct_only", "self_consistency"),
    "--gate": ("stand.drop <= 0.05 point", "stand.accuracy >= 0.1 point", "rop.gain@ec >= 0 low", "stand.drop <= 5"),
    "--engine": ("auto", "openai", "transformers", "vllm"),
    "--format": ("lm-eval", "inspect"),
    "--method": ("lora", "talklora", "nope"),
    "--model": ("scripted", "nope"),
    "--out": ("out", "out/deep/er"),
    "--dir": ("out", "out/deep/er"),
    "--shard": ("1/2", "2/2"),
    "--holdout": ("none", "one-out"),
    "--split": ("train", "dev", "test"),
    "--workers": ("1", "2", "0", "-1", "x", "64", "1024", "1025", "9" * 30),
    "--launch": ("single", "nope"),
    "--port": ("0", "8123", "99999", "-1", "x"),
    "--seed": ("0", "7", "-1", str(2**63), str(2**70)),
}
SMALL = ("--set", "data.size=60", "--set", "eval.interval.draws=100", "--limit", "2")
ASKING = ("--model", "scripted", "--task", "arithmetic", *SMALL, "--conditions", "ec")
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("perturb", "rows.jsonl", "--op", "ec"),
    ("perturb", "task:arithmetic", "--limit", "3", "--op", "sc,uic", "--rate", "0.3"),
    ("perturb", "-", "--op", "ec", "--out", "noisy.jsonl"),
    ("perturb", "rows.jsonl", "--op", "ec", "--preview", "2"),
    ("perturb", "--list"),
    ("eval", *ASKING),
    ("eval", *ASKING, "--gate", "stand.drop <= 0.05 point", "--json"),
    ("eval", "--path", "rows.jsonl", "--model", "scripted", *SMALL),
    ("eval", *ASKING, "--dry-run"),
    ("eval", "run", *ASKING, "--shard", "1/2"),
    ("eval", "score", "runs/good"),
    ("eval", "export", "runs/good", "--format", "lm-eval"),
    ("rop", *ASKING, "--arms", "stand,correct_only"),
    ("rop", *ASKING, "--dry-run", "--profile", "paper"),
    ("finetune", "--model", "nope", "--task", "arithmetic", "--dry-run"),
    ("serve", "--model", "nope", "--adapter", "a=b"),
    ("recipe", "check", "mine.yaml"),
    ("recipe", "show", "mine.yaml", "--origins"),
    ("recipe", "show", "demo", "--json"),
    ("recipe", "init", "new.yaml"),
    ("recipe", "ls"),
    ("recipe", "schema"),
    ("data", "ls"),
    ("data", "show", "arithmetic", "--limit", "2"),
    ("data", "show", "rows.jsonl"),
    ("runs", "ls"),
    ("runs", "show", "good"),
    ("runs", "compare", "good", "good"),
    ("runs", "merge", "runs/good"),
    ("cache", "info"),
    ("cache", "clear", "responses", "--yes"),
    ("env",),
)
ROWS = [
    {"id": f"r{i}", "question": f"Tom has {i} apples and buys 3 more. How many apples does he have?", "answer": i + 3}
    for i in range(4)
]
RECIPE = """\
version: 1
model: {path: scripted}
data: {task: arithmetic, size: 60, limit: 2}
eval: {interval: {draws: 100}}
"""


@contextmanager
def scripted() -> Iterator[None]:
    """Every model is one that answers at once."""

    with fake_kind(lambda model, section: FakeEngine(capabilities=frozenset()), kinds=list(ENGINES)):
        yield


class Fuzzer:
    """Cases by number: the same seed and number always make the same case."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.sandbox = Sandbox()
        with self.sandbox.entered(), scripted():
            made = invoke(["eval", *ASKING, "--name", "good"])
            assert made.code == 0, made.err
            folder = next(Path("runs").iterdir())
            shutil.rmtree("runs/good", ignore_errors=True)
            folder.rename("runs/good")
        self.good = {
            f"runs/good/{path.name}": path.read_bytes()
            for path in (self.sandbox.work / "runs/good").iterdir()
            if path.suffix in (".json", ".jsonl", ".yaml")
        }
        shutil.rmtree(self.sandbox.work / "runs")
        self.sandbox.keep()

    def case(self, number: int) -> Case:
        rng = random.Random(derive(self.seed, "attack", number))
        make = rng.choices((invocation, recipe, rows, run_folder), (6, 3, 2, 2))[0]
        case = make(rng, self.good)
        case.files = {"rows.jsonl": lines(ROWS), "mine.yaml": RECIPE.encode()} | case.files
        if any(a.startswith(("runs/good", "good")) for a in case.args):
            case.files = self.good | case.files
        return case

    def findings(self, number: int, seconds: float = 20) -> list[str]:
        case = self.case(number)
        with scripted():
            return [f"fuzz {self.seed}/{number}: {case}: {what}" for what in self.sandbox.run(case, seconds)]

    def close(self) -> None:
        self.sandbox.close()


def lines(values: list) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def invocation(rng: random.Random, good: dict[str, bytes]) -> Case:
    """A command that works, with flags added, values replaced, words left out."""
    args = list(rng.choice(COMMANDS))
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        what = rng.random()
        if what < 0.45:
            args += option(rng, args[0])
        elif what < 0.6:
            args += ["--set", f"{rng.choice(all_keys())}={value(rng)}"]
        elif what < 0.8 and len(args) > 1:
            at = rng.randrange(1, len(args))
            args[at] = value(rng, args[at - 1])
        elif what < 0.9:
            args.insert(rng.randrange(len(args) + 1), value(rng))
        elif len(args) > 1:
            del args[rng.randrange(1, len(args))]
    if rng.random() < 0.05:
        args.insert(0, rng.choice(("--debug", "--quiet", "--version", "-h", "--nope")))
    return Case(args, stdin=lines(ROWS) if rng.random() < 0.7 else garbled(rng, lines(ROWS)), writes=written(args))


def recipe(rng: random.Random, good: dict[str, bytes]) -> Case:
    """A command on a recipe that is damaged, or says what no recipe should."""
    commands = (
        ("recipe", "check"),
        ("recipe", "show"),
        ("recipe", "check", "--json"),
        ("eval",),
        ("rop",),
        ("perturb",),
    )
    args = [*rng.choice(commands), "hostile.yaml"]
    if args[0] in ("eval", "rop"):
        args += ["--model", "scripted", *SMALL]
    elif rng.random() < 0.1:
        args = ["finetune", "hostile.yaml", "--dry-run", "--model", "nope"]
    if rng.random() < 0.7:
        text = f"version: 1\nextends: mine.yaml\n{flow(rng)}"
    else:
        text = rng.choice((RECIPE, shipped_text(rng.choice(shipped_recipes()))))
        text = garbled(rng, text.encode()).decode("utf-8", "surrogateescape")
    if rng.random() < 0.2:
        text = garbled(rng, text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
    return Case(args, {"hostile.yaml": text.encode("utf-8", "surrogateescape")}, writes=written(args) + spoken(text))


def flow(rng: random.Random) -> str:
    """A few keys of a recipe with a value each, written as YAML that may be none."""
    tree: dict = {}
    for key in rng.sample(all_keys(), rng.randint(1, 4)):
        *sections, name = key.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {}) if isinstance(place, dict) else {}
        if isinstance(place, dict):
            place[name] = rng.choice((value(rng), json.dumps(strange_json(rng)), f"[{value(rng)}]"))

    def lines_of(tree: dict, indent: int) -> Iterator[str]:
        for name, inner in tree.items():
            if isinstance(inner, dict):
                yield f"{' ' * indent}{name}:"
                yield from lines_of(inner, indent + 2)
            else:
                yield f"{' ' * indent}{name}: {inner}"

    return "\n".join(lines_of(tree, 0)) + "\n"


def rows(rng: random.Random, good: dict[str, bytes]) -> Case:
    """A command on rows that are damaged."""
    kind = rng.choice((".jsonl", ".csv", ".tsv", ".parquet", ".json"))
    content = lines(ROWS)
    if kind in (".csv", ".tsv"):
        content = "".join(
            ("," if kind == ".csv" else "\t").join(map(str, row.values())) + "\n" for row in ROWS
        ).encode()
        content = b"id,question,answer\n".replace(b",", b"," if kind == ".csv" else b"\t") + content
    if rng.random() < 0.5:
        row = {rng.choice(("id", "question", "answer", "options", "x", HOSTILE)): strange_json(rng) for _ in range(3)}
        content += lines([ROWS[0] | row]) if kind == ".jsonl" else garbled(rng, content)
    else:
        content = garbled(rng, content)
    name = f"r{kind}"
    args = rng.choice(
        (
            ["perturb", name, "--op", "ec,sc"],
            ["perturb", name, "--op", "uic", "--skip-bad-lines", "--stats"],
            ["perturb", name, "--preview", "3"],
            ["data", "show", name, "--json"],
            ["data", "show", name, "--skip-bad-lines"],
            ["eval", "--path", name, "--model", "scripted", "--skip-bad-lines", *SMALL],
        )
    )
    return Case([*args], {name: content}, writes=written(args))


def run_folder(rng: random.Random, good: dict[str, bytes]) -> Case:
    """A command on a run folder in which something is not what llmkit wrote."""
    files = dict(good)
    for name in rng.sample(sorted(files), rng.randint(1, 2)):
        damage = rng.random()
        if damage < 0.15:
            del files[name]
        elif damage < 0.4 or not name.endswith(".json"):
            files[name] = garbled(rng, files[name])
        else:
            files[name] = json.dumps(less(rng, json.loads(files[name]))).encode()
    args = rng.choice(
        (
            ["runs", "ls"],
            ["runs", "ls", "--json"],
            ["runs", "show", "good"],
            ["runs", "show", "good", "--json"],
            ["runs", "compare", "good", "runs/good"],
            ["runs", "merge", "runs/good"],
            ["eval", "score", "runs/good"],
            ["eval", "score", "runs/good", "--json", "--gate", "stand.drop <= 0.05 point"],
            ["eval", "export", "runs/good", "--format", rng.choice(("lm-eval", "inspect"))],
            ["eval", *ASKING, "--baseline", "runs/good"],
            ["rop", *ASKING, "--arms", "stand", "--instructions", "runs/good/instructions.json"],
        )
    )
    return Case([*args], files, writes=written(args))


def value(rng: random.Random, flag: str = "") -> str:
    if flag in PLAUSIBLE and (rng.random() < 0.6 or flag in ("--workers", "--port")):
        return rng.choice(PLAUSIBLE[flag])
    text = rng.choice(STRANGE)
    return text if rng.random() < 0.85 else text + rng.choice(STRANGE)


def option(rng: random.Random, command: str) -> list[str]:
    """An option that the command has, with or without a value that fits."""
    flag, takes_value = rng.choice(options(command) or [("--json", False)])
    if flag in ("--install-completion", "--show-completion"):  # these write to the shell's own files
        return ["--json"]
    shape = rng.random()
    if not takes_value:
        return [flag] if shape < 0.9 else [f"{flag}=1"]
    given = value(rng, flag)
    return [flag, given] if shape < 0.8 else [f"{flag}={given}"] if shape < 0.95 else [flag]


@cache
def options(command: str) -> list[tuple[str, bool]]:
    """Every option of a command and of those below it, and whether it takes a value."""
    if command not in app.COMMANDS:
        return []
    found, waiting = [], [app._command(command)]
    while waiting:
        one = waiting.pop()
        waiting += getattr(one, "commands", {}).values()
        for param in one.params:
            found += [(flag, not getattr(param, "is_flag", True)) for flag in param.opts if flag.startswith("-")]
    return sorted(set(found))


def written(args: list[str]) -> list[str]:
    """The places that an invocation names for its files."""
    places = [args[i + 1] for i, a in enumerate(args[:-1]) if a in ("--out", "--dir", "-o", "--html")]
    places += [a.partition("=")[2] for a in args if a.startswith(("--out=", "-o=", "--html=", "output.dir="))]
    places += [a[2:] for a in args if a.startswith("-o")]
    places += args[2:] if args[:2] == ["recipe", "init"] else []
    return places + (["recipe.yaml"] if "init" in args else [])


def spoken(text: str) -> list[str]:
    """The folders that a recipe may mean with `output.dir`, read generously."""
    return [part.strip(" {}'\"") for line in text.splitlines() if "dir:" in line for part in line.split("dir:")[1:]]


def garbled(rng: random.Random, content: bytes) -> bytes:
    """Cut, doubled, overwritten, or with bytes in it that belong to no text."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data) + 1)
        piece = rng.choice(
            (b"\xff\xfe", b"\x00", HOSTILE.encode(), b"\n", b'"', b"{", b"}" * 9, b"[" * 2000, b"\x80", b"NaN")
        )
        change = rng.random()
        if change < 0.3:
            data = data[:at]
        elif change < 0.5:
            data[at:at] = data[rng.randrange(len(data) + 1) :][:50]
        else:
            data[at : at + rng.choice((0, 1, 20))] = piece
    return bytes(data)


def strange_json(rng: random.Random) -> object:
    made: Callable[[], object] = rng.choice(
        (
            lambda: rng.choice(STRANGE).encode("utf-8", "backslashreplace").decode(),
            lambda: rng.choice((None, True, 0, -1, 1e308, float("nan"), 10**30, [], {}, [[]], {"a": [None]})),
            lambda: [rng.choice(STRANGE).encode("utf-8", "backslashreplace").decode() for _ in range(3)],
            lambda: "word " * 500,
        )
    )
    return made()


def less(rng: random.Random, value: object) -> object:
    """JSON with a key less, or a value of another kind, somewhere in it."""
    if rng.random() < 0.2 or not isinstance(value, dict | list) or not value:
        return strange_json(rng)
    if isinstance(value, list):
        at = rng.randrange(len(value))
        return [*value[:at], less(rng, value[at]), *value[at + 1 :]]
    key = rng.choice(sorted(value))
    if rng.random() < 0.3:
        return {k: v for k, v in value.items() if k != key}
    return value | {key: less(rng, value[key])}


def shipped_text(name: str) -> str:
    return (shipped("recipes") / f"{name}.yaml").read_text(encoding="utf-8")
