"""Noise for the eye: coloured differences on a terminal and in HTML, and what operators there are."""

from __future__ import annotations

import html
import json
import logging
from collections.abc import Callable, Iterable, Sequence

from llmkit.errors import UsageError
from llmkit.parsing import JsonObject
from llmkit.perturb.base import OPERATORS, Operator
from llmkit.perturb.engine import Perturbed, Perturber
from llmkit.perturb.languages import ENGLISH, language_codes, language_named
from llmkit.perturb.profile import SHIPPED
from llmkit.perturb.spec import parse_spec
from llmkit.perturb.text import EditRecord
from llmkit.terminal import visible

SAMPLE_SENTENCE = (
    "Maria buys 12 red apples because they are cheaper, and she eats three of them. How many apples are left?"
)


SAMPLES = {
    "en": SAMPLE_SENTENCE,
    "de": "Maria kauft zwölf rote Äpfel, weil sie günstiger sind, und isst drei davon. Wie viele Äpfel bleiben übrig?",
    "ru": "Мария купила 12 красных яблок, потому что они дешевле, и съела три. Сколько яблок осталось?",
    "ar": "اشترت مريم ١٢ تفاحة حمراء من السوق لأنها أرخص وأكلت ثلاثاً منها. كم تفاحة بقيت لديها؟",
    "hi": "मारिया ने बाज़ार से १२ लाल सेब खरीदे और उनमें से तीन खा लिए। अब उसके पास कितने सेब बचे हैं?",
    "zh": "玛丽亚在市场上买了十二个红苹果，因为比较便宜，她吃了三个。现在还剩几个苹果？",
    "ko": "마리아는 시장에서 빨간 사과를 12개 사서 세 개를 먹었습니다. 사과가 몇 개 남았습니까?",
}
"""One question by language. An operator is shown on the first one that it changes."""


def segments(text: str, edits: Sequence[EditRecord]) -> list[tuple[str, str, str]]:
    """Splits the final text into pieces: (unchanged, "", "") or ("", old, new), in order."""
    pieces, offset = [], 0
    for edit in edits:
        if edit["start"] > offset:
            pieces.append((text[offset : edit["start"]], "", ""))
        pieces.append(("", edit["old"], edit["new"]))
        offset = edit["end"]
    return pieces + ([(text[offset:], "", "")] if offset < len(text) else [])


def coloured(text: str, edits: Sequence[EditRecord], colour: bool = True) -> str:
    """Shows deletions in red and insertions in green; without colour as [-old-]{+new+}, like `git --word-diff`.

    >>> coloured("the owl sat", [{"start": 4, "end": 7, "old": "cat", "new": "owl"}], colour=False)
    'the [-cat-]{+owl+} sat'
    """
    marked_pieces = []
    for piece in segments(text, edits):
        unchanged, old, new = map(visible, piece)
        marked_pieces.append(unchanged)
        if old:
            marked_pieces.append(f"\x1b[9;31m{old}\x1b[0m" if colour else f"[-{old}-]")
        if new:
            marked_pieces.append(f"\x1b[32m{new}\x1b[0m" if colour else f"{{+{new}+}}")
    return "".join(marked_pieces)


def listing() -> list[JsonObject]:
    """Lists every operator: name, level, default strength, the paper's, an example on one fixed sentence, source.

    `people` is the AUC of a classifier that distinguishes it from people's misspellings (`measured_on` says whose, and
    when), .5 being not at all, or "synthetic" where nothing was measured. `languages` are the codes of those that it
    serves, "Latin letters" or "any", with those that it does not serve if they are few.
    """
    operators, measured = [], people()
    for name in OPERATORS:
        operator_class = OPERATORS[name]
        spec = name if operator_class.argument is None else f"{name}:{operator_class.argument}"
        description, source = operator_class.summary()
        operators.append(
            {
                "name": spec,
                "level": operator_class.level,
                "rate": operator_class.default_rate,
                "paper_rate": operator_class.paper_rate,
                "example": _quietly(example, spec) if operator_class.shows_example else None,
                "what": description,
                "source": source,
                "people": measured["auc"].get(spec, "synthetic"),
                "measured_on": f"{measured['on']}, {measured['date']}" if spec in measured["auc"] else None,
                "languages": _quietly(languages, spec) if operator_class.shows_example else "any",
            }
        )
    return operators


def people() -> JsonObject:
    """Returns the closeness of operators to people, as `benchmarks/noise.py table` measured it: by spec the `auc`, the
    `date`, and the misspellings compared `on`."""
    measured: JsonObject = json.loads((SHIPPED.parent / "people.json").read_text(encoding="utf-8"))
    return measured


def languages(spec: str) -> str:
    """Returns the languages that an operator serves: "any", "Latin letters", or their codes, or all but some.

    >>> languages("hw"), languages("sc"), languages("keyboard"), languages("jamo")
    ('en', 'Latin letters', 'any but ja, zh', 'ko')
    """
    (chain,) = parse_spec(spec).chains
    served = [code for code in language_codes() if all(_serves(member, code) for member in chain)]
    others = [code for code in language_codes() if code not in served]
    if served == [code for code in language_codes() if language_named(code).script == "LATIN"]:
        return "Latin letters"
    if len(others) <= _FEW:
        return f"any but {', '.join(others)}" if others else "any"
    scripts = {language_named(code).script for code in served}
    by_script = served == [code for code in language_codes() if language_named(code).script in scripts]
    if len(served) <= _FEW or not by_script:
        return ", ".join(served)
    return f"{', '.join(sorted(map(str.title, scripts)))} script"


_FEW = 6  # languages that are listed by name


def _serves(member: Operator, code: str) -> bool:
    return member.serves_english if code == ENGLISH.code else member.serves(language_named(code))


def _quietly(make_example: Callable[[str], str], spec: str) -> str:
    """Calls `make_example` without the warnings that an operator shows its users."""
    logging.disable(logging.WARNING)
    try:
        return make_example(spec)
    except UsageError as error:  # an extra is missing
        return str(error)
    finally:
        logging.disable(logging.NOTSET)


def sample_of(spec: str) -> tuple[str, Perturbed]:
    """Returns the first sample that an operator changes, and what it makes of it; of none, the English one."""
    for code, text in SAMPLES.items():
        for seed in range(20):
            perturbed = Perturber(spec, rate=0.1, seed=seed, lang="" if code == "en" else code).apply(text, "sample")
            if perturbed.edits:
                return text, perturbed
    return SAMPLE_SENTENCE, Perturbed(SAMPLE_SENTENCE)


def example(spec: str) -> str:
    """Applies an operator to a sample. Returns the words around its first edit."""
    text, perturbed = sample_of(spec)
    if not perturbed.edits:
        return ""
    edit = perturbed.edits[0]
    old, new = edit.old, edit.new
    if not old.strip() or not new.strip():  # show the text around an insertion or a deletion
        word_start = text[: edit.start].rpartition(" ")[2]
        word_end = perturbed.text[edit.end :].partition(" ")[0]
        old, new = word_start + old + word_end, word_start + new + word_end
    return f"{shortened(old)} -> {shortened(new)}"


def shortened(text: str, length: int = 48) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"


def _tagged(tag: str, text: str) -> str:
    return f"<{tag}>{html.escape(text)}</{tag}>" if text else ""


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c1c; }}
p {{ white-space: pre-wrap; overflow-wrap: anywhere; margin: .3rem 0 1.2rem; }}
del {{ background: #fbd9d7; color: #8c1d18; text-decoration-thickness: 1px; }}
ins {{ background: #d5f0dc; color: #0b5a2a; text-decoration: none; }}
small {{ color: #5c5c5c; }} .rejected {{ color: #8c1d18; }}
table {{ border-collapse: collapse; margin-bottom: 1.5rem; }}
td, th {{ padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #161616; color: #e8e8e8; }} small {{ color: #a0a0a0; }}
del {{ background: #4a1512; color: #ffb4ab; }} ins {{ background: #0c3a1e; color: #9be3b0; }} }}
</style>
<h1>{title}</h1>
{table}
"""


class Page:
    """A self-contained HTML page of differences, written as rows come; at most `limit` rows, to stay readable."""

    def __init__(self, title: str, question: str, limit: int = 500) -> None:
        self.title, self.question, self.limit = title, question, limit
        self.items: list[str] = []
        self.left_out = 0

    def add(self, lines: bytes) -> None:
        """Takes output lines as they are written."""
        for line in lines.splitlines():
            if len(self.items) >= self.limit:
                self.left_out += 1
                continue
            row = json.loads(line)
            perturbation, text = row["perturbation"], row[self.question]
            words, chars = perturbation["strength"]["words"], perturbation["strength"]["chars"]
            facts = (
                f"{perturbation['operator']} at {perturbation['rate']}: {words:.0%} of words, {chars:.0%} of characters"
            )
            facts = html.escape(
                "; ".join(filter(None, (facts, perturbation.get("rejected"), perturbation.get("short"))))
            )
            css_class = " class=rejected" if "rejected" in perturbation else ""
            marked = "".join(
                html.escape(unchanged) + _tagged("del", old) + _tagged("ins", new)
                for unchanged, old, new in segments(text, perturbation["edits"])
            )
            self.items.append(f'<small{css_class}>{facts}</small><p dir="auto">{marked}</p>\n')

    def render(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
        """Returns the page, with a table of statistics at its head."""
        header_cells = "".join(f"<th>{html.escape(column)}" for column in columns)
        body_rows = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}" for cell in row) for row in rows)
        omission_note = f"<p><small>{self.left_out} more rows are not shown.</small></p>" if self.left_out else ""
        page_head = _PAGE.format(title=html.escape(self.title), table=f"<table><tr>{header_cells}{body_rows}</table>")
        return page_head + "".join(self.items) + omission_note + "</html>\n"
