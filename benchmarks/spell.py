"""Measures `spell`: words restored, clean questions altered, shuffled text restored, speed.

python benchmarks/spell.py words --lists DIR        # real misspellings, alone and (JFLEG) in their sentences
python benchmarks/spell.py model --lists DIR        # in sentences, with and without the bundled model
python benchmarks/spell.py texts --data-dir DIR     # clean questions, noise, speed

LISTS holds pairs, one JSON object {"typed", "intended"} a line: toefl.jsonl (TOEFL-Spell of the Educational Testing
Service, type M), jfleg.jsonl (sentences of learners, JFLEG, corrected), birkbeck.jsonl (missp.dat), wikipedia.jsonl
(its list of common misspellings) and aspell.jsonl (test/suggest/02-orig.tab of GNU Aspell). None is part of llmkit. The
channel is fitted to half of the words of wikipedia.jsonl, and measured on the other half of the words of each list.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random

from rapidfuzz.distance import Levenshtein
from symspellpy import SymSpell, Verbosity

from llmkit.perturb import Perturber
from llmkit.perturb.observed import Observed, observe
from llmkit.perturb.profile import fit, load
from llmkit.perturb.wordbook import common_words
from llmkit.repair import chain_of
from llmkit.repair.guesses import Guesser, guesser
from llmkit.repair.spelling import LEAST, doubted_words, spell
from llmkit.seeds import derive
from llmkit.steps import drive

MOST = 3_000  # words of each list
Row = tuple[str, int, str, str]  # a text, where the misspelt word begins, that word, what was meant


def is_fitted(word: str) -> bool:
    """Returns whether a word belongs to the half that channels are fitted to."""
    return derive(0, "half", word) % 2 == 0


def pairs_of(lists: Path, name: str) -> list[tuple[str, str]]:
    """Reads the single words of a list, in lower case, whose typed form no dictionary has."""
    rows = [json.loads(line) for line in (lists / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    pairs = [(row["typed"].lower(), row["intended"].lower()) for row in rows]
    known = common_words(1)
    return [(t, i) for t, i in pairs if re.fullmatch("[a-z]+", t) and re.fullmatch("[a-z]+", i) and t not in known]


def of_half(lists: Path) -> Guesser:
    """Returns a guesser whose channel saw half of the words only; how often people err is the shipped profile's."""
    observed = Observed()
    for number, (typed, intended) in enumerate(pairs_of(lists, "wikipedia")):
        if is_fitted(intended):
            observe(observed, typed, intended, str(number))
    return Guesser(replace(load("learner"), channel=fit(observed, "en", {}).channel))


@cache
def dictionary() -> tuple[SymSpell, dict[str, list[str]]]:
    """Returns SymSpell's dictionary, and its words by their sorted letters."""
    speller, anagrams = SymSpell(max_dictionary_edit_distance=2, prefix_length=7), defaultdict(list)
    for word, count in common_words(1).items():
        speller.create_dictionary_entry(word, count)
        anagrams["".join(sorted(word))].append(word)
    return speller, anagrams


def by_symspell(word: str) -> str:
    """Returns SymSpell's first suggestion within two edits."""
    nearest = dictionary()[0].lookup(word, Verbosity.TOP, max_edit_distance=2)
    return nearest[0].term if nearest else word


def as_before(word: str) -> str:
    """Corrects as llmkit did until November 2026: the likeliest anagram with the same first letter, else SymSpell."""
    speller, anagrams = dictionary()
    if len(word) < 4:
        return word
    same = [other for other in anagrams.get("".join(sorted(word)), ()) if other[0] == word[0]]
    return max(same, key=lambda other: speller.words[other]) if same else by_symspell(word)


def by_channel(speller: Guesser, in_context: bool) -> Callable[[Row], str]:
    """Returns a corrector of one word of a text."""

    def correct(row: Row) -> str:
        text, start, typed, _ = row
        for word in doubted_words(text, in_context, speller):
            if word.start == start and word.misspelt > LEAST:
                return word.best.lower()
        return typed

    return correct


def candidate_share(rows: Sequence[Row], speller: Guesser) -> float:
    """Returns the share of the intended words that are among the guesses."""
    return sum(row[3] in [guess.word for guess in speller.guesses(row[2]).meant] for row in rows) / len(rows)


def sentences(lists: Path) -> dict[str, list[Row]]:
    """Returns misspellings in the sentences of JFLEG in which they were typed."""
    rows: list[Row] = []
    speller = guesser()
    for line in (lists / "jfleg.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        typed, intended = row["typed"].split(), row["intended"].split()
        if len(typed) != len(intended):
            continue
        for place, (one, other) in enumerate(zip(typed, intended, strict=True)):
            is_word = one.isalpha() and one.islower() and other.isalpha() and len(one) > 2
            if one != other and is_word and not speller.knows(one) and speller.knows(other):
                rows.append((" ".join(typed), len(" ".join([*typed[:place], ""])), one, other.lower()))
    return {"jfleg": rows}


def put_into(texts: Sequence[str], pairs: Sequence[tuple[str, str]]) -> list[Row]:
    """Puts misspellings into clean sentences that have the word; at most `MOST`."""
    rng, by_word = Random(7), defaultdict(list)
    for text in texts:
        for sentence in re.split(r"(?<=[.?!])\s+", text):
            for word in set(sentence.split()):
                by_word[word].append(sentence)
    rows: list[Row] = []
    for typed, intended in pairs:
        if by_word[intended]:
            words = rng.choice(by_word[intended]).split()
            place = words.index(intended)
            start = len(" ".join([*words[:place], ""]))
            rows.append((" ".join([*words[:place], typed, *words[place + 1 :]]), start, typed, intended))
    return rows[:MOST]


def print_words(lists: Path, data: Path) -> None:
    """Prints the share of restored words of each list."""
    speller, shipped = of_half(lists), guesser()
    print("\n| list | words | before | SymSpell | channel | and neighbours | among guesses | shipped channel |")
    print("|---|---|---|---|---|---|---|---|")
    held_out = {}
    for name in ("toefl", "aspell", "birkbeck", "wikipedia"):
        pairs = [pair for pair in pairs_of(lists, name) if not is_fitted(pair[1])]
        held_out[name] = Random(7).sample(pairs, min(MOST, len(pairs)))
    tests = {name: [(typed, 0, typed, meant) for typed, meant in pairs] for name, pairs in held_out.items()}
    tests["jfleg, in its sentences"] = [row for row in sentences(lists)["jfleg"] if not is_fitted(row[3])]
    clean = questions(data, "gsm8k", "train")
    for name in ("toefl", "birkbeck", "wikipedia"):
        tests[f"{name}, put into sentences"] = put_into(clean, held_out[name])
    for name, rows in tests.items():
        systems = [
            lambda row: as_before(row[2]),
            lambda row: by_symspell(row[2]),
            by_channel(speller, False),
            by_channel(speller, True),
        ]
        shares = [sum(correct(row) == row[3] for row in rows) / len(rows) for correct in systems]
        shares += [candidate_share(rows, speller)]
        shares += [sum(by_channel(shipped, True)(row) == row[3] for row in rows) / len(rows)]
        print(f"| {name} | {len(rows):,} | " + " | ".join(f"{share:.3f}"[1:] for share in shares) + " |", flush=True)


def questions(data: Path, name: str, split: str = "test") -> list[str]:
    """Reads the questions of a set."""
    if name == "gsm8k":
        lines = (data / "gsm8k" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["question"] for line in lines]
    rows = json.loads((data / "commonsense" / name / f"{split}.json").read_text(encoding="utf-8"))
    return [row["instruction"] for row in rows]


def word_by_word(correct: Callable[[str], str]) -> Callable[[str], str]:
    """Returns a corrector of texts that replaces the unknown words that `spell` replaced before: names in a sentence
    and words of three letters stay."""
    known = common_words(1)

    def corrected(text: str) -> str:
        def replaced(match: re.Match[str]) -> str:
            word, before = match[0], text[: match.start()].rstrip("\"'( \n")
            starts = not before or before[-1] in ".!?:"
            if len(word) < 4 or word.lower() in known or (word[0].isupper() and not starts):
                return word
            right = correct(word.lower())
            return word if right == word.lower() else right.capitalize() if word[0].isupper() else right

        return re.sub(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*", replaced, text)

    return corrected


def print_texts(data: Path) -> None:
    """Prints clean questions altered, noisy text restored, and questions a second."""
    began = time.process_time()
    guesser()
    spell("hvae teh")
    print(f"\ndictionaries loaded in {time.process_time() - began:.2f} s of processor time")
    systems = {"before": word_by_word(as_before), "SymSpell": word_by_word(by_symspell), "spell": spell}
    print("\n| clean set | questions | " + " | ".join(systems) + " | questions/s of spell |\n|---|---|---|---|---|---|")
    for name in ("gsm8k", "piqa", "ARC-Easy"):
        texts = questions(data, name)
        altered = [sum(correct(text) != text for text in texts) for correct in systems.values()]
        guesser().guesses.cache_clear()
        seconds = timed(spell, texts)
        shares = " | ".join(f"{count} ({count / len(texts):.4f})" for count in altered)
        print(f"| {name} | {len(texts):,} | {shares} | {len(texts) / seconds:,.0f} |", flush=True)
    print("\n| noise on gsm8k | system | texts restored | words restored | CER before | after | questions/s |")
    print("|---|---|---|---|---|---|---|")
    clean = questions(data, "gsm8k")
    chain = chain_of("spell")
    systems["spell, guarded"] = lambda text: drive(chain.correct(text), _nobody).text
    for spec, rate in (("ec", 0.3), ("ec", 0.1), ("typing", 0.1), ("like:learner", 0.1)):
        perturber = Perturber(spec, rate=rate)
        noisy = [perturber.apply(text, str(number)).text for number, text in enumerate(clean)]
        for name, correct in systems.items():
            guesser().guesses.cache_clear()
            seconds = timed(correct, noisy)
            texts = [correct(text) for text in noisy]
            exact = sum(map(str.__eq__, texts, clean)) / len(clean)
            row = (
                f"{exact:.3f} | {restored(noisy, clean, texts):.3f} | {cer(noisy, clean):.4f} | {cer(texts, clean):.4f}"
            )
            print(f"| `{spec}@{rate}` | {name} | {row} | {len(clean) / seconds:,.0f} |", flush=True)
        guesser().guesses.cache_clear()
        mixed = [text for both in zip(clean, noisy, strict=True) for text in both]
        print(f"| `{spec}@{rate}`, half clean | spell | - | - | - | - | {len(mixed) / timed(spell, mixed):,.0f} |")


def timed(correct: Callable[[str], str], texts: Sequence[str]) -> float:
    """Returns the processor time of correcting all texts."""
    began = time.process_time()
    for text in texts:
        correct(text)
    return time.process_time() - began


def cer(texts: Sequence[str], clean: Sequence[str]) -> float:
    """Returns the character error rate."""
    return sum(map(Levenshtein.distance, texts, clean)) / sum(map(len, clean))


def restored(noisy: Sequence[str], clean: Sequence[str], texts: Sequence[str]) -> float:
    """Returns the share of the noisy words that are as in the clean text."""
    right = wrong = 0
    for before, meant, after in zip(noisy, clean, texts, strict=True):
        if len(before.split()) == len(meant.split()) == len(after.split()):
            for one, other, now in zip(before.split(), meant.split(), after.split(), strict=True):
                wrong += one != other
                right += one != other and now == other
    return right / max(1, wrong)


def _nobody(request: object) -> None:
    raise AssertionError("no model is asked")


def print_model(lists: Path, data: Path, most: int) -> None:
    """Prints words restored in sentences, where a model chooses among the words that may be meant."""
    from llmkit.engines import open_engine
    from llmkit.recipe import load as load_recipe
    from llmkit.recipe.schema import EngineSection, ModelSection
    from llmkit.types import EngineError, Reply, Request

    recipe = load_recipe("base/smollm2", {})
    model = ModelSection(path=recipe.model.path)
    engine = open_engine(model, EngineSection(kind="transformers", dtype="float32", max_model_len=512))
    asked = 0

    def answer(request: Request) -> Reply | EngineError:
        nonlocal asked
        asked += 1
        engine.submit("one", request)
        return next(reply for _, reply in engine.drain())

    chain, plain = chain_of("spell_in_context"), chain_of("spell")
    tests = {"jfleg, in its sentences": sentences(lists)["jfleg"]}
    tests["toefl, put into sentences"] = put_into(questions(data, "gsm8k", "train"), pairs_of(lists, "toefl"))
    print("\n| list | words | `spell` | `spell_in_context` | prefills a text | seconds a text |")
    print("|---|---|---|---|---|---|")
    for name, rows in tests.items():
        rows = Random(7).sample(rows, min(most, len(rows)))
        asked, began, right = 0, time.perf_counter(), [0, 0]
        for text, _, typed, intended in rows:
            for place, one in enumerate((plain, chain)):
                corrected = drive(one.correct(text), answer)
                now = [edit.new for edit in corrected.edits if edit.old == typed] or [typed]
                right[place] += now[0].lower() == intended
        shares = " | ".join(f"{count / len(rows):.3f}" for count in right)
        cost = f"{asked / len(rows):.1f} | {(time.perf_counter() - began) / len(rows):.2f}"
        print(f"| {name} | {len(rows)} | {shares} | {cost} |", flush=True)
    engine.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["words", "model", "texts"])
    parser.add_argument("--lists", type=Path)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--most", type=int, default=300, help="texts of each list for the model")
    given = parser.parse_args()
    if given.what == "texts":
        print_texts(given.data_dir)
    elif given.what == "words":
        print_words(given.lists, given.data_dir)
    else:
        print_model(given.lists, given.data_dir, given.most)
