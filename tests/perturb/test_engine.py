"""The engine: specs, rates, the validity gate, retries, what is handed to workers and to datasets."""

from __future__ import annotations

import json
import pickle
import random
from collections import Counter
from random import Random

import numpy as np
import pytest

from llmkit.errors import DataError, UsageError
from llmkit.perturb import (
    OPERATORS,
    Change,
    Perturber,
    Source,
    TextEdit,
    WordEdit,
    make_variants,
    operator,
    strength,
    undo,
)
from llmkit.perturb.numerals import numbers
from llmkit.perturb.protection import Protection
from llmkit.perturb.sentences import distractors, main_name, reachable
from llmkit.perturb.wordbook import homophones
from llmkit.perturb.words import contractions
from llmkit.recipe.schema import PerturbSection
from llmkit.types import CLEAN, Question

TEXT = "Maria buys 12 red apples because they are cheaper, and she eats 3 of them. How many apples are left?"


@pytest.fixture
def scratch():
    """Operators registered in a test are gone after it."""
    before = dict(OPERATORS._items)
    yield operator
    OPERATORS._items.clear()
    OPERATORS._items.update(before)


class TestSpecs:
    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ("ek", "unknown operator `ek`"),
            ("ec:3", "takes no argument"),
            ("chars", "needs an argument"),
            ("chars(x)", "how many letters"),
            ("mix()", "contains no operator"),
            ("mix(ec:-1)", "above 0"),
            ("mix(ec:0,sc:1)", "above 0"),
            ("mix(ec:nan,sc:1)", "finite"),
            ("mix(ec:inf,sc:1)", "finite"),
            ("mix(ec:1e308,sc:1e308)", "finite"),
            ("mix(ec:1e308,sc:1)", "a millionth"),
            ("nlpaug:Keybord", "unknown nlpaug augmenter"),
            ("nlpaug:RandomChar(action=dance)", "cannot be created"),
            ("llm:xx", "unknown kind of noise"),
            ("adversarial(k=x)", "whole number"),
            ("llm:ec+uic", "cannot be"),
            ("mix(llm:ec:1,ec:1)", "cannot be"),
        ],
    )
    def test_a_bad_spec_is_a_usage_error(self, spec, message):
        with pytest.raises(UsageError, match=message.replace("(", r"\(")):
            Perturber(spec)

    def test_the_nearest_name_is_the_hint(self):
        with pytest.raises(UsageError) as error:
            Perturber("keybord")
        assert "keyboard" in error.value.hint

    @pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan"), "much"])
    def test_a_rate_outside_0_to_1_is_a_usage_error(self, rate):
        with pytest.raises(UsageError, match=r"not in 0\.\.1"):
            Perturber("ec", rate=rate)

    def test_a_mixture_follows_its_weights(self):
        mixture = Perturber("mix(case:0.8,whitespace:0.2)", rate=0.1, seed=3)
        made = [mixture.apply(TEXT, str(i)) for i in range(300)]
        cased = sum(m.text.lower() == TEXT.lower() for m in made)
        assert 210 <= cased <= 270

    def test_a_composition_does_both(self):
        made = Perturber("ec+uic", rate=0.3, seed=1).apply(TEXT, "q")
        kinds = Counter("added" if not e.old else "changed" for e in made.edits)
        assert kinds["added"] == 1
        assert kinds["changed"] == 6
        assert undo(made.text, made.edits) == TEXT


class TestGate:
    """Operators that misbehave, and what becomes of their copies."""

    def make(self, scratch, change):
        @scratch("misbehaves", level="word")
        class Misbehaves(TextEdit):
            def changes(self, source, wanted, rng):
                return change(source)

        return Perturber("misbehaves", rate=0.2, seed=1)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda s: [Change(11, 13, "21")], "a number was lost"),
            (lambda s: [Change(0, 5, "5 people")], "a number was added"),
            (lambda s: [], "misbehaves: no eligible word"),
        ],
    )
    def test_a_copy_that_fails_is_the_original_with_the_reason(self, scratch, change, reason):
        made = self.make(scratch, change).apply(TEXT, "q")
        assert (made.text, made.edits, made.rejected, made.reason) == (TEXT, (), True, reason)

    @pytest.mark.parametrize(
        ("text", "old", "new", "reason"),
        [
            ("Ann has two hundred pens.", "two hundred", "hundred two", "number words changed places"),
            ("Ann has three pens.", "three", "there", "a number was lost"),
            ("Ann has tree pens.", "tree", "three", "a number was added"),
            ("Ann has twenty-one pens.", "one", "on", "a number was lost"),
            ("小明有二百四十个苹果", "二百四十", "二百十四", "a number was lost"),
            ("Ann has ½ of १२ pens, x² and Ⅳ.", "½", "¼", "a number was lost"),
            ("Ann has ½ of १२ pens, x² and Ⅳ.", "१२", "२१", "a number was lost"),
            ("Ann has ½ of १२ pens, x² and Ⅳ.", "²", "³", "a number was lost"),
            ("Ann has ½ of १२ pens, x² and Ⅳ.", "Ⅳ", "Ⅵ", "a number was lost"),
            ("Ann has ½ of १२ pens.", "pens", "pen一", "a number was added"),
        ],
    )
    def test_numbers_of_every_script_and_in_words_are_kept(self, scratch, text, old, new, reason):
        at = text.index(old)
        made = self.make(scratch, lambda s: [Change(at, at + len(old), new)]).apply(text, "q")
        assert (made.text, made.reason) == (text, reason)

    def test_number_words_can_be_released_alone(self):
        text = "Tom has three pens, 12 books and two hundred and one cards of half a dozen kinds."
        words = [e.old for e in Perturber("keyboard", rate=1.0).apply(text, "q").edits]
        assert words == ["Tom", "has", "pens", "books", "and", "cards", "of", "kinds"]
        free = Perturber("keyboard", rate=1.0, release=["number_words"], retries=9).apply(text, "q")
        assert {"three", "two", "hundred", "half", "dozen"} <= {e.old for e in free.edits}
        assert "12" in free.text
        copied = pickle.loads(pickle.dumps(Perturber("ec", release=["number_words"])))
        assert (copied.protection.numbers, copied.protection.number_words) == (True, False)
        with pytest.raises(UsageError, match="number_word"):
            Perturber("ec", release=["number_word"])

    @pytest.mark.parametrize("op", ["ec", "swap", "delete", "insert", "keyboard", "typing", "case", "sc", "whitespace"])
    def test_a_numeral_among_letters_is_kept(self, op):
        text = "小明有二百四十个红苹果他又买了十个大苹果问他现在一共有几个苹果"
        for seed in range(20):
            made = Perturber(op, rate=1.0, seed=seed, retries=0).apply(text, "q").text
            assert numbers(made) == numbers(text)

    def test_options_are_guarded(self, scratch):
        text = "Which is dark?\nAnswer Choices: (A) night (B) noon"
        perturber = self.make(scratch, lambda s: [Change(34, 39, "nihgt")])
        assert perturber.apply(text, "q").reason == "a protected span was changed"

    @pytest.mark.parametrize(
        ("gold", "rejected"), [("night", True), ("(A) night", True), ("18", False), ("B", False), ("(B) noon", False)]
    )
    def test_the_answer_must_not_appear(self, scratch, gold, rejected):
        perturber = self.make(scratch, lambda s: [Change(0, 5, "Night B")])
        assert perturber.apply(TEXT, "q", gold=gold).rejected is rejected

    def test_a_failed_copy_is_tried_again_with_the_next_seed(self, scratch):
        @scratch("now and then", level="word")
        class NowAndThen(TextEdit):
            def changes(self, source, wanted, rng):
                return [Change(11, 13, "21")] if rng.random() < 0.7 else [Change(0, 5, "Marai")]

        made = [Perturber("now and then", rate=0.2, retries=9).apply(TEXT, str(i)) for i in range(50)]
        never = [Perturber("now and then", rate=0.2, retries=0).apply(TEXT, str(i)) for i in range(50)]
        assert sum(m.rejected for m in made) <= 5 < 25 <= sum(m.rejected for m in never)

    @pytest.mark.parametrize("text", ["", " \n", "1", "7.5", "👩‍👩‍👧", "`code`", "?!"])
    def test_a_text_without_words_is_left_and_says_why(self, text):
        made = Perturber("ec", rate=0.5).apply(text, "q")
        assert (made.text, made.rejected) == (text, True)
        assert made.reason in ("the text is empty", "ec: no eligible word")

    @pytest.mark.parametrize(("spec", "rate", "share"), [("ec", 0.2, 0.2), ("sc", "paper", 0.62), ("woo", 0.25, 0.25)])
    def test_a_rate_is_a_share_of_the_words_outside_the_options(self, spec, rate, share):
        stem = "A man of the village walks along the river because there are always some birds that sing in spring."
        options = ["along that river", "where some small trees with many green leaves always grow", "the woods " * 12]
        text = stem + "\nAnswer Choices: " + " ".join(f"({c}) {o}" for c, o in zip("ABC", options, strict=True))
        made = Perturber(spec, rate=rate, seed=1).apply(text, "q")
        assert made.text.endswith(text[len(stem) :])
        assert made.strength.words == pytest.approx(share, abs=0.06)
        assert strength(stem, made.text[: -len(text) + len(stem)]).words == pytest.approx(made.strength.words, abs=1e-4)

    def test_words_that_a_span_covers_do_not_count(self):
        text = "See `x = y`, (`z`) or the `f`s — at me@home.example."
        assert Source(text, Protection().spans(text)).words == 6  # See or the s — at

    def test_a_shortfall_is_told(self):
        made = Perturber("hw", rate=1.0).apply("The son ate some flour.", "q")
        assert not made.rejected
        assert made.reason.startswith("hw: 3 of 5") or made.reason.startswith("hw: 2 of 5")


class TestOperators:
    @pytest.mark.parametrize("name", sorted(OPERATORS))
    def test_each_says_what_it_does_and_where_that_comes_from(self, name):
        text, source = OPERATORS[name].summary()
        assert len(text) > 20
        assert source
        assert OPERATORS[name].__doc__.count(">>>") or not OPERATORS[name].shows_example or name.startswith("nlpaug")

    @pytest.mark.parametrize("k", [1, 4, 7])
    def test_chars_makes_exactly_k_edits(self, k):
        for i in range(20):
            made = Perturber(f"chars({k})", rate="paper").apply(TEXT, str(i))
            assert len(made.edits) == k
            assert all(len(e.old) == len(e.new) == 1 for e in made.edits)

    @pytest.mark.parametrize("long", [pair.split("=")[0] for pair in contractions()])
    def test_every_contraction_is_made_and_undone(self, long):
        """Also where a line was wrapped in the table: no form holds a line break."""
        pairs = [pair.split("=") for pair in contractions()]
        short, op = dict(pairs)[long], OPERATORS["contraction"]()
        for before, after in ((long, {short}), (short, {a for a, b in pairs if b == short})):
            text = f"They say: {before} at home."
            (change,) = op.changes(Source(text), 1, Random(1))
            assert text[change.start : change.end] == before
            assert change.new in after

    def test_typing_slips_have_their_published_frequencies(self):
        """Dhakal et al. 2018, Table 3: 1.65, 0.80, 0.67; White in Kano et al. 2007: 15 transpositions for 65 others."""
        op, seen = OPERATORS["typing"](), Counter()
        for i in range(20_000):
            new = op.edit("sphinx", Random(i))
            seen["order" if sorted(new) == sorted("sphinx") else len(new) - 6] += 1
        assert seen[-1] / seen[1] == pytest.approx(0.80 / 0.67, rel=0.1)
        assert seen[0] / seen[-1] == pytest.approx((1.65 + 3.12 * 2 / 65) / 0.80, rel=0.1)  # no capital: a wrong key
        assert seen["order"] / (seen[-1] + seen[0] + seen[1]) == pytest.approx(15 / 67, rel=0.1)
        capital = Counter(op.edit("Sphinx", Random(i)) for i in range(20_000))
        assert (capital["sphinx"] + capital["SPhinx"]) / 20_000 == pytest.approx(2 / 82, rel=0.2)

    def test_uic_avoids_the_numbers_that_the_question_leads_to(self):
        taken = reachable(TEXT)
        assert {12, 3, 15, 9, 36, 4} <= taken
        for i in range(200):
            made = Perturber("uic", rate=0.1, seed=2).apply(TEXT, str(i), gold="9")
            added = numbers(made.text, words=False) - numbers(TEXT)
            assert not {int(n) for n in added} & taken
            assert made.text.endswith(" How many apples are left?")
            assert "Maria" in made.edits[0].new

    def test_the_bank_of_distractors_is_large_and_of_the_papers_length(self):
        assert len(distractors()) >= 40
        mean = sum(len(d.text.split()) for d in distractors()) / len(distractors())
        assert mean == pytest.approx(22.9, rel=0.1)
        assert all("{name}" in d.text for d in distractors() if d.high)

    @pytest.mark.parametrize(
        ("text", "name"),
        [
            (TEXT, "Maria"),
            ("Janet’s ducks lay 16 eggs. How many?", "Janet"),
            ("How many apples does Tom have?", "Tom"),
            ("A robe takes 2 bolts. How many?", None),
        ],
    )
    def test_names_come_from_the_question(self, text, name):
        assert main_name(text) == name

    def test_homophones_are_no_number_words(self):
        table = homophones()
        assert table["their"] == ("there",)
        forms = set(table) | {other for others in table.values() for other in others}
        assert not forms & {"one", "two", "four", "eight"}

    def test_woo_moves_words_only(self):
        made = Perturber("woo", rate=0.3, seed=1).apply(TEXT, "q")
        assert sorted(made.text.split()) == sorted(TEXT.split())

    def test_sc_draws_from_all_of_tr_39_in_the_measured_shares(self):
        from llmkit.perturb.lookalikes import lookalikes, script, twin

        forms = [(letter, char) for letter, kinds in lookalikes().items() for char in set("".join(kinds.values()))]
        assert all(twin(char) == letter and not char.isascii() for letter, char in forms)
        assert len(forms) > 1500
        assert len({script(char) for _, char in forms}) > 10
        perturber = Perturber("sc", rate=0.5, seed=1)
        edits = [edit for i in range(200) for edit in perturber.apply(TEXT, f"q{i}").edits]
        drawn = [script(char) for edit in edits for char in edit.new if not char.isascii()]
        assert 0.5 < drawn.count("CYRILLIC") / len(drawn) < 0.7
        assert 0.05 < drawn.count("GREEK") / len(drawn) < 0.2

    def test_combining_marks_and_digits_are_left_alone(self):
        text = "cafe\u0301 naïve 3rd B2B snake_case me@x.example"
        made = Perturber("keyboard", rate=1.0).apply(text, "q")
        assert [e.old for e in made.edits] == ["naïve"]


class TestFiles:
    def test_pairs_are_found_by_their_letters_and_checked(self, tmp_path):
        path = tmp_path / "pairs.json"
        path.write_text(
            '[{"original_question": "Tom has 6  apples. How many?",'
            ' "rewritten_question": "Tom hsa 6 appels. How many?"},'
            '{"original_question": "Ann has 6 plums.", "rewritten_question": "Ann has six plums."}]'
        )
        found = Perturber(f"file:{path}").apply("Tom has 6 apples. How many?", "q")
        assert found.text == "Tom hsa 6 appels. How many?"
        assert undo(found.text, found.edits) == "Tom has 6 apples. How many?"
        assert Perturber(f"file:{path}").apply("Ann has 6 plums.", "q").reason == "a number was lost"
        assert (
            Perturber(f"file:{path}").apply("Somebody else.", "q").reason
            == "file: not in the file, or not changed in it"
        )

    def test_the_stem_finds_its_pair_whatever_the_order_of_the_options(self, tmp_path):
        path = tmp_path / "pairs.jsonl"
        story = "Ann has a red ball and Ben has a blue one. They swap. In the end Ann has the"
        pairs = [
            ("Where is milk kept? Answer Choices: (A) shelf (B) oven",
             "Wehre is mlik kpet? Asnwer Chioces: (А) shlef (В) oven"),
            (f"{story} \nWhich choice is true ? Answer Choices: (A) red ball. (B) blue ball.",
             "Ann hsa a red blal and Ben hsa a bule one. They sawp. In the end Ann hsa the  \n\nWihch chioce is ture? "
             "Answer Choices:  \n(A) red blal.  \n(B) bule ball."),
        ]  # fmt: skip
        path.write_text(
            "\n".join(json.dumps({"original_question": a, "rewritten_question": b}) for a, b in pairs), "utf-8"
        )
        perturber = Perturber(f"file:{path}")
        found = perturber.apply(
            "Where is milk kept?\nAnswer Choices: (A) oven (B) shelf", "q", options=["oven", "shelf"]
        )
        assert found.text == "Wehre is mlik kpet?\nAnswer Choices: (A) oven (B) shelf"
        found = perturber.apply(
            f"{story}\nAnswer Choices: (A) blue ball (B) red ball", "q", options=["blue ball", "red ball"]
        )
        # "red ball" is an option: its protected words stay, wherever they are.
        noisy = "Ann hsa a red ball and Ben hsa a bule one. They sawp. In the end Ann hsa the"
        assert found.text == f"{noisy}\nAnswer Choices: (A) blue ball (B) red ball"

    def test_a_word_moved_out_of_a_protected_span_is_not_lost(self, tmp_path):
        path = tmp_path / "pairs.jsonl"
        pair = {"original_question": "Is a red ball round or not?", "rewritten_question": "Is a ball round red or not?"}
        path.write_text(json.dumps(pair))
        made = Perturber(f"file:{path}").apply("Is a red ball round or not?", "q", options=["red", "blue"])
        assert (made.text, made.reason) == ("Is a red ball round or not?", "a protected span was changed")

    def test_options_that_are_free_are_taken_from_the_file(self, tmp_path):
        path = tmp_path / "pairs.jsonl"
        clean, noisy = (
            "Where is it? Answer Choices: (A) oven (B) shelf",
            "Wehre is it? Answer Choices: (A) oevn (B) shlef",
        )
        path.write_text(json.dumps({"original_question": clean, "rewritten_question": noisy}))
        assert Perturber(f"file:{path}", protect=["numbers"]).apply(clean, "q").text == noisy
        assert Perturber(f"file:{path}").apply(clean, "q").text == "Wehre is it? Answer Choices: (A) oven (B) shelf"

    def test_slips_are_sampled_from_pairs(self, tmp_path):
        path = tmp_path / "slips.tsv"
        path.write_text("teh\tthe\nteh\tthe\nhte\tthe\nrecieve\treceive\n")
        op = OPERATORS["natural"](str(path))
        made = Counter(op.edit("the", Random(i)) for i in range(300))
        assert made["teh"] > made["hte"] > 50

    @pytest.mark.parametrize("content", ["not json", '[{"a": 1}]', "[1]"])
    def test_a_bad_file_names_itself(self, tmp_path, content):
        path = tmp_path / "bad.json"
        path.write_text(content)
        for spec in ("file", "natural"):
            with pytest.raises(DataError, match=r"bad\.json"):
                Perturber(f"{spec}:{path}")
        with pytest.raises(DataError, match="No such file"):
            Perturber(f"file:{tmp_path}/none.json")


class TestNlpaug:
    def test_global_randomness_is_left_as_it_was(self):
        random.seed(1)
        np.random.seed(1)
        expected = random.getstate(), np.random.get_state()[1].tolist()
        made = Perturber("nlpaug:keyboard", rate=0.5).apply(TEXT, "q")
        verbatim = Perturber("nlpaug-verbatim:keyboard", rate=0.5).apply(TEXT + " It costs $7.50.", "q")
        assert (random.getstate(), np.random.get_state()[1].tolist()) == expected
        assert numbers(made.text) == numbers(TEXT)
        assert verbatim.text != TEXT
        assert undo(verbatim.text, verbatim.edits) == TEXT + " It costs $7.50."


class TestPython:
    def test_a_perturber_pickles_small_and_the_same(self):
        perturber = Perturber("mix(ec:1,sc:2)", rate=0.2, seed=3, protect=["numbers", "eggs"], retries=2)
        perturber.apply(TEXT, "q")
        data = pickle.dumps(perturber)
        assert len(data) < 300
        assert pickle.loads(data).apply(TEXT, "q") == perturber.apply(TEXT, "q")

    def test_datasets_map_has_a_stable_fingerprint(self):
        datasets = pytest.importorskip("datasets")
        rows = datasets.Dataset.from_dict({"id": ["a", "b"], "question": [TEXT, TEXT]})
        perturber = Perturber("ec", rate=0.3)
        made = rows.map(perturber.map_batch, batched=True)
        perturber.apply(TEXT, "other")
        again = rows.map(Perturber("ec", rate=0.3).map_batch, batched=True)
        assert made._fingerprint == again._fingerprint
        assert made["question"] == [perturber.apply(TEXT, name).text for name in ("a", "b")]
        assert rows.map(Perturber("ec", rate=0.2).map_batch, batched=True)._fingerprint != made._fingerprint

    def test_variants_come_clean_first_then_condition_by_condition(self):
        question = Question("q1", TEXT, "9", "numeric")
        section = PerturbSection(conditions=("ec", "ec+uic"), rate=(0.1, 0.3))
        made = list(make_variants([question], section, seed=1, draws=2))
        names = [CLEAN, *(c for spec in ("ec@0.1", "ec@0.3", "ec+uic@0.1", "ec+uic@0.3") for c in (spec, spec))]
        assert [v.condition for v in made] == names
        assert made[0].text == TEXT
        assert [v.draw for v in made[1:3]] == [0, 1]
        assert len({v.text for v in made}) == len(made)

    def test_a_package_can_add_an_operator(self, scratch):
        @scratch("shout", level="word")
        class Shout(WordEdit):
            def edit(self, word: str, rng: Random) -> str | None:
                return word.upper()

        assert Perturber("shout", rate=1.0).apply("say 3 words", "q").text == "SAY 3 WORDS"

    def test_a_notebook_cell_can_be_run_again_but_no_name_is_taken_from_another(self, scratch):
        def cell(letter: str) -> type[WordEdit]:
            @scratch("ends", level="word")
            class Ends(WordEdit):
                def edit(self, word: str, rng: Random) -> str | None:
                    return word + letter

            return Ends

        cell("a")
        cell("b")
        assert Perturber("ends", rate=1.0).apply("say words", "q").text == "sayb wordsb"
        with pytest.raises(ValueError, match="`ends` is registered twice"):

            @scratch("ends", level="word")
            class Other(WordEdit):
                pass
