"""Runs the commands that the docs show and writes what they print; a test keeps the pages true.

    python benchmarks/docs.py [PAGE ...]

Each fenced block of docs/ and README.md with a line `$ llmkit ...` is a session. Its commands run in a folder of
their own, with the files of `FILES` in it, and what they print is compared with the block. In a block, `...` stands
for anything, also for whole lines. A comment on the line above the block says how it is treated otherwise:

    <!-- llmkit: DATE, REASON -->     not run, because it needs a model, a server or much time; its output is of DATE
    <!-- llmkit: run by TEST -->      not run here, but by another test, which is named
    <!-- llmkit: labels -->           run; only the first word of each line is compared, as the rest is the machine's
    <!-- llmkit: with NAME -->        run, with the files of `FILES["PAGE NAME"]` instead of the page's

The flags of every command, of blocks without `$`, of those that are not run and of commands within the text too, are
checked against the command line itself: each command and flag exists, and each key of `--set`.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"(?:^<!-- llmkit: (?P<note>[^\n]*) -->\n)?^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.M | re.S)
NOT_RUN = re.compile(r"\d{1,2} [A-Z][a-z]+ \d{4}, .+|run by tests/\S+\.py")


def _lines(*rows: dict[str, object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


RECIPE = """version: 1
data:
  task: arithmetic
  limt: 100
  split: tset
perturb:
  conditions: [ec]
  rate: [0.1, high]
rop: {search: {budget: 100.0}}
eval:
  gates: [{metric: stand.drop, max: 0.1, bound: lo}]
"""
PROMPT = """messages:
  - role: system
    content: |
      You sort the tickets of a shop. Answer with one word:
      delivery, billing, account or returns.
  - role: user
    content: |
      {% if customer %}Customer: {{ customer }}
      {% endif %}Ticket: {{ body }}
"""
FROM_ELSEWHERE = """version: 1
model: {path: some-model, chat_template: ~/.ssh/config}
engine: {base_url: ["http://198.51.100.7:8000/v1"], api_key_env: MY_TOKEN}
data: {task: arithmetic}
"""
SUPPORT = """model: {path: support-v3}
data: {path: tickets.csv, question: body, answer: refund, kind: boolean, split: all}
perturb: {conditions: [typing], rate: 0.3}
"""
SORTER = """WORDS = {
    "billing": "invoice charged refund payment paid price vat",
    "delivery": "parcel tracking arrived carrier delivered shipped",
    "returns": "return exchange label back size",
    "defect": "broken crack stopped damaged leaks",
    "account": "password account login email address",
    "technical": "website page app browser error",
    "product": "material fit does available colour",
}


def answer(body: str) -> str:
    text = body.lower()
    return max(WORDS, key=lambda queue: sum(word in text for word in WORDS[queue].split()))
"""
SHOP = """import json, re


def sort(messages, body):
    for queue, words in {"billing": ("invoice", "charged"), "delivery": ("parcel", "courier")}.items():
        if any(word in body.lower() for word in words):
            return queue
    return "other"


def order(messages, body):
    item = re.search(r"(\\d+) boxes of (\\w+)", body)
    return json.dumps({"count": int(item[1]), "item": item[2]} if item else {"count": 0})


def calls(messages, body):
    made = [{"name": "find_order", "arguments": {"id": int(n)}} for n in re.findall("order (\\\\d+)", body)]
    return {"text": "", "tool_calls": made or [{"name": "ask_a_person", "arguments": {}}]}


def names(messages, body):
    found = re.findall(r"(?:from|to) ([A-Z]\\w+)", body)
    return json.dumps([{"text": word, "label": "city"} for word in found])
"""
TOWNS = ("Lisbon", "Bergen", "Kyoto", "Quito", "Dakar", "Perth")
QUEUES = {
    "billing": "I was charged twice for the jacket number {n} that I have bought from you",
    "delivery": "My parcel with the lamp number {n} did not arrive although I have waited",
    "other": "Is the washing powder number {n} safe for a baby who chews on everything",
}
FILES: dict[str, dict[str, str]] = {
    "docs/ci.md": {
        "app.py": SORTER,
        "changed.py": SORTER.replace("return exchange label back size", "exchange label"),
        "recipe.yaml": "data: {path: tickets-labelled.csv, question: body, answer: queue, kind: text, split: all}\n"
        "perturb: {conditions: [typing], rate: 0.1}\n",
    },
    "docs/scale.md": {
        f"{name}.jsonl": _lines(
            *(
                {
                    "id": f"{name}{n}",
                    "question": f"Maria buys {n} red apples because they are cheap. How many are left?",
                }
                for n in range(100)
            )
        )
        for name in "ab"
    },
    "docs/answers.md": {
        "shop.py": SHOP,
        "tickets.csv": "body,queue\n"
        + "".join(f"{list(QUEUES.values())[n % 3].format(n=n)},{list(QUEUES)[n % 3]}\n" for n in range(90)),
        "orders.jsonl": _lines(
            *(
                {"body": f"Please send me {n} boxes of nails before Friday.", "order": {"count": n, "item": "nails"}}
                for n in range(2, 62)
            )
        ),
        "order.schema.json": json.dumps(
            {
                "type": "object",
                "required": ["count", "item"],
                "properties": {"count": {"type": "integer"}, "item": {"type": "string"}},
            }
        ),
        "broken.schema.json": '{"type": "objekt"}',
        "requests.jsonl": _lines(
            *(
                {
                    "body": f"Could you please look where order {n} is, it should be here since Monday",
                    "calls": [{"name": "find_order", "arguments": {"id": n}}],
                }
                for n in range(300, 360)
            )
        ),
        "trips.jsonl": _lines(
            *(
                {
                    "body": f"Trip {n}: my sister flies from {one} to {two} with two suitcases.",
                    "cities": [{"text": one, "label": "city"}, {"text": two, "label": "city"}],
                }
                for n in range(60)
                for one, two in [(TOWNS[n % 6], TOWNS[(n + 1 + n // 6 % 5) % 6])]
            )
        ),
        "wrong.jsonl": _lines({"body": "See you in Rome.", "cities": [{"start": 11, "end": 19, "label": "city"}]}),
    },
    "docs/endpoints.md": {
        "support.yaml": SUPPORT,
        "support.py": "def answer(question: str):\n    return 'no'\n",
        "names-code.yaml": "extends: support\nengine: {kind: python:support:answer}\n",
        "tickets.csv": "body,refund\n" + "".join(f"Where is my order {n}? It should be here,no\n" for n in range(80)),
    },
    "docs/noise.md channels": {
        "q.jsonl": _lines(
            {
                "id": "q1",
                "question": "Three quarters of the 12 kids who came have read the book of poems.",
                "answer": "9",
            },
            {"id": "q2", "question": "Which of these is a good place to store the butter?\n(A) a fridge (B) a shelf"},
        ),
        "de.jsonl": _lines(
            {"question": "Maria kauft zwölf rote Äpfel, weil sie billiger sind."},
            {"question": "Welche von diesen Sachen ist ein guter Ort für die Butter?"},
        ),
    },
    "docs/perturb.md": {
        "q.jsonl": _lines(
            {
                "id": "q1",
                "question": "Maria buys 12 red apples because they are cheaper, and she eats three of them. "
                "How many apples are left?",
                "answer": "9",
            },
            {
                "id": "q2",
                "question": "A ticket costs $7.50. Solve $x + 2 = 5$ first. How much do 4 tickets cost?",
                "answer": "30",
            },
            {
                "id": "q3",
                "question": "Which of these keeps rain off a terrace?\nAnswer Choices: (A) shelf (B) awning (C) dark",
                "answer": "B",
            },
        )
    },
    "docs/prompts.md": {
        "tickets.csv": "id,customer,body\n"
        '1,Ann,"My parcel has not arrived since Monday, please help me to find it"\n'
        '2,Bob,"I was charged twice for the blue jacket that I ordered last week"\n'
        "3,,How can I change the address of my order before it is sent {{ 7 * 7 }}\n",
        "support.yaml": PROMPT,
        "short.yaml": "- {role: user, content: '{{ body }} Which queue?'}\n",
        "wrong.yaml": PROMPT.replace("body", "bdy"),
        "lacking.yaml": PROMPT.replace("{{ customer }}", "{{ custmer }}"),
    },
    "docs/repair.md": {
        "tickets.csv": "id,body\n"
        "1,I have not recieved my ordr from last week\n"
        "2,Where can I change the address of my order?\n"
        "3,Pleese cancel my ordre 40718\n",
        "repair.json": json.dumps(
            {
                "version": 1,
                "chain": "fold+spell",
                "gate": {
                    "scales": [{"detector": "unknown_words", "knots": [[0, 0], [0.02, 2], [0.5, 3]]}],
                    "threshold": 1.5,
                },
            }
        ),
    },
    "docs/cli.md": {"q.jsonl": '{"question": "1+2?", "answer": 3}\n{"question":\n{"question": "1+1?", "answer": 2}\n'},
    "docs/gates.md": {
        "DATA/svamp/SVAMP.json": json.dumps(
            [
                {"Body": f"Ann has {n} plums and eats one.", "Question": "How many are left?", "Answer": n - 1.0}
                for n in range(2, 402)
            ]
        )
    },
    "docs/gates.md looks": {
        "boxes.jsonl": _lines(
            *(
                {
                    "question": f"A box holds {n} green apples, and Maria adds {n % 7} more. How many are in it?",
                    "answer": str(n + n % 7),
                }
                for n in range(3, 503)
            )
        ),
        "shop.py": r"""import re


def answer(question: str):
    first, second = re.findall(r"\d+", question)[:2]
    return str(int(first) + int(second)) if "adds" in question else first
""",
    },
    "docs/recipes.md": {"mine.yaml": RECIPE, "../downloads/downloaded.yaml": FROM_ELSEWHERE},
    "docs/recipes.md meaning": {
        "mine.yaml": "version: 1\ndata: {task: arithmetic}\nperturb:\n  conditions: [ec, typo]\n",
    },
    "docs/report.md": {
        "pairs.jsonl": _lines({"original_question": "Who is there?", "rewritten_question": "Who is their?"})
    },
    "docs/tasks.md": {
        "questions.jsonl": _lines(
            {"prompt": "What keeps rain off a terrace?", "label": "awning", "choices": ["awning", "dark"]},
            {"prompt": "What bakes bread?", "label": "shelf", "choices": ["oven", "fridge"]},
        ),
        "data/svamp/SVAMP.json": "[]",
    },
}


@dataclass(frozen=True)
class Block:
    """A fenced block that holds commands."""

    page: str
    line: int
    note: str
    body: str

    @property
    def is_session(self) -> bool:
        """Shows what its commands print."""
        return re.search(r"^\$ (?:.*\| )?llmkit ", self.body, re.M) is not None

    @property
    def is_run(self) -> bool:
        return self.is_session and not NOT_RUN.fullmatch(self.note)

    def commands(self) -> list[str]:
        """Returns the command lines, `$` and output left out."""
        if not self.is_session:
            return [line for line in self.body.splitlines() if re.match(r"(.*\| |[A-Z_]+=\S+ )?llmkit [a-z-]", line)]
        return [line.removeprefix("$ ") for line in self.body.splitlines() if line.startswith("$ ")]

    def files(self) -> dict[str, str]:
        """Returns the files of its folder."""
        name = f"{self.page} {self.note.removeprefix('with ')}" if self.note.startswith("with ") else self.page
        return FILES.get(name, {})


def is_way_to_run(note: str) -> bool:
    """Returns whether a comment says how a session is run: by its labels, or with other files."""
    return note == "labels" or (note.startswith("with ") and any(name.endswith(f" {note[5:]}") for name in FILES))


def blocks(page: Path) -> Iterator[Block]:
    """Yields the blocks of a page that hold a command of llmkit."""
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("body")) + 1
        block = Block(page.relative_to(ROOT).as_posix(), line, match["note"] or "", match["body"])
        if match["language"] in ("", "sh", "console") and block.commands():
            yield block


def mentions(page: Path) -> list[str]:
    """Returns the commands that a page mentions in its text, outside of blocks."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return [" ".join(command.split()) for command in re.findall(r"`((?:[A-Z_]+=\S+ )?llmkit [a-z-][^`]*)`", text)]


def run(block: Block) -> str:
    """Runs a session and returns the block's text with what its commands print today."""
    with tempfile.TemporaryDirectory() as place:
        home, folder, programs = (Path(place, name) for name in ("home", "work", "bin"))
        for made in (home, folder, programs):
            made.mkdir()
        for name, text in block.files().items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        program = programs / "llmkit"
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m llmkit "$@"\n', encoding="utf-8")
        program.chmod(0o755)
        shell = _Shell(folder, home, programs)
        return "\n".join(f"$ {command}\n{shell.output(command)}".rstrip() for command in block.commands()) + "\n"


class _Shell:
    """Runs one command after the other, in one folder and with nothing of the user's own settings."""

    def __init__(self, folder: Path, home: Path, programs: Path) -> None:
        kept = {name: os.environ[name] for name in ("LANG", "OMP_NUM_THREADS") if name in os.environ}
        self.environment = {
            **kept,
            "HOME": str(home),
            "HF_HUB_OFFLINE": "1",
            "LLMKIT_CACHE": str(home / "cache"),
            "PATH": f"{programs}:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        self.folder, self.status = folder, 0

    def output(self, command: str) -> str:
        """Returns what a command prints, stdout and stderr as they come."""
        if command == "echo $?":
            return str(self.status)
        shell = ["bash", "-c", command]
        done = subprocess.run(
            shell,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        self.status = done.returncode
        return done.stdout.replace(str(self.folder), ".").replace(self.environment["LLMKIT_CACHE"], "~/.cache/llmkit")


def agrees(block: Block, printed: str) -> bool:
    """Returns whether the block shows what was printed, with its ellipses for whatever they leave out."""
    tidy = _labels if block.note == "labels" else _tidy
    shown, printed = tidy(block.body), tidy(printed)
    pattern = ".*?".join(re.escape(part) for part in re.split(r"\.\.\.", shown))
    return re.fullmatch(pattern, printed, re.S) is not None


def _labels(text: str) -> str:
    return re.sub("─+", "─", "\n".join(line.split()[0] for line in text.splitlines() if line.strip()))


def _tidy(text: str) -> str:
    """Returns a text without spaces at the ends of lines and without empty lines before a command."""
    return re.sub(r"\n\n+(?=\$ )", "\n", re.sub(r"[ \t]+$", "", text, flags=re.M)).strip()


def words_of(command: str) -> list[list[str]]:
    """Returns the arguments of each `llmkit` in a command line, without what belongs to the shell."""
    command = re.sub(r"\s\[(--.*?)\](?=\s|$)", r" \1", command)  # a synopsis: optional parts in brackets
    command = re.sub(r"<[a-z]+>", "NAME", command)
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    calls: list[list[str]] = []
    inside = False
    for word in lexer:
        if word in ("|", "&&", ";", ">", "2>", "||"):
            inside = False
        elif word == "llmkit" and not inside:
            inside = True
            calls.append([])
        elif inside and word != "...":
            calls[-1].append(word)
    return calls


def faults(words: list[str]) -> list[str]:
    """Returns what the command line does not know of a call: a command, a flag, a key of `--set`."""
    import typer
    from typer.main import get_command

    from llmkit.cli.app import app
    from llmkit.recipe.faults import all_keys

    if set(words) & {"--install-completion", "--show-completion"}:  # Typer's own: to parse them is to run them
        return []
    command, context, name, rest = get_command(app), None, "llmkit", words
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # what `--help` prints
            while True:
                context = command.make_context(name, list(rest), parent=context)
                if not hasattr(command, "resolve_command"):
                    break
                name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
    except typer.Exit:
        return []
    except typer.TyperException as error:
        return [error.format_message()]
    keys = [after.partition("=")[0] for word, after in itertools.pairwise(words) if word == "--set"]
    options = "finetune.options."  # those of a method: any name
    return [f"recipes have no key {key}" for key in keys if key not in set(all_keys()) and not key.startswith(options)]


def main() -> None:
    chosen = {Path(name).resolve() for name in sys.argv[1:]}
    for page in PAGES:
        if chosen and page not in chosen:
            continue
        text = page.read_text(encoding="utf-8")
        for block in blocks(page):
            if not block.is_run or agrees(block, printed := run(block)):
                continue
            if "..." in block.body or block.note == "labels":
                print(f"{block.page}:{block.line} has parts left out: write it by hand from this\n{printed}")
            else:
                text = text.replace(block.body, printed)
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
