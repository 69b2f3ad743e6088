"""junit.xml: one test case for each gate and condition, for whatever shows test results."""

from __future__ import annotations

import re
from xml.etree import ElementTree as xml

from llmkit.report.view import View

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def document(view: View) -> bytes:
    """Returns the file's content. A failed gate is a failure, an undecided one an error: neither lets a pipeline pass.

    The shares of questions changed and of calls failed are properties of the suite; warnings are on its standard error.
    """
    states = [verdict.state for verdict in view.verdicts]
    suite = xml.Element(
        "testsuite",
        name=_clean(f"llmkit gates of {view.facts.run}"),
        tests=str(len(states)),
        failures=str(states.count("fail")),
        errors=str(states.count("undecided")),
    )
    if view.shares:
        properties = xml.SubElement(suite, "properties")
        for name, share in view.shares:
            xml.SubElement(properties, "property", name=_clean(name), value=share)
    for verdict in view.verdicts:
        case = xml.SubElement(suite, "testcase", classname=_clean(verdict.metric), name=_clean(verdict.gate))
        measured = _clean(verdict.measured)
        if verdict.state == "fail":
            xml.SubElement(case, "failure", type="fail", message=measured).text = measured
        elif verdict.state == "undecided":
            xml.SubElement(case, "error", type="undecided", message=measured).text = measured
        else:
            xml.SubElement(case, "system-out").text = measured
    if view.notes.warnings:
        lines = "\n".join(f"warning: {line}" for line in view.notes.warnings)
        xml.SubElement(suite, "system-err").text = _clean(lines)
    suites = xml.Element("testsuites")
    suites.append(suite)
    xml.indent(suites)
    content: bytes = xml.tostring(suites, encoding="utf-8", xml_declaration=True)
    return content


def _clean(text: str) -> str:
    """Returns a text without the characters that XML cannot hold."""
    return _NOT_XML.sub("\ufffd", text)
