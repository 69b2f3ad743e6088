"""Writes the generated parts of docs/languages.md: real output, languages by operator, agreement with multypo,
repairs by language.

python benchmarks/languages_docs.py
"""

from __future__ import annotations

import json
from pathlib import Path

from llmkit.perturb import OPERATORS, Perturber
from llmkit.perturb.languages import language_named
from llmkit.perturb.show import SAMPLES, coloured, languages

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "languages.md"
REPAIRS = ROOT / "benchmarks" / "results" / "spell_languages.json"
AGREEMENT = ROOT / "benchmarks" / "results" / "keyboards.json"
SHOWN = {
    "de": ("ec", "typing", "spelling", "woo", "wrong_layout", "no_diacritics", "no_diacritics:digraphs", "sc"),
    "ru": ("ec", "keyboard", "typing", "spelling", "wrong_layout", "case"),
    "ar": ("ec", "typing", "spelling", "wrong_layout", "no_diacritics", "whitespace"),
    "hi": ("ec", "keyboard", "typing", "spelling", "vowel_sign", "wrong_layout"),
    "zh": ("ec", "woo", "repeat", "pinyin", "hanzi"),
    "ko": ("ec", "keyboard", "typing", "jamo", "wrong_layout"),
}
RATE = 0.2


def output() -> str:
    """Each sample under some operators, with its differences marked."""
    parts = []
    for code, specs in SHOWN.items():
        lines = []
        for spec in specs:
            perturber = Perturber(spec, rate=RATE, seed=7, lang=code)
            made = perturber.apply(SAMPLES[code], "example")
            edits = perturber.record(SAMPLES[code], made)["edits"]
            lines.append(f"{spec}\n  {coloured(made.text, edits, colour=False)}")
        parts.append(f"**{language_named(code).name}**: {SAMPLES[code]}\n\n```text\n" + "\n".join(lines) + "\n```\n")
    return "\n".join(parts)


def operators() -> str:
    """The languages that each operator serves."""
    rows: dict[str, list[str]] = {}
    for name in OPERATORS:
        if OPERATORS[name].shows_example:
            argument = OPERATORS[name].argument
            rows.setdefault(languages(name if argument is None else f"{name}:{argument}"), []).append(f"`{name}`")
    lines = [f"| {served} | {', '.join(names)} |" for served, names in rows.items()]
    return "| languages | operators |\n|---|---|\n" + "\n".join(lines) + "\n"


def agreement() -> str:
    """How many pairs of letters side by side in multypo's rows are side by side in the layout of that name."""
    facts = json.loads(AGREEMENT.read_text(encoding="utf-8"))["languages"]
    lines = []
    for code, fact in facts.items():
        agreeing = fact["pairs"] - len(fact["apart"])
        apart = ", ".join(fact["apart"]) or "-"
        lines.append(f"| {code} | `{fact['layout']}` | {fact['letters']} | {agreeing} of {fact['pairs']} | {apart} |")
    head = "| language | layout | letters | pairs side by side in both | others |\n|---|---|---|---|---|\n"
    return head + "\n".join(lines) + "\n"


def repairs() -> str:
    """The shares of clean sentences that `spell` alters and of misspelt words that it restores, by language."""
    rows = json.loads(REPAIRS.read_text(encoding="utf-8"))["languages"]
    lines = []
    for code, row in rows.items():
        planted, small = row["spelling planted"], row["spelling small"]
        shares = [
            f"{row.get('altered', 0) / row['sentences']:.3f}",
            f"{row.get('spelling restored', 0) / planted:.2f}",
            f"{row.get('spelling small restored', 0) / small:.2f}" if small else "-",
            f"{row.get('spelling candidate', 0) / planted:.2f}",
            f"{row.get('spelling spoilt', 0) / planted:.2f}",
            f"{row.get('typing small restored', 0) / row['typing small']:.2f}" if row.get("typing small") else "-",
        ]
        lines.append(f"| {language_named(code).name} | {row['sentences']} | " + " | ".join(shares) + " |")
    head = (
        "| language | sentences | clean ones altered | restored | of words in small letters | among the candidates "
        "| another word | `typing`, in small letters |\n|---|---|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(lines) + "\n"


def identified() -> str:
    """Returns a table of the shares of sentences, and of their first words, whose language `--lang auto` names."""
    rows = json.loads(REPAIRS.read_text(encoding="utf-8"))["identified"]
    lines = [
        f"| {words if int(words) < 1_000 else 'all'} | {row['texts']:,} | {row['right'] / row['texts']:.3f} "
        f"| {row['german as english']} of {row['german']} |"
        for words, row in rows.items()
    ]
    head = "| words of a sentence | texts | language right | German taken for English |\n|---|---|---|---|\n"
    return head + "\n".join(lines) + "\n"


PARTS = {"output": output, "operators": operators, "agreement": agreement, "repairs": repairs, "identified": identified}


def page(text: str) -> str:
    """The page with its generated parts written anew."""
    for name, make in PARTS.items():
        begin, end = f"<!-- {name}: written by benchmarks/languages_docs.py -->\n", f"<!-- end of {name} -->\n"
        head, _, rest = text.partition(begin)
        _, _, tail = rest.partition(end)
        text = f"{head}{begin}\n{make()}\n{end}{tail}"
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
