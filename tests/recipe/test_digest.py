"""Equal digests, equal results; and the other way round."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Annotated

import pytest

from llmkit.recipe import digest, load
from llmkit.recipe.schema.base import LATER, Section


def of(*overrides: str, sections: tuple[str, ...] = ()) -> str:
    return digest(load("demo", overrides).recipe, *sections)


def test_it_is_twelve_hex_digits_and_the_same_every_time():
    assert of() == of()
    assert len(of()) == 12
    assert int(of(), 16) >= 0


@pytest.mark.parametrize(
    "override",
    [
        "output.name=other",
        "output.dir=elsewhere",
        "engine.max_num_seqs=3",
        "engine.batch_size=3",
        "engine.timeout_s=3",
        "engine.retries=0",
        "engine.api_key_env=MY_KEY",
        "engine.rps=3",
        "engine.deterministic=true",
        "engine.headers_env={X-Key: MY_KEY}",
        "eval.gates=[{metric: stand.drop, max: 0.2}]",
        "eval.baseline=runs/other",
        "eval.interval.level=0.9",
        "eval.family=[drop]",
        "eval.max_tokens_total=9",
        "eval.price_prompt=1.5",
        "eval.price_completion=1.5",
    ],
)
def test_where_how_fast_and_how_it_is_judged_do_not_change_it(override):
    assert of(override) == of()


@pytest.mark.parametrize(
    "override",
    ["seed=8", "data.limit=7", "model.path=x", "engine.dtype=bfloat16", "perturb.retries=0", "rop.search.budget=1",
     "engine.url=http://a/b", "engine.method=PUT", "engine.body={a: 1}", "engine.answer=$.a", "engine.documents=$.a",
     "engine.tool_calls=$.a",
     "engine.before={url: http://a/b, session: $.a}", "engine.stream=sse", "engine.reported_model=$.a",
     "rop.search.noisy_share=0.9", "perturb.conditions=[sc, ec, woo, hw, uic]", "eval.draws=2"],
)  # fmt: skip
def test_what_changes_a_result_changes_it(override):
    assert of(override) != of()


def test_only_the_named_sections_count():
    sections = ("model", "data")
    assert of("rop.votes=9", sections=sections) == of(sections=sections)
    assert of("data.limit=9", sections=sections) != of(sections=sections)
    assert of("seed=9", sections=sections) != of(sections=sections)
    assert of(sections=("data", "model")) == of(sections=sections)


def test_how_a_value_was_written_or_where_it_came_from_does_not_matter(tmp_path):
    (tmp_path / "a.yaml").write_text("rop: {search: {temperature: 9e-1}}\nperturb: {rate: 1}\n")
    (tmp_path / "b.yaml").write_text("extends: a\nperturb:\n  rate: 1.0\n")
    assert digest(load(tmp_path / "a.yaml").recipe) == digest(load(tmp_path / "b.yaml").recipe)
    assert digest(load(tmp_path / "a.yaml").recipe) == digest(load(None, {"perturb.rate": 1.0}).recipe)


def test_a_recipe_of_before_keeps_the_name_of_its_run():
    """Fields that came later change no digest of a recipe that does not set them."""
    recipe = load(None, {"model.path": "smollm2-135m", "data.task": "gsm8k"}).recipe
    assert digest(recipe, "data") == "27e37e74e9a9"
    assert digest(recipe, "engine") == "081de6cdfaa7"
    assert of("data.path=own.jsonl", "data.cluster=document") != of("data.path=own.jsonl")


def test_a_later_field_counts_only_away_from_its_default():
    class Before(Section):
        task: str = "boolq"

    class After(Before):
        form: Annotated[str, LATER] = "own"

    first, second, third = (
        digest(SimpleNamespace(version=1, seed=7, part=part), "part")
        for part in (Before(), After(), After(form="published"))
    )
    assert first == second
    assert third != first
