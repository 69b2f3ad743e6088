"""`llmkit show`: a repair for a person, the same for programs, and a clear error for anything else."""

from __future__ import annotations

import json
from pathlib import Path

from llmkit.repair import document
from llmkit.repair.document import GateFile, Knots, RepairFile


def test_a_repair_is_shown_with_what_is_guaranteed(llmkit):
    scale = Knots(detector="unknown_words", knots=((0.0, 0.0), (0.1, 2.0)))
    document.write(RepairFile(chain="fold+spell", gate=GateFile(scales=(scale,), threshold=2.0)), "repair.json")
    code, out, _ = llmkit("show", "repair.json")
    assert code == 0
    assert "fold+spell (no call)" in out
    assert "no guarantee: the gate was not calibrated" in out
    code, out, _ = llmkit("show", "repair.json", "--json")
    shown = json.loads(out)
    assert shown["chain"] == "fold+spell"
    assert shown["says"].startswith("no guarantee")


def test_another_file_is_refused(llmkit):
    Path("other.json").write_text('{"correction": "\\u001b[2J"}')
    for name, problem in [("other.json", "is no repair"), ("none.json", "cannot be read"), (".", "cannot be read")]:
        code, out, err = llmkit("show", name)
        assert (code, out) == (2, "")
        assert f"error: {name}: {problem}" in err
        assert "hint:" in err
