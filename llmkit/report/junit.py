"""junit.xml: one test case for each gate and condition, for whatever shows test results."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any
from xml.etree import ElementTree as xml

from llmkit.measure.doubts import warnings
from llmkit.measure.results import GateResult, Metrics

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def document(
    results: Sequence[GateResult], run: str, metrics: Mapping[str, Any] = MappingProxyType({"arms": {}})
) -> bytes:
    """The file's content. A failed gate is a failure, an undecided one an error: neither lets a pipeline pass.

    The share of questions that each kind of noise changed, and the share of calls that failed, are properties of the
    suite; what makes its numbers doubtful is on its standard error.
    """
    counts = {state: sum(r.verdict == state for r in results) for state in ("fail", "undecided")}
    suite = xml.Element(
        "testsuite",
        name=f"llmkit gates of {_clean(run)}",
        tests=str(len(results)),
        failures=str(counts["fail"]),
        errors=str(counts["undecided"]),
    )
    noise, failed = metrics.get("noise", {}), metrics.get("failed")
    if noise or failed:
        properties = xml.SubElement(suite, "properties")
        for condition, row in noise.items():
            share = f"{row['share']:.4f}"
            xml.SubElement(properties, "property", name=_clean(f"questions changed by {condition}"), value=share)
        if failed:
            xml.SubElement(properties, "property", name="answers failed", value=f"{failed['share']:.4f}")
    for result in results:
        case = xml.SubElement(suite, "testcase", classname=_clean(result.metric), name=_clean(result.gate))
        measured = (
            result.reason or "no value"
            if result.value is None
            else f"{result.value:.4f} with interval [{result.low:.4f}, {result.high:.4f}]"
            + (f"; {result.reason}" if result.reason else "")
        )
        if result.verdict == "fail":
            xml.SubElement(case, "failure", type="fail", message=_clean(measured)).text = _clean(measured)
        elif result.verdict == "undecided":
            xml.SubElement(case, "error", type="undecided", message=_clean(measured)).text = _clean(measured)
        else:
            xml.SubElement(case, "system-out").text = _clean(measured)
    if lines := warnings(Metrics.read(metrics)) if "level" in metrics else []:
        xml.SubElement(suite, "system-err").text = _clean("\n".join(f"warning: {line}" for line in lines))
    suites = xml.Element("testsuites")
    suites.append(suite)
    xml.indent(suites)
    return xml.tostring(suites, encoding="utf-8", xml_declaration=True)


def _clean(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return _NOT_XML.sub("\ufffd", text)
