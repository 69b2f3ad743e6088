"""The tables on what detectors catch and correctors restore are those of the last measurement."""

from __future__ import annotations

from helpers import benchmarks


def test_the_pages_show_what_was_measured():
    script = benchmarks.load("repair_docs")
    stale = [path.name for path, text in script.pages().items() if path.read_text(encoding="utf-8") != text]
    assert stale == [], "run: python benchmarks/repair_docs.py"


def test_a_table_has_a_row_for_each_kind_and_one_for_clean_text():
    script = benchmarks.load("repair_docs")
    cell = {"rows": 2, "auc": 0.5, "caught": [0.1, 0.2]}
    part = {"clean_rows": 3, "detectors": {"gate": {"fires_on_clean": [0.0, 0.25], "kinds": {"`ec`": cell}}}}
    assert script.caught(part).splitlines()[2:] == [
        "| `ec` | 2 | 0.500: 0.100 / 0.200 |",
        "| **clean: fires on** | 3 | 0.0000 / 0.2500 |",
    ]


def test_errors_that_are_gone_are_counted_by_words_and_letters():
    script = benchmarks.load("repair")
    pairs = [("`ec`", "two red apples", "tow rde apples"), ("clean", "no noise", "no noise")]
    quality = script._quality(pairs, ["two rde apples", "no noises"], [10, 4])
    assert quality["kinds"]["`ec`"] == {"restored": 0.0, "word_errors_gone": 0.5, "cer": [0.2857, 0.1429]}
    assert (quality["clean_altered"], quality["tokens_of_clean"], quality["tokens_of_noisy"]) == (1.0, 4.0, 10.0)


def test_a_text_is_caught_above_the_threshold_of_its_firing_rate():
    script = benchmarks.load("repair")
    tuning = [i / 1000 for i in range(1000)]
    shares = script.caught(tuning, tuning, {"`ec`": [0.9, 0.98, 1.0]})
    assert shares["fires_on_clean"] == [0.005, 0.025]
    assert shares["kinds"]["`ec`"]["caught"] == [0.333, 0.667]
