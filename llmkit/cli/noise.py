"""`llmkit noise`: noise profiles, fitted to how people write, and how close noise comes to them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmkit.cli.common import Json, note, print_json, print_table
from llmkit.cli.flags import Seed

if TYPE_CHECKING:
    from llmkit.perturb.observed import Observed

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Fit noise to what people write, and say how close it comes."
)

Pairs = Annotated[
    str, typer.Argument(metavar="FILE", help='Pairs {"typed", "intended"} of words or texts, or a log with --field.')
]
Field = Annotated[
    str | None, typer.Option("--field", metavar="NAME", help="FILE is a log: the field that holds what people wrote.")
]
Lang = Annotated[str, typer.Option("--lang", metavar="CODE", help="The language of the texts.")]
OutFile = Annotated[str, typer.Option("--out", "-o", metavar="FILE", help="Write the profile here.")]
Source = Annotated[
    str | None, typer.Option("--source", metavar="TEXT", help="Where the texts are from, for the profile.")
]
Licence = Annotated[str | None, typer.Option("--licence", metavar="TEXT", help="Their licence, for the profile.")]
Real = Annotated[str, typer.Argument(metavar="REAL", help="Pairs that people typed.")]
Others = Annotated[
    list[str], typer.Argument(metavar="OTHER...", help="Operators (like:FILE, typing, ec), or files of pairs.")
]


@app.command()
def fit(
    file: Pairs,
    out: OutFile = "profile.json",
    field: Field = None,
    lang: Lang = "en",
    source: Source = None,
    licence: Licence = None,
    as_json: Json = False,
) -> None:
    """Fit a noise profile to pairs, or to a log alone. The profile holds rates, and no word of the texts."""
    from datetime import UTC, datetime

    from llmkit.files import write_atomic
    from llmkit.perturb import profile as profiles
    from llmkit.perturb.closeness_table import on_words_left_out
    from llmkit.perturb.from_log import read_log
    from llmkit.perturb.observed import read_pairs

    if field is not None:
        observed = read_log(file, field, lang)
    else:
        observed = read_pairs(file)
    about = {"src": source, "lic": licence, "date": datetime.now(UTC).date().isoformat()}
    profile = profiles.fit(observed, lang, {name: value for name, value in about.items() if value})
    closeness = on_words_left_out(observed, lang)
    if closeness and closeness.auc is not None:
        profile = replace(profile, about={**profile.about, "auc": closeness.auc, "tv": closeness.kinds})
    write_atomic(Path(out), profile.text())
    if as_json:
        print_json({"profile": out, "rate": profile.rate, **profile.about, "skipped": dict(observed.skipped)})
        return
    _report(observed, profile, out)


def _report(observed: Observed, profile: Any, out: str) -> None:
    about = profile.about
    note(f"noise: {about['n']} misspellings by {about['who']} people or texts, in {observed.rows} rows -> {out}")
    if profile.rate is None:
        note("noise: no text around them, so no rate: `--rate fitted` is the default strength")
    else:
        note(f"noise: {profile.rate:.2%} of words are wrong in {about['text']} texts")
    if observed.guessed:
        note("noise: intended words are guesses; an error that makes another real word cannot be seen in a log")
    for reason, count in observed.skipped.items():
        note(f"noise: {count} rows left out: {reason}")
    if "auc" in about:
        note(
            f"noise: on words left out, a classifier distinguishes its draws from people's with AUC {about['auc']:.2f} "
            f"(.5: not at all); total variation of kinds {about['tv']:.3f}"
        )
    else:
        note("noise: too few misspellings to say how close it comes (100 on words left out)")


@app.command()
def compare(real: Real, others: Others, seed: Seed = None, as_json: Json = False) -> None:
    """Say how close operators, or files of noisy pairs, come to what people typed.

    `auc`: how well a classifier distinguishes them on words that it has not seen, .5 being not at all. `kinds`,
    `places`, `lengths`: total variation, 0 being none. `growth`: how many times as steeply errors grow with length.
    """
    from llmkit.perturb.closeness import facts
    from llmkit.perturb.closeness_table import table

    rows = list(table(real, others, 7 if seed is None else seed))
    if as_json:
        print_json([{"noise": row.name, **facts(row.closeness), "growth": row.slope} for row in rows])
        return
    columns = ["noise", "pairs", "auc", "kinds", "places", "lengths", "growth"]
    cells = [
        (row.name, near.pairs, near.auc, near.kinds, near.places, near.lengths, row.slope)
        for row in rows
        for near in [row.closeness]
    ]
    print_table(columns, [["-" if cell is None else cell for cell in row] for row in cells], right=tuple(columns[1:]))


@app.command()
def ls(as_json: Json = False) -> None:
    """List the profiles that come with llmkit."""
    from llmkit.perturb.profile import load, shipped_names

    profiles = {name: load(name) for name in shipped_names()}
    if as_json:
        print_json(
            [{"profile": name, "lang": one.lang, "rate": one.rate, **one.about} for name, one in profiles.items()]
        )
        return
    columns = ["lang", "rate", "n", "auc", "src", "lic"]
    rows = [
        [name] + [str({"lang": one.lang, "rate": one.rate, **one.about}.get(column, "-")) for column in columns]
        for name, one in profiles.items()
    ]
    print_table(["profile", "language", "rate", "misspellings", "auc", "source", "licence"], rows)
