"""Measures `spell` in other languages than English: clean sentences altered, misspelt words restored.

python benchmarks/spell_languages.py measure --sentences DIR [--half tuned] [--languages de,fr] [-o FILE]
python benchmarks/spell_languages.py identify --sentences DIR [--half tuned]
python benchmarks/spell_languages.py classes

DIR holds treebanks of Universal Dependencies, one or more files a language, as `de_pud-ud-test.conllu`: only the
sentences are read. A sentence belongs to the half that constants were chosen on, or to the one that is reported, by a
hash of its text. In each, one word is misspelt by `spelling`, whose kinds of edits are also those that `spell` expects,
and in another copy one by `typing`, whose are not. `classes` prints how often the profile `learner` makes each kind of
edit, for each time that there is room for one, beside a letter left out.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from llmkit.perturb import Perturber
from llmkit.perturb.alignment import ANY, kind
from llmkit.perturb.identification import identified
from llmkit.perturb.languages import in_script_of, language_codes, language_named
from llmkit.perturb.misspelt import PROFILE
from llmkit.perturb.profile import load
from llmkit.perturb.word_lists import has_word_list
from llmkit.perturb.wordbook import common_words
from llmkit.repair import CorrectorContext, chain_of
from llmkit.repair.list_guesses import list_guesser
from llmkit.seeds import derive
from llmkit.steps import drive
from llmkit.types import Edit

MOST = 500  # sentences of each language
SPECS = ("spelling", "typing")
_TEXT = "# text = "
_FEWEST = 4  # letters and signs of a word that is misspelt
_VOWELS = frozenset("aeiouy")


def is_tuned(sentence: str) -> bool:
    """Returns whether a sentence belongs to the half that constants were chosen on."""
    return derive(0, "half", sentence) % 2 == 0


def sentences(folder: Path, half: str) -> dict[str, list[str]]:
    """Reads the first sentences of a half, by language."""
    texts: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.conllu")):
        lines = path.read_text(encoding="utf-8").splitlines()
        own = [line.removeprefix(_TEXT) for line in lines if line.startswith(_TEXT)]
        texts.setdefault(path.name.partition("_")[0], []).extend(own)
    return {
        code: [text for text in dict.fromkeys(own) if is_tuned(text) == (half == "tuned")][:MOST]
        for code, own in texts.items()
    }


def measured(code: str, texts: Sequence[str]) -> dict[str, float]:
    """Returns the shares of a language: clean sentences altered, and by kind of misspelling the words restored, spoilt
    and among the candidates."""
    guesser = list_guesser(in_script_of(texts[0], language_named(code)))
    chain = chain_of("spell", CorrectorContext(lang=code))

    def corrected(text: str) -> tuple[Edit, ...]:
        return drive(chain.correct(text), _nobody).edits

    found: dict[str, float] = {"sentences": len(texts), "altered": sum(bool(corrected(text)) for text in texts)}
    for spec in SPECS:
        counts: Counter[str] = Counter()
        perturber = Perturber(spec, rate=1e-6, lang=code)
        for number, text in enumerate(texts):
            noisy = perturber.apply(text, str(number))
            if not noisy.edits:
                continue
            planted = noisy.edits[0]
            if len(planted.old) < _FEWEST or guesser.words.knows(planted.new):  # `typing` makes other words, too
                continue
            counts["planted"] += 1
            counts["small"] += planted.old == planted.old.lower()
            words = {edit.old: edit.new for edit in corrected(noisy.text)}
            is_restored = words.get(planted.new) == planted.old
            counts["restored"] += is_restored
            counts["small restored"] += is_restored and planted.old == planted.old.lower()
            counts["spoilt"] += words.get(planted.new, planted.old) != planted.old
            meant = guesser.guesses(guesser.words.plain(planted.new)).meant
            counts["candidate"] += guesser.words.plain(planted.old) in [guess.word for guess in meant]
        found |= {f"{spec} {name}": count for name, count in counts.items()}
    return found


def print_measured(folder: Path, half: str, codes: str | None, out: Path | None) -> None:
    """Prints a table of all languages; writes the counts to a file."""
    results: dict[str, dict[str, float]] = {}
    print(
        "| language | sentences | altered | restored | in small letters | candidates | spoilt | typing: small | cand. |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for code, texts in sentences(folder, half).items():
        if not texts or code not in (codes.split(",") if codes else language_codes()):
            continue
        if not has_word_list(in_script_of(texts[0], language_named(code))):
            continue
        results[code] = row = measured(code, texts)
        print(f"| {code} | {row['sentences']} | {row['altered'] / row['sentences']:.3f} |", end="")
        for spec in SPECS:
            of = {name: row.get(f"{spec} {name}", 0) for name in ("planted", "restored", "candidate", "spoilt")}
            small = row.get(f"{spec} small restored", 0) / max(1, row.get(f"{spec} small", 0))
            shares = [of[name] / max(1, of["planted"]) for name in ("restored", "candidate", "spoilt")]
            shown = [shares[0], small, *shares[1:]] if spec == "spelling" else [small, shares[1]]
            print(" " + " | ".join(f"{share:.3f}" for share in shown) + " |", end="")
        print(flush=True)
    store(out, "languages", results)


def store(out: Path | None, name: str, results: Mapping[Any, object]) -> None:
    """Writes what was measured into a file, beside the rest of it."""
    if out:
        stored = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
        stored[name] = stored.get(name, {}) | results
        out.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


def print_identified(folder: Path, half: str, out: Path | None) -> None:
    """Prints how often `--lang auto` names the language of sentences, and of the first words of each."""
    print("| words | texts | right | German taken for English |\n|---|---|---|---|")
    by_code = {code: own[:300] for code, own in sentences(folder, half).items() if code in language_codes()}
    results = {}
    for words in (3, 6, 1_000):
        right = total = german = 0
        for code, own in by_code.items():
            named = [identified(" ".join(text.split()[:words])).code for text in own]
            right, total = right + named.count(code), total + len(named)
            german += named.count("en") if code == "de" else 0
        print(f"| {words} | {total} | {right / total:.3f} | {german} of {len(by_code.get('de', ()))} |", flush=True)
        results[words] = {"texts": total, "right": right, "german as english": german, "german": len(by_code["de"])}
    store(out, "identified", results)


def print_classes() -> None:
    """Prints the rates of the profile's edits by class."""
    channel, weights, room = load(PROFILE).channel, Counter[str](), Counter[str]()
    for word in list(common_words(3_000_000))[:1_500]:
        if len(word) < 3 or not word.isalpha():
            continue
        room.update({"letter": len(word), "vowel": sum(letter in _VOWELS for letter in word), "gap": len(word) + 1})
        for first, second in pairwise(word):
            room["double" if first == second else "pair"] += 1
        for edit, rule, factor in channel.edits(word):
            before, after = (f"^{word}$")[edit.start], (f"^{word}$")[edit.end + 1]
            old, edit_kind = word[edit.start : edit.end], kind(word, edit)
            rate = rule.rate(before, after) if rule else channel.rare.get(edit_kind, 0.0)
            both_vowels = old in _VOWELS and edit.new in _VOWELS and edit.new != ANY
            name = "vowel for vowel" if edit_kind == "sub" and both_vowels else edit_kind
            weights["written once" if edit_kind == "del" and len(old) == 2 else name] += factor * rate
    rooms = {"del": "letter", "written once": "double", "dup": "letter", "swap": "pair", "ins": "gap", "sub": "letter"}
    left_out = weights["del"] / room["letter"]
    for name, of in (rooms | {"vowel for vowel": "vowel"}).items():
        print(f"{name}: {weights[name] / room[of] / left_out:.2f}")


def _nobody(request: object) -> None:
    raise AssertionError("no model is asked")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["measure", "identify", "classes"])
    parser.add_argument("--sentences", type=Path)
    parser.add_argument("--half", choices=["tuned", "reported"], default="reported")
    parser.add_argument("--languages", help="codes, joined by commas; all by default")
    parser.add_argument("-o", "--out", type=Path)
    given = parser.parse_args()
    if given.what == "classes":
        print_classes()
    elif given.what == "measure":
        print_measured(given.sentences, given.half, given.languages, given.out)
    else:
        print_identified(given.sentences, given.half, given.out)
