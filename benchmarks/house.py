"""Counts what the style of this project asks for: per room and in all, with the targets that a test holds.

    python benchmarks/house.py [--list MEASURE] [--json] [FOLDER]

FOLDER is a checkout (by default this one), so that two states can be compared. The measures:

comments        blocks of comments of at least six words, per 100 lines of code. Lines of code are those that are
                neither empty nor docstring nor only comment. Shorter comments name a unit, a shape or a section and
                rarely give a reason; docstrings do not count. Lines that follow each other are one block.
locals          mean length, in letters, of the names that a function assigns and of its parameters, each counted once
                per function; `self`, `cls` and `_` do not count
returned dicts  functions whose result is annotated with `dict[str, Any]`, also inside another type
dicts           `dict[str, Any]` in any annotation: parameters, fields and variables too
noun clauses    docstrings of functions that begin with a clause (`What ...`, `Whether ...`, `How often ...`, `By what
                ...`) instead of a verb in the third person; properties are values and do not count
no verb         docstrings of functions that begin with anything but a verb in the third person: noun clauses and noun
                phrases (`The folder of ...`). Commands of the command line do not count: their help is imperative.
engine branches comparisons with the name of an engine (`== "openai"`)
long files      files of Python or of the page's script with more than 400 lines
long script     lines of the page's script with more than 160 characters
circles         groups of modules that import each other, at whatever depth the import statement is
long paragraphs paragraphs and list items of docs/*.md and README.md with more than 600 characters; code and tables do
                not count
lines           lines of Python, with docstrings and empty lines
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ENGINES = {"openai", "vllm", "transformers"}
CLAUSE = re.compile(
    r"(?:(?:by|at|of|in|from|on|for|with|to)\s+)?(what|whether|where|how|why|who|which|when|that)\b", re.I
)
# First words that end in "s" and are no verbs; then those that are verbs unless a preposition follows.
NO_VERBS = """
adapters arms as bars bounds bytes cells clauses columns commands conditions cutoffs digits errors facts figures files
folders formulas gaps insertions instructions intervals its items latents less letters libraries lines log-probabilities
losses matrices messages metrics options pairs paths points prompts questions replies requests rows s seconds sentences
sequences settings sizes spans specs texts this tokens trials urls values variants versions weights words
"""
EITHER = re.compile(
    r"(?:Answers|Calls|Counts|Edits|Gates|Hooks|Keys|Labels|Names|Numbers|Scales|Sums) (?:of|by|that|in|for)\b"
)
COMMENT_WORDS, FILE_LINES, SCRIPT_WIDTH, PARAGRAPH = 6, 400, 160, 600
MEASURES = (
    *("comments", "returned dicts", "dicts", "noun clauses", "no verb", "engine branches", "long files", "long script"),
    *("circles", "long paragraphs"),
)
"""What is counted place by place; the last two belong to no room."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Room:
    """The counts of one room, or of all."""

    lines: int = 0
    code: int = 0
    locals: list[int] = field(default_factory=list)
    places: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Measure -> each place that was counted, as `file:line text`."""

    def add(self, other: Room) -> None:
        """Adds the counts of another room."""
        self.lines += other.lines
        self.code += other.code
        self.locals += other.locals
        for measure, places in other.places.items():
            self.places[measure] += places

    def figures(self) -> dict[str, float]:
        """Returns every measure by name."""
        return {
            "lines": self.lines,
            "comments": round(100 * len(self.places["comments"]) / max(1, self.code), 2),
            "locals": round(sum(self.locals) / max(1, len(self.locals)), 2),
            **{name: len(self.places[name]) for name in MEASURES[1:-2]},
        }


def count(root: Path = ROOT) -> tuple[dict[str, Room], Room]:
    """Counts all rooms of the checkout `root`: those of each room, and all together with circles and paragraphs."""
    rooms: dict[str, Room] = defaultdict(Room)
    package = root / "llmkit"
    for path in sorted(package.rglob("*")):
        if path.suffix in (".py", ".js"):
            inside = path.relative_to(package).parts
            room = rooms[inside[0] if len(inside) > 1 else "(top)"]
            read = read_python if path.suffix == ".py" else read_script
            read(path, str(path.relative_to(root)), room)
    total = Room()
    for room in rooms.values():
        total.add(room)
    total.places["circles"] = [" <-> ".join(circle) for circle in circles(package)]
    total.places["long paragraphs"] = list(long_paragraphs(root))
    return dict(rooms), total


def read_python(path: Path, name: str, room: Room) -> None:
    """Adds the counts of one file of Python."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    lines = source.splitlines()
    room.lines += len(lines)
    if len(lines) > FILE_LINES:
        room.places["long files"].append(f"{name} {len(lines)} lines")
    no_code = _docstring_lines(tree)
    for start, text, alone in _comments(source):
        if alone:
            no_code.update(range(start, start + text.count("\n") + 1))
        if len(text.replace("#", " ").split()) >= COMMENT_WORDS:
            room.places["comments"].append(f"{name}:{start} {' '.join(text.split())}")
    room.code += sum(bool(line.strip()) and i not in no_code for i, line in enumerate(lines, 1))
    for node in ast.walk(tree):
        if isinstance(node, Function):
            _read_function(node, name, room)
        elif isinstance(node, ast.AnnAssign) and _holds_dict(node.annotation):
            room.places["dicts"].append(f"{name}:{node.lineno} {ast.unparse(node.target)}")
        elif isinstance(node, ast.Compare) and _names_engine(node):
            room.places["engine branches"].append(f"{name}:{node.lineno} {ast.unparse(node)}")


def read_script(path: Path, name: str, room: Room) -> None:
    """Adds the counts of one script of the page."""
    lines = path.read_text(encoding="utf-8").splitlines()
    if len(lines) > FILE_LINES:
        room.places["long files"].append(f"{name} {len(lines)} lines")
    long = [f"{name}:{i} {len(line)} characters" for i, line in enumerate(lines, 1) if len(line) > SCRIPT_WIDTH]
    room.places["long script"] += long


def _read_function(node: Function, name: str, room: Room) -> None:
    parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    stored = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    names = stored | {parameter.arg for parameter in parameters}
    room.locals += [len(local) for local in names - {"self", "cls", "_"}]
    place = f"{name}:{node.lineno} {node.name}"
    if _holds_dict(node.returns):
        room.places["returned dicts"].append(place)
        room.places["dicts"].append(place)
    room.places["dicts"] += [f"{place}({p.arg})" for p in parameters if _holds_dict(p.annotation)]
    decorators = " ".join(ast.unparse(decorator) for decorator in node.decorator_list)
    text = ast.get_docstring(node)
    if text and "property" not in decorators:
        first = f"{place}: {text.splitlines()[0]}"
        if CLAUSE.match(text):
            room.places["noun clauses"].append(first)
        if not begins_with_verb(text) and "command(" not in decorators and "callback(" not in decorators:
            room.places["no verb"].append(first)


def begins_with_verb(text: str) -> bool:
    """Returns whether a docstring begins with a verb in the third person: a word in "s" that is no plural noun."""
    first = text.split()[0].strip(",.;:")
    if not re.fullmatch(r"[A-Z][a-z]*(?:-[a-z]+)?s", first) or EITHER.match(text):
        return False
    return first.lower() not in NO_VERBS.split()


def _comments(source: str) -> Iterator[tuple[int, str, bool]]:
    """Yields (first line, text, whether it has its lines to itself) of each block; remarks to tools are left out."""
    block: list[str] = []
    start = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT or re.match(r"#\s*(noqa|type:|fmt:|pragma|!)", token.string):
            continue
        alone = token.line.lstrip().startswith("#")
        if block and not (alone and token.start[0] == start + len(block)):
            yield start, "\n".join(block), True
            block = []
        if not alone:
            yield token.start[0], token.string, False
            continue
        start = start if block else token.start[0]
        block.append(token.string)
    if block:
        yield start, "\n".join(block), True


def _docstring_lines(tree: ast.Module) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | Function) and ast.get_docstring(node) is not None:
            lines.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return lines


def _holds_dict(annotation: ast.expr | None) -> bool:
    return annotation is not None and "dict[str, Any]" in ast.unparse(annotation)


def _names_engine(node: ast.Compare) -> bool:
    if not isinstance(node.ops[0], ast.Eq | ast.NotEq | ast.In | ast.NotIn):
        return False
    constants = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
    return any(isinstance(value, str) and value in ENGINES for value in constants)


def circles(package: Path) -> list[list[str]]:
    """Returns the groups of modules of `package` that reach each other by imports, imports in functions included.

    An import for annotations alone (`if TYPE_CHECKING`) counts too. That a module's package is imported before it does
    not: Python does that by itself.
    """
    modules = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package.parent).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    imported = {name: _imports(path, set(modules)) - {name} for name, path in modules.items()}
    reached = {name: _reached(name, imported) for name in modules}
    groups = {frozenset({name, *(o for o in reached[name] if name in reached[o])}) for name in modules}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def _imports(path: Path, modules: set[str]) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= (whole & modules) or {node.module}
    return names & modules


def _reached(name: str, imported: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = [name]
    while waiting:
        for other in imported[waiting.pop()] - reached:
            reached.add(other)
            waiting.append(other)
    return reached


def long_paragraphs(root: Path) -> Iterator[str]:
    """Yields the paragraphs and list items of the docs that are too long."""
    for path in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
        for line, text in paragraphs(path.read_text(encoding="utf-8")):
            if len(text) > PARAGRAPH:
                yield f"{path.relative_to(root)}:{line} {len(text)} characters: {text[:60]}"


def paragraphs(markdown: str) -> Iterator[tuple[int, str]]:
    """Yields (line, text) of each paragraph and list item, without code, tables, headings and comments."""
    block: list[str] = []
    start = 0
    fenced = False
    for i, quoted in enumerate([*markdown.splitlines(), ""], 1):
        line = re.sub(r"^> ?", "", quoted)
        fence = line.lstrip().startswith("```")
        item = re.match(r"\s*(?:[-*]|\d+\.)\s", line)
        ends = fence or fenced or item or not line.strip() or line.startswith(("#", "|", "<"))
        if ends and block:
            yield start, " ".join(block)
            block = []
        fenced ^= fence
        if not (fenced or fence) and line.strip() and not line.startswith(("#", "|", "<")):
            start = start if block else i
            block.append(line.strip())


def table(rooms: dict[str, Room], total: Room) -> str:
    """Returns the counts as text: a line for each room, one for all, and those that belong to no room."""
    rows = {**{name: room.figures() for name, room in sorted(rooms.items())}, "all": total.figures()}
    heads = list(rows["all"])
    widths = [max(len(head), 6) for head in heads]
    lines = [" " * 12 + "  ".join(head.rjust(width) for head, width in zip(heads, widths, strict=True))]
    for name, figures in rows.items():
        cells = (f"{figures[head]:g}".rjust(width) for head, width in zip(heads, widths, strict=True))
        lines.append(f"{name:12}" + "  ".join(cells))
    lines += [f"{measure}: {len(total.places[measure])}" for measure in MEASURES[-2:]]
    return "\n".join(lines)


def as_json(rooms: dict[str, Room], total: Room) -> dict[str, Any]:
    """Returns the counts by room, those of all under `all`."""
    more = {measure: len(total.places[measure]) for measure in MEASURES[-2:]}
    return {name: room.figures() for name, room in sorted(rooms.items())} | {"all": total.figures() | more}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT)
    parser.add_argument("--list", metavar="MEASURE", help="print each place that a measure counts")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rooms, total = count(given.folder.resolve())
    if given.list:
        if given.list not in MEASURES:
            parser.error(f"nothing is counted as {given.list!r}; there are: {', '.join(MEASURES)}")
        print(*total.places[given.list], sep="\n")
    else:
        print(json.dumps(as_json(rooms, total), indent=1) if given.json else table(rooms, total))


if __name__ == "__main__":
    main()
