"""Whole runs against a baseline file, whatever the two runs keep of their texts."""

from __future__ import annotations

import pytest
from helpers.unlabelled import TICKETS, as_overrides, write_tickets

from llmkit.errors import DataError
from llmkit.measure import stored
from llmkit.report.moved import moved
from llmkit.runs import Run


def label(request):
    return ("parcel", "jacket", "zipper")[sum(map(ord, request.messages[-1].content)) % 3]


def changed(request):
    """Answers otherwise where a text is about an order."""
    return "order" if "order" in request.messages[-1].content else label(request)


@pytest.fixture
def keys(tmp_path):
    rows = [f"{text} {word}" for text in TICKETS for word in ("now", "today", "soon")]
    return as_overrides(write_tickets(tmp_path, rows), perturb__rate=0.5)


@pytest.mark.parametrize("before", ["full", "hash", "none"])
@pytest.mark.parametrize("after", ["full", "hash", "none"])
def test_a_baseline_pairs_whatever_is_kept_of_texts(run, tmp_path, keys, before, after):
    main, _ = run(label, "eval", **keys, output__name="main", output__texts=before, use_cache=False)
    path = tmp_path / "baseline.json"
    path.write_text(stored.of_run(Run(main.folder)).as_text())
    more = {"output__texts": after, "eval__baseline": str(path)}
    now, _ = run(changed, "eval", **keys, output__name="now", **more, use_cache=False)
    assert (now.metrics.baseline.questions, now.metrics.baseline.left_out) == (12, 0)
    assert "like:typist" in now.metrics.baseline.arms["stand"].changed_change
    samples = list(Run(now.folder).samples())
    tables = moved(samples, stored.samples(stored.read(path), samples))
    if "none" in (before, after):
        assert tables == ()
    else:
        assert tables[0].title.startswith("Answers that changed since the baseline: ")


def test_a_baseline_of_another_recipe_stops_a_run_before_it_asks(run, tmp_path, keys):
    main, _ = run(label, "eval", **keys, output__name="main")
    path = tmp_path / "baseline.json"
    path.write_text(stored.of_run(Run(main.folder)).as_text())
    asked = []
    with pytest.raises(DataError, match=r"perturb\.rate was 0\.5 and is 0\.6"):
        run(asked.append, "eval", **{**keys, "perturb__rate": 0.6}, eval__baseline=str(path))
    assert asked == []
