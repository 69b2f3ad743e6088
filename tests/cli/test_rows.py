"""The noise that a file of the user's own rows is measured under, where nobody names one."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.unlabelled import TICKETS, write_tickets

GERMAN = [
    "Mein Paket ist seit Montag nicht angekommen, bitte helfen Sie mir bei der Suche",
    "Die blaue Jacke aus der letzten Woche wurde mir zweimal berechnet",
    "Wie kann ich die Anschrift meiner Bestellung noch vor dem Versand wechseln",
]
RUSSIAN = ["Моя посылка не пришла с понедельника", "С меня дважды взяли деньги за синюю куртку"]


@pytest.fixture
def first_line(llmkit):
    """Returns the first line of a dry run on rows, and what was noted."""

    def of(texts, *flags, **columns):
        path = write_tickets(Path(), texts, **columns)
        command = ("eval", path, "--field", "body", "--base-url", "http://127.0.0.1:9/v1", "--model", "m", "--dry-run")
        code, out, err = llmkit(*command, *flags)
        assert code == 0, err
        return out.splitlines()[0], err

    return of


def test_rows_in_english_are_asked_under_the_errors_of_typists(first_line):
    line, notes = first_line(TICKETS)
    assert line == "tickets.csv: 4 questions, clean, like:typist"
    assert notes == ""


@pytest.mark.parametrize("texts", [GERMAN, RUSSIAN, [*GERMAN * 2, *TICKETS]])
def test_rows_that_are_not_in_english_are_mistyped_on_their_own_keys(first_line, texts):
    line, notes = first_line(texts)
    assert line == f"tickets.csv: {len(texts)} questions, clean, typing"
    assert "of the words are common English" in notes


def test_a_language_that_is_named_decides(first_line):
    assert first_line(TICKETS, "--set", "perturb.lang=de")[0].endswith("clean, typing")
    assert first_line(TICKETS, "--set", "perturb.lang=en")[0].endswith("clean, like:typist")


def test_noise_that_is_named_is_taken(first_line):
    assert first_line(TICKETS, "--conditions", "ec")[0].endswith("clean, ec")
    assert first_line(GERMAN, "--conditions", "ec")[0].endswith("clean, ec")


def test_answers_beside_the_rows_change_nothing_of_the_noise(first_line):
    queues = ["delivery", "billing", "order", "returns"]
    assert first_line(TICKETS, "--answer", "queue", queue=queues)[0].endswith("clean, like:typist")


def test_a_gate_names_the_noise(first_line, llmkit):
    assert first_line(TICKETS, "--gate", "stand.changed@like:typist <= 0.5")[0].endswith("clean, like:typist")
    command = ("eval", "tickets.csv", "--field", "body", "--base-url", "http://127.0.0.1:9/v1", "--model", "m")
    code, _, err = llmkit(*command, "--gate", "stand.changed@typing <= 0.5", "--dry-run")
    assert code == 2
    assert "typing" in err
