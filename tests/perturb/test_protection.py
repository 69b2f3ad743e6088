"""Protected spans: each kind, in linear time, on written and on real texts."""

from __future__ import annotations

import json
from itertools import islice
from random import Random

import pytest

from llmkit.perturb import OPERATORS, Perturber
from llmkit.perturb.protection import Protection

ALL = [name for name in OPERATORS if OPERATORS[name].argument is None and not OPERATORS[name].most_calls]


def kept(text: str) -> list[str]:
    return [text[a:b] for a, b in Protection().spans(text)]


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("Pick the red one.\n(a) an apple\n(b) the sky", ["(a) an apple\n(b) the sky"]),
        ("Pick: 1) an apple 2) the sky", ["1) an apple 2) the sky"]),
        ("Pick the red one: A) an apple\nB) the sky\nC) a leaf", ["A) an apple\nB) the sky\nC) a leaf"]),
        ("Which is red?\n\n[A] an apple\n\n[B] the sky", ["[A] an apple\n\n[B] the sky"]),
        ("Which is red?\n1. an apple\n2. the sky", ["1. an apple\n2. the sky"]),
        ("Which is red? (i) an apple (ii) the sky", ["(i) an apple (ii) the sky"]),
        ("Which? A)21 B)22 C)23", ["A)21 B)22 C)23"]),
        ("Tom has (1) an apple and (2) a pear. How many has he?", ["(1) an apple and (2) a pear."]),
        ("أين التفاحة؟ ١) هنا ٢) هناك", ["١) هنا ٢) هناك"]),
        ("Follow the steps:\n1. Boil water.\n2. Add salt.", []),
        ("A. Smith met B. Jones (see A) at noon.", []),
    ],
)
def test_options(text, spans):
    assert kept(text) == spans


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        (r"Take \left( sum + \frac{total}{parts} \right) now", [r"\left( sum + \frac{total}{parts} \right)"]),
        ("Let $ total = parts $ hold", ["$ total = parts $"]),
        ("Pay $ 5 and $ 6 = less, or $7-$8 + tax", []),
        (
            r"\begin{align}a\begin{cases}b\end{cases}c\end{align} is",
            [r"\begin{align}a\begin{cases}b\end{cases}c\end{align}"],
        ),
        (r"\frac{\text{total {cost}}}{number of parts} done", [r"\frac{\text{total {cost}}}{number of parts}"]),
        (r"\sum_{first}^{last} of \sqrt[three]{x}", [r"\sum_{first}^{last}", r"\sqrt[three]{x}"]),
        (r"so \(a \text{ and } b\) or \[c\]", [r"\(a \text{ and } b\)", r"\[c\]"]),
    ],
)
def test_formulas(text, spans):
    assert kept(text) == spans


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("Run:\n~~~\nprint(word)\n~~~\nand more", ["~~~\nprint(word)\n~~~"]),
        (
            "Look.\n\n    for word in words:\n\n        print(word)\n\nWhat?",
            ["    for word in words:\n\n        print(word)"],
        ),
        ("What does it print?\n\tprint(word)\nSay it.", ["\tprint(word)"]),
        ("Use ``a ` b`` here", ["``a ` b``"]),
        ("    All of it\n    is set in.", []),
    ],
)
def test_code(text, spans):
    assert kept(text) == spans


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        (
            "Visit example.com/shop, docs.example.org or me@home.example now",
            ["example.com/shop", "docs.example.org", "me@home.example"],
        ),
        (
            "Open report.pdf, main.c, src/app/main.py and README.MD.",
            ["report.pdf", "main.c", "src/app/main.py", "README.MD"],
        ),
        (r"In /usr/bin/env, ~/notes or C:\Users\me, not km/h or his/her", ["/usr/bin/env", "~/notes", r"C:\Users\me"]),
        ("E.g. at 3 p.m. in the U.S.A. he eats.Then he sleeps...or not", []),
        (
            "Dear [name] of [Your City], {first name} :smile: at 10:30:15",
            ["[name]", "[Your City]", "{first name}", ":smile:"],
        ),
        ('See <a href="there now">this</a>, 3 < 4', ['<a href="there now">', "</a>"]),
        ("{% if user %}Hi{% endif %} {{ user }}", ["{% if user %}", "{% endif %}", "{{ user }}"]),
    ],
)
def test_addresses_and_placeholders(text, spans):
    assert kept(text) == spans


HOSTILE = [
    "a" * 300_000 + " me@home.example ://",
    "{{" * 150_000,
    "$" + "=a" * 150_000,
    "$=" * 150_000,
    r"\(" * 150_000,
    r"\begin{a}" * 50_000,
    r"\a{" * 50_000,
    "(A) x (B) y " * 25_000,
    "(A) x (B) " + "; " * 150_000,
    "1) x\n\n y " + "2) " * 100_000,
    "%(" * 150_000,
    "a." * 150_000,
    "a@" * 150_000,
    "? " + " " * 300_000 + "x",
    "How many?" + "\n{{a}}" * 50_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:12])
def test_no_text_takes_quadratic_time(text):
    """At this size the quadratic searches of before ran for minutes each."""
    Protection().spans(text)
    Perturber("stress", rate=0.1, retries=0).apply(text, "q")


@pytest.mark.parametrize("spec", ["uic", "stress", "checklist"])
@pytest.mark.parametrize(
    "text",
    [
        "List the ones that are red.\nA) an apple\nB) the sky\nC) a leaf",
        "Say which is red: A) an apple B) the sky C) a leaf",
        "Say which is red.\n(a) an apple\n(b) the sky",
        "Which is red?(A) an apple (B) the sky",
        "Solve this.\n$$x + y = z$$",
        "Solve:$x + y = z$",
        "What is shown at example.com/a",
        "Write to me@home.example",
    ],
)
def test_added_sentences_touch_no_span_and_part_no_options(spec, text):
    spans = kept(text)
    for seed in range(10):
        made = Perturber(spec, rate=0.3, seed=seed, retries=0).apply(text, "q").text
        for span in spans:
            at = made.index(span)
            around = made[max(0, at - 1) : at] + made[at + len(span) :][:1]
            assert not around.strip() or around.strip() == text[max(0, text.index(span) - 1)]


def real_texts(data_dir):
    """Every kind of question that is at hand, some of each; then the same with marks of the other kinds put in."""
    rows = [json.loads(line)["question"] for line in (data_dir / "gsm8k" / "test.jsonl").open()][:60]
    for line in islice((data_dir / "aqua" / "test.json").open(), 60):
        row = json.loads(line)
        rows.append("\n".join((row["question"], *row["options"])))
    for line in islice((data_dir / "csqa" / "dev_rand_split.jsonl").open(), 60):
        row = json.loads(line)["question"]
        options = (f"({c['label'].lower()}) {c['text']}" for c in row["choices"])
        rows.append("\n".join((row["stem"], *options)))
    for name in ("piqa", "ARC-Easy", "boolq"):
        rows += [
            row["instruction"] for row in json.loads((data_dir / "commonsense" / name / "test.json").read_text())[:40]
        ]
    marks = [r"\(a + b\)", "$ total = parts $", "shop.example.com/cart", "report.pdf", "[name]", ":smile:", "`x = y`"]
    rng = Random(1)
    for text in rows:
        yield text
        words = text.split(" ")
        words.insert(rng.randrange(len(words) + 1), rng.choice(marks))
        yield " ".join(words)


def test_spans_of_real_texts_survive_every_operator(data_dir):
    protection, copies = Protection(), 0
    for i, text in enumerate(real_texts(data_dir)):
        spans = [text[a:b] for a, b in protection.spans(text)]
        for spec in (ALL[i % len(ALL)], ALL[(i * 7 + 3) % len(ALL)]):
            made = Perturber(spec, rate=0.5, seed=i, retries=0).apply(text, str(i))
            at = 0
            for span in spans:
                at = made.text.find(span, at)
                assert at >= 0, (spec, span, made.text)
                at += len(span)
            assert made.reason != "a protected span was changed", (spec, text)
            copies += 1
    assert copies > 1000
