"""The files that the sessions of the docs are given: `FILES`, by page, or by page and the NAME that a session names."""

from __future__ import annotations

import json


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
DESK = """import re

HOURS = {"Lisbon": 9, "Bergen": 10, "Kyoto": 11}


def reply(messages, body):
    town = next((town for town in HOURS if town in body), None)
    if town is None:
        return "I am sorry, I do not know that. Please ask at the desk."
    return f"Good morning! Our shop in {town} opens at {HOURS[town]}, and we look forward to seeing you."


def judge(messages):
    shown = re.search(r"\\nFIRST ANSWER (.*?)\\nSECOND ANSWER (.*?)\\nEND ", messages[-1]["content"], re.S)
    first, second = ("opens at" in answer for answer in shown.groups())
    return "tie" if first == second else "first" if first else "second"
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
    "docs/judge.md": {
        "desk.py": DESK,
        "rubric.md": "The answer that says when the shop opens is better. If both say it, it is a tie.\n",
        "questions.jsonl": _lines(
            *(
                {
                    "body": f"{hello}, could you please tell me when the shop in {town} opens on day {day}?",
                    "reply": f"The shop in {town} opens at {hour}.",
                }
                for hello in ("Hello", "Good evening")
                for day in range(1, 11)
                for town, hour in (("Lisbon", 9), ("Bergen", 10), ("Kyoto", 11))
            )
        ),
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
