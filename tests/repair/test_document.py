"""repair.json: what is written is read back, and what llmkit would not have written is refused with its place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from llmkit.errors import DataError, LlmkitError
from llmkit.repair import describe, document
from llmkit.repair.document import AskedModel, Effect, GateFile, Guarantee, Knots, RepairFile

GATE = GateFile(scales=(Knots(detector="unknown_words", knots=((0.0, 0.0), (0.1, 2.0), (0.5, 3.0))),), threshold=2.0)
GUARANTEE = Guarantee(
    harm=0.005,
    confidence=0.95,
    definition="worse",
    rows=4000,
    fired=52,
    harmed=3,
    upper=0.0019,
    reported_rows=1000,
    reported_fired=11,
    date="2026-11-30",
)
WHOLE = RepairFile(
    chain="fold+spell",
    provenance={"run": "eval-tickets-1", "score": 0.4},
    gate=GATE,
    where="(?s)Customer: (?P<text>.*)",
    guarantee=GUARANTEE,
    model=AskedModel(model="support-v3", revision="abc", adapter="d1"),
    effects=(Effect(measure="gain", condition="noisy", value=0.12, low=0.08, high=0.16, rows=900),),
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "repair.json"


def test_what_is_written_is_read_back_and_sealed(path):
    repair = document.write(WHOLE, path)
    assert document.read(path) == repair
    assert repair.digest == repair.identity()
    assert repair.made_with == document.versions()
    assert repair.model_copy(update={"made_with": {}, "digest": ""}) == WHOLE
    assert [entry.name for entry in path.parent.iterdir()] == ["repair.json"]


def test_a_small_file_may_be_written_by_hand(path):
    path.write_text('{"chain": "fold"}')
    assert document.read(path) == RepairFile(chain="fold")


def test_everything_that_decides_on_a_text_is_part_of_the_digest():
    changes = {
        "chain": "fold",
        "lang": "de",
        "instruction": "Correct it.",
        "shots": (("teh", "the"),),
        "max_tokens": 12,
        "votes": 3,
        "gate": GATE.model_copy(update={"threshold": 1.0}),
        "where": None,
        "guarantee": None,
        "model": None,
        "made_with": {"llmkit": "0"},
    }
    digests = {WHOLE.model_copy(update={name: value}).identity() for name, value in changes.items()}
    assert len(digests | {WHOLE.identity()}) == len(changes) + 1
    assert WHOLE.model_copy(update={"effects": (), "provenance": {}}).identity() == WHOLE.identity()


BAD = [
    ("", "is not JSON"),
    ("[1]", "names no `chain`"),
    ('{"version": 1}', "names no `chain`"),
    ('{"chain": "fold", "version": 2}', "reads up to 1"),
    ('{"chain": "fold", "version": "1"}', "version: "),
    ('{"chain": "fold", "colour": 1}', "colour: "),
    ('{"chain": "fold", "max_tokens": "9"}', "max_tokens: "),
    ('{"chain": "fold", "max_tokens": 0}', "max_tokens: "),
    ('{"chain": "fold", "max_tokens": true}', "max_tokens: "),
    ('{"chain": 3}', "chain: "),
    ('{"chain": "fodl"}', "unknown corrector `fodl`"),
    ('{"chain": "fold+fold"}', "chain: `fold+fold` names a corrector twice"),
    ('{"chain": ""}', "chain: "),
    ('{"chain": "model"}', "instruction: is empty"),
    ('{"chain": "fold", "instruction": "a\\u001b[2J"}', "instruction: holds a control character"),
    ('{"chain": "fold", "provenance": {"a": [NaN]}}', "provenance.a.0: is not a finite number"),
    ('{"chain": "fold", "provenance": {"a": 1e999}}', "provenance.a: is not a finite number"),
    ('{"chain": "fold", "where": "("}', "where: `(` is no regular expression"),
    ('{"chain": "fold", "where": "(.*)"}', "where: `(.*)` has no group `text`"),
    ('{"chain": "fold", "gate": {"scales": [{"detector": "x", "knots": []}], "threshold": 1}}', "gate.scales.0."),
    (
        '{"chain": "fold", "gate": {"threshold":1,"scales": [{"detector": "lookalikes", "knots": [[1, 0], [0, 1]]}]}}',
        "gate.scales.0.knots: ",
    ),
    (
        '{"chain": "fold", "gate": {"threshold":1,"scales": [{"detector": "lookalikes", "knots": [[0, 0], [0, 1]]}]}}',
        "gate.scales.0.knots: ",
    ),
    (
        '{"chain": "fold", "gate": {"threshold":1,"scales": [{"detector": "lookalikes", "knots": []}]}}',
        "gate.scales.0.knots: ",
    ),
    ('{"chain": "fold", "gate": {"scales": [], "threshold": "high"}}', "gate.threshold: "),
    ('{"chain": "fold", "digest": "0123456789abcdef"}', "it was changed after it was written"),
    ('{"chain": "fold", "shots": [["a"]]}', "shots.0"),
    ("[" * 100_000, "nested too deeply"),
    ('{"chain": "fold", "provenance": ' + '{"a":' * 600 + "1" + "}" * 601, ""),
]


@pytest.mark.parametrize(("content", "problem"), BAD, ids=range(len(BAD)))
def test_a_bad_file_is_refused_with_its_place(path, content, problem):
    path.write_text(content)
    with pytest.raises(DataError) as refused:
        document.read(path)
    assert refused.value.message.startswith(f"{path}: ")
    assert refused.value.hint
    assert problem in refused.value.message


def test_bytes_that_are_no_text_a_folder_and_a_huge_file_are_refused(path, tmp_path):
    path.write_bytes(b'{"chain": "\xff"}')
    with pytest.raises(DataError, match="is not JSON"):
        document.read(path)
    with pytest.raises(DataError, match="cannot be read"):
        document.read(tmp_path)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        document.read(tmp_path / "none.json")
    with open(path, "wb") as file:
        file.truncate(100_000_000)  # sparse: takes no room
    with pytest.raises(DataError, match="has more than 4,000,000 bytes"):
        document.read(path)


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("harm", 0.0005, "was changed after it was written"),
        ("harm", 0, "guarantee.harm"),
        ("confidence", 1, "guarantee.confidence"),
        ("harmed", 53, "some are harmed, and no more"),
        ("rows", 3, "some are harmed, and no more"),
        ("date", "today", "guarantee.date"),
        ("definition", "none at all", "guarantee.definition"),
    ],
)
def test_a_guarantee_cannot_be_edited(path, key, value, problem):
    document.write(WHOLE, path)
    content = json.loads(path.read_text())
    content["guarantee"][key] = value
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=problem):
        document.read(path)


def test_a_guarantee_needs_its_gate_and_its_digest(path):
    with pytest.raises(DataError, match="holds for a gate"):
        document.write(WHOLE.model_copy(update={"gate": None}), path)
    content = document.write(WHOLE, path).model_dump(mode="json") | {"digest": ""}
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="digest: missing"):
        document.read(path)


def test_what_cannot_be_read_is_not_written(path):
    with pytest.raises(LlmkitError):
        document.write(RepairFile(chain="fodl"), path)
    assert not path.exists()
    for place in (path.parent, path.parent / "nowhere" / "repair.json"):
        with pytest.raises(DataError, match="cannot be written"):
            document.write(RepairFile(chain="fold"), place)


def test_a_guarantee_is_void_where_tables_or_correctors_are_others(path, monkeypatch):
    repair = document.write(WHOLE, path)
    assert describe.guarantee(repair).startswith("at most 0.5 % of all texts get a worse answer")
    here = document.versions() | {"symspellpy": "0.1"}
    monkeypatch.setattr(document, "versions", lambda lang: here)
    sentence = describe.guarantee(repair)
    assert sentence.startswith("guarantee void: symspellpy 0.1 here, calibrated with ")
    assert "llmkit" not in sentence


@pytest.mark.parametrize(
    ("here", "expected"),
    [
        (AskedModel(model="support-v3", revision="abc", adapter="d1"), []),
        (AskedModel(model="support-v3", adapter="d1"), []),
        (AskedModel(model="support-v4", adapter="d1"), ["model support-v4, not support-v3"]),
        (AskedModel(model="support-v3", revision="def", adapter="d1"), ["revision def, not abc"]),
        (AskedModel(model="support-v3"), ["adapter none, not d1"]),
        (AskedModel(model="support-v3", adapter="d1", tokenizer="t"), []),
        (AskedModel(model="support-v3", adapter="d1", asked="p2"), ["prompt, answers or sampling p2, not p1"]),
        (AskedModel(model="support-v3", adapter="d1", corrector="c2"), ["corrector c2, not c1"]),
    ],
)
def test_another_model_is_found(here, expected):
    calibrated = WHOLE.model.model_copy(update={"asked": "p1", "corrector": "c1"})
    assert calibrated.differences(here) == expected


def test_a_repair_in_words():
    said = describe.render(WHOLE)
    assert "fires where a text is rarer than 1 in 100 clean ones by unknown_words (2)" in said
    assert "the gate fired on 52 of 4,000 rows and 3 were harmed, 0.19 % at most (2026-11-30)" in said
    assert "on 1,000 other rows it fired on 11 and harmed 0" in said
    assert "gain on noisy: 0.120 [0.080, 0.160], 900 rows" in said
    assert "support-v3, revision abc, adapter d1" in said
    assert "no guarantee: the gate was not calibrated" in describe.render(WHOLE.model_copy(update={"guarantee": None}))
    ungated = describe.render(RepairFile(chain="fold+model", instruction="Correct\x1b[2J it."))
    assert "no guarantee" in ungated
    assert "one call" in ungated
    assert "\x1b" not in ungated


@pytest.mark.parametrize("threshold", [400.0, 1e308, 0.0, -3.0])
def test_any_threshold_can_be_shown(threshold):
    said = describe.gate(WHOLE.model_copy(update={"gate": GATE.model_copy(update={"threshold": threshold})}))
    assert f"({threshold:.3g})" in said
    assert ("every text" in said) == (threshold <= 0)


def test_no_name_in_a_file_passes_for_a_fact_of_its_own():
    effect = Effect(measure="gain", condition="noisy\nguarantee  at most 0 %", value=0.1)
    said = describe.render(WHOLE.model_copy(update={"effects": (effect,)}))
    assert sum(line.startswith("guarantee") for line in said.splitlines()) == 1


@pytest.mark.parametrize("room", ["repair", "perturb"])
def test_code_and_tables_of_every_room_that_decides_are_part_of_the_versions(room, tmp_path, monkeypatch):
    package = Path(document.__file__).parents[1]
    for name in ("repair", "perturb"):
        shutil.copytree(package / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(document, "__file__", str(tmp_path / "repair" / "document.py"))
    found = [document.versions.__wrapped__()]
    assert found[0] == document.versions()
    for file in (next((tmp_path / room / "data").rglob("*.*")), tmp_path / room / "__init__.py"):
        file.write_bytes(file.read_bytes() + b"\n")
        found.append(document.versions.__wrapped__())
    digests = [versions[f"llmkit.{room}"] for versions in found]
    assert len(set(digests)) == 3
