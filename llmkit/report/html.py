"""Pages and pictures: each is one file that holds its data, its style and its script, and loads nothing.

Questions and replies are data: they are JSON in a script element that no browser runs, every "<" escaped, and the
page's own script puts them on the screen as text only. Everything else goes through templates that escape what they
are given. A content security policy allows no style or script but the page's own, and no address.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit import __version__
from llmkit.report import drawing
from llmkit.report.comparison import ComparisonView
from llmkit.report.elements import Block, Chart, Choice, Grid, Table
from llmkit.report.listing import RunsView
from llmkit.report.view import View
from llmkit.report.written import tick

if TYPE_CHECKING:
    from jinja2 import Environment

_HERE = Path(__file__).parent
_STYLES = ("report.css", "answers.css")
_SCRIPTS = ("page.js", "browser.js")
_MINUS = re.compile(r"(?<![\w.])-(?=[\d.])")


def page(view: View) -> str:
    """Returns the page of a run: everything that its view has."""
    return render("run.html", title=view.facts.title, styles=_STYLES, scripts=_SCRIPTS, view=view, data=_data(view))


def comparison(view: ComparisonView) -> str:
    """Returns the page of several runs beside each other."""
    return render("comparison.html", title=view.title, view=view)


def runs(view: RunsView) -> str:
    """Returns the page of the runs in a folder."""
    return render("runs.html", title=view.title, view=view)


def render(
    template: str,
    *,
    title: str,
    styles: Sequence[str] = (),
    scripts: Sequence[str] = (),
    form: str = "'none'",
    **values: Any,
) -> str:
    """Returns a page of its own from a template, with the style of all pages, and more styles and scripts by name.

    `form` is where its forms may be sent, as a content security policy says it: nowhere.
    """
    from markupsafe import Markup

    style, script = (Markup(_joined(names)) for names in (("page.css", *styles), scripts))
    own = {"policy": Markup(policy(styles, scripts, form)), "style": style, "script": script}
    return _environment().get_template(template).render(title=title, version=__version__, **own, **values)


def policy(styles: Sequence[str], scripts: Sequence[str], form: str = "'none'") -> str:
    """Returns the content security policy of a page with these styles and scripts."""
    parts = ["default-src 'none'", "img-src data:", "base-uri 'none'", f"form-action {form}"]
    parts.append(f"style-src 'sha256-{_digest(_joined(('page.css', *styles)))}'")
    if scripts:
        parts.append(f"script-src 'sha256-{_digest(_joined(scripts))}'")
    return "; ".join(parts)


def _joined(names: Sequence[str]) -> str:
    return "\n".join(map(_read, names))


def picture(chart: Chart, names: Sequence[tuple[str, str]]) -> str:
    """Returns a chart of bars as an SVG file of its own; `names` gives the bars of each row a name and a colour."""
    return _environment().get_template("picture.svg").render(chart=chart, names=names, top=chart.ticks[-1])


def embedded(data: Any) -> str:
    """Returns JSON that a script element can hold: no "<"."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text.encode("utf-8", "replace").decode("utf-8")


def _data(view: View) -> Any:
    from markupsafe import Markup

    return Markup(embedded({"browser": view.browser.as_dict()}))


@lru_cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "around": drawing.around,
        "kind": _kind,
        "lines": drawing.lines,
        "percent": drawing.percent,
        "points": drawing.points,
        "spark": drawing.spark,
        "tick": tick,
        "typeset": _typeset,
        "units": lambda x: f"{x:.1f}",
    }
    return environment


def _kind(block: Block) -> str:
    """Returns the name of the macro that draws a block."""
    kinds: dict[type, str] = {Table: "table", Chart: "chart", Grid: "grid", Choice: "choice"}
    return kinds[type(block)]


def _typeset(text: str) -> str:
    """Gives numbers a minus sign as long as their plus sign, and a value that does not exist a dash."""
    return "–" if text == "-" else _MINUS.sub("−", text)


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
