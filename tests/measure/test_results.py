"""The types of metrics.json: its schema, its reader, and files of earlier and later releases."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from helpers import synthetic
from helpers.scripted import scholar

from llmkit.errors import DataError, EngineError
from llmkit.measure.metrics import metrics
from llmkit.measure.results import Metrics
from llmkit.measure.schema import schema, text
from llmkit.recipe.schema import EvalSection, IntervalSection

FAST = EvalSection(interval=IntervalSection(draws=100))
SCHEMA = jsonschema.Draft202012Validator(schema())
PUBLISHED = Path(__file__).parents[2] / "docs" / "metrics.schema.json"


def test_the_published_schema_is_that_of_the_types():
    assert PUBLISHED.read_text(encoding="utf-8") == text(), "python -m llmkit.measure.schema > docs/metrics.schema.json"
    jsonschema.Draft202012Validator.check_schema(schema())


def test_every_key_is_described():
    for name, part in {"Metrics": schema(), **schema()["$defs"]}.items():
        assert part["description"], name
        assert all(field["description"] for field in part["properties"].values()), name


def checked(folder: Path) -> Metrics:
    """Returns the content of a run's metrics.json, after it was checked against the schema, read and written again."""
    written = (folder / "metrics.json").read_text(encoding="utf-8")
    SCHEMA.validate(json.loads(written))
    read = Metrics.read(folder / "metrics.json")
    assert json.dumps(read.as_dict()) == json.dumps(json.loads(written)), "the same keys and values in the same order"
    return read


GATES = [
    {"metric": "stand.drop", "condition": "each", "max": 0.9, "bound": "point"},
    {"metric": "stand.accuracy", "min": 0.3},
]


def test_a_metrics_file_of_rop_fits_the_schema(run):
    first, _ = run(eval__gates=[*GATES, {"metric": "rop.recovery", "min": 0.1}], eval__price_prompt=1.0)
    measured = checked(first.folder)
    assert measured == first.metrics
    assert len(measured.gates) == 4
    more = {"metric": "stand.accuracy_change", "max": 0.5, "bound": "point"}
    second, _ = run(
        command="eval",
        eval__arms=["stand", "self_consistency"],
        eval__baseline=str(first.folder),
        eval__gates=[more],
        eval__replicate_clean=True,
        eval__draws=2,
    )
    measured = checked(second.folder)
    assert measured.baseline.arms["stand"].accuracy_change["ec"].value == 0
    assert measured.noise_floor["stand"].verdict_differs.value == 0
    assert measured.arms["stand"].repeats["ec"].draws


def test_a_metrics_file_with_a_holdout_fits_the_schema(run):
    result, _ = run(rop__holdout="one-out", rop__arms=["stand", "rop"], rop__search_seeds=2)
    assert checked(result.folder).arms["rop"].holdout


def test_a_metrics_file_with_failures_fits_the_schema(run):
    asked = []

    def sometimes(request):
        asked.append(request)
        return EngineError("401: no \ud800 key") if len(asked) == 1 else scholar(request)

    result, _ = run(sometimes, "eval", eval__gates=GATES)
    measured = checked(result.folder)
    assert measured.failed.answers == 1
    assert "\ud800" in measured.failed.said[0].error
    assert len(measured.gates) == 3


def test_a_metrics_file_of_what_was_not_measured_fits_the_schema(run):
    def mute(request):
        return EngineError("too long") if request.purpose == "perturb" else "Hm."

    result, _ = run(mute, "eval", eval__arms=["stand", "unicode_fold"], perturb__conditions=["llm:ec", "ec"])
    measured = checked(result.folder)
    assert set(measured.unmeasured) == {"llm:ec", "noisy"}
    assert "stand" in measured.unreadable
    assert measured.arms["stand"].drop["llm:ec"].reason
    assert measured.arms["unicode_fold"].clean_drop.reason


def test_a_metrics_file_with_curves_fits_the_schema(run):
    result, _ = run(command="eval", perturb__conditions=["chars:1", "chars:4"], eval__arms=["stand", "few_shot_cot"])
    assert checked(result.folder).arms["stand"].curves["chars"].points[-1].strength == 4


@pytest.fixture(scope="module")
def measured():
    return metrics(synthetic.samples(questions=30), FAST, 7, synthetic.samples(questions=30))


def test_a_file_of_an_earlier_release_is_read(measured):
    later = ("engine", "noise", "unmeasured", "unreadable", "failed", "gates", "holm", "timing")
    content = {key: value for key, value in measured.as_dict().items() if key not in later}
    for arm in content["arms"].values():
        for cell in arm["conditions"].values():
            del cell["cut"], cell["rejected"]
        for drop in arm["drop"].values():
            del drop["undecided"]
            drop["method"] = "bootstrap"  # which no release writes any more
    read = Metrics.read(content)
    assert read.noise == read.unmeasured == read.unreadable == {}
    assert read.failed is read.engine is None
    assert read.arms["stand"].drop["ec"].value == measured.arms["stand"].drop["ec"].value


def test_a_file_of_a_later_release_is_read(measured):
    content = measured.as_dict() | {"mood": {"good": True}}
    content["arms"]["stand"]["conditions"]["ec"]["joules"] = 12
    SCHEMA.validate(content)
    assert Metrics.read(content) == measured


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("arms", "stand", "drop", "ec", "low"), "much", "`arms.stand.drop.ec.low`"),
        (("arms", "stand", "conditions", "clean", "n"), None, "`arms.stand.conditions.clean.n`"),
        (("arms", "rop", "conditions"), [1], "`arms.rop.conditions`"),
        (("noise", "ec", "share"), float("nan"), "`noise.ec.share`"),
        (("holm", 2, "p"), {}, "`holm.2.p`"),
        (("level",), ..., "`level`"),
    ],
)
def test_a_damaged_file_is_named_with_the_key(measured, tmp_path, path, value, named):
    content = json.loads(json.dumps(measured.as_dict()))
    *above, last = path
    place = content
    for key in above:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    with pytest.raises(DataError) as caught:
        Metrics.read(tmp_path / "metrics.json")
    assert f"{tmp_path / 'metrics.json'}: {named}: " in str(caught.value)


@pytest.mark.parametrize("content", ["", "[" * 100_000, "[]", "7", '{"arms": '])
def test_what_holds_no_measurements_is_damaged_too(tmp_path, content):
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(DataError, match=r"metrics\.json: "):
        Metrics.read(tmp_path / "metrics.json")
    with pytest.raises(DataError, match="cannot be read"):
        Metrics.read(tmp_path / "none.json")
