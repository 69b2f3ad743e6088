"""The numbers that a run of so many questions or rows can show, in words, before anything is asked."""

from __future__ import annotations

from llmkit.measure.bounds import shown_by
from llmkit.measure.statistics import clusters_needed, minimum_detectable_effect, worth


def of_rows(rows: int, groups: int, level: float) -> str:
    """Returns what rows without answers can show. `groups` are the independent units among them."""
    most, half = shown_by(rows, groups, level)
    named = f"{rows:,} rows" if groups == rows else f"{rows:,} rows in {groups:,} groups"
    return (
        f"{named} without answers: where none of their answers changes, at most {most:.3f} of all do; "
        f"where a tenth does, the share is known to ±{half:.3f}"
    )


def of_questions(asked: int, templates: int, level: float, compared: int) -> list[str]:
    """Returns what questions with answers can show, where so many comparisons stand in Holm's family."""
    lone, alpha = templates == asked, 1 - level
    size = worth(asked, templates)
    effect = minimum_detectable_effect(size, alpha=alpha, clusters=None if lone else templates)
    named = f"{size} independent questions"
    if not lone:
        named = f"{asked} questions from {templates} templates, worth about {named},"
    what = "questions" if lone else "templates"
    told = [
        f"{named} are too few to show any gain: that takes {clusters_needed(1, alpha)} {what}"
        if effect is None
        else f"{named} show a gain of {effect:.3f} or more in four of five such runs"
    ]
    if templates < (most := clusters_needed(compared, alpha)) and compared > 1:
        told.append(f"none of {compared} comparisons can be significant after Holm: that takes {most} {what}")
    return told
