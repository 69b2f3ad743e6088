"""Templates that other people wrote: Jinja in its sandbox, with bounds on time and memory.

A template may put values in, choose between texts (`if`) and repeat them (`for`). It sees plain values only, assigns
and defines nothing, and so ends: loops are counted, and whatever multiplies text is refused or measured.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment, Template, nodes
    from jinja2.runtime import Context

ROW = "row"  # all values as one map, for names that are no word

MOST_NODES = 2_000  # a prompt of a hundred fields has about three hundred
MOST_LOOPS = 10_000  # of one rendering, loops in loops included
MOST_CHARS = 1_000_000  # of one rendering; no context is as long

# Those whose time and result are linear in what they are given. `join` and `replace` are measured.
_FILTERS = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "int", "items", "last",
    "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "round", "select", "selectattr",
    "sort", "string", "sum", "title", "trim", "truncate", "unique", "upper", "urlencode", "wordcount",
)  # fmt: skip
_METHODS = frozenset({
    "capitalize", "count", "endswith", "find", "get", "isdigit", "items", "keys", "lower", "lstrip", "removeprefix",
    "removesuffix", "rstrip", "split", "splitlines", "startswith", "strip", "title", "upper", "values",
})  # fmt: skip
_NODES = frozenset({
    "Template", "Output", "TemplateData", "For", "If", "Name", "Const", "Tuple", "List", "Dict", "Pair", "Keyword",
    "CondExpr", "Filter", "Test", "Call", "Getitem", "Getattr", "Slice", "Concat", "Compare", "Operand", "Add", "Sub",
    "Mul", "Div", "FloorDiv", "Mod", "Not", "Neg", "Pos", "And", "Or",
})  # fmt: skip
_WRITTEN = {"Assign": "set", "AssignBlock": "set", "CallBlock": "call", "FilterBlock": "filter", "FromImport": "from"}
_COUNTED = " counted"  # no template can write a name with a space
_BUDGET = " loops"


class BadTemplate(ValueError):
    """A template that cannot be read or rendered. `line` counts from 1 in the template; `name` is an unknown one."""

    def __init__(self, message: str, line: int = 1, name: str | None = None) -> None:
        super().__init__(message)
        self.message, self.line, self.name = message, line, name


class BoundedTemplate:
    """One template. BadTemplate where it cannot be read or uses what is not allowed.

    `names` are the names that it needs from outside, each with the line that uses it first; `row["a name"]` uses the
    name as well.

    >>> BoundedTemplate("Dear {{ name }}").render({"name": "{{ x }}"})
    'Dear {{ x }}'
    """

    def __init__(self, source: str) -> None:
        from jinja2 import TemplateSyntaxError, meta, nodes

        environment = _environment()
        try:
            tree = environment.parse(source)
            _check(tree)
            unknown = meta.find_undeclared_variables(tree) | {"range"}
            called = {id(call.node) for call in tree.find_all(nodes.Call)}  # `range`; a value cannot be called
            found = [name for name in tree.find_all(nodes.Name) if name.name in unknown and id(name) not in called]
            uses = [(name.name, name.lineno) for name in found]
            if ROW in unknown:
                uses += _of_row(tree)
            for loop in tree.find_all(nodes.For):
                loop.iter = nodes.Filter(loop.iter, _COUNTED, [], [], None, None, lineno=loop.lineno)
            self._template: Template = environment.from_string(tree)
        except TemplateSyntaxError as error:
            raise BadTemplate(error.message or "is no template", error.lineno) from None
        except RecursionError:
            raise BadTemplate("is nested too deeply") from None
        self.names: dict[str, int] = {}
        for name, line in uses:
            self.names[name] = min(line, self.names.get(name, line))

    def render(self, values: Mapping[str, Any]) -> str:
        """Returns the text with its values filled in: a value is inserted as it is, and never itself a template.

        BadTemplate where a name has no value, or a bound is exceeded.
        """
        from jinja2 import UndefinedError

        written: list[str] = []
        size = 0
        try:
            for piece in self._template.generate({**values, _BUDGET: _Budget()}):
                size += len(piece)
                if size > MOST_CHARS:
                    raise BadTemplate(f"makes more than {MOST_CHARS:,} characters")
                written.append(piece)
        except UndefinedError as error:
            message = error.message or "is undefined"
            name = message.split("'")[1] if message.endswith("' is undefined") else None
            raise BadTemplate(message, _line_of(error), name) from None
        except BadTemplate as error:
            raise BadTemplate(error.message, _line_of(error)) from None
        except Exception as error:  # a template may divide by zero, or call what is no text
            raise BadTemplate(f"fails: {type(error).__name__}: {error}", _line_of(error)) from None
        return "".join(written)


class _Budget:
    """The repetitions that one rendering has left."""

    def __init__(self) -> None:
        self.left = MOST_LOOPS

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise BadTemplate(f"loops more than {MOST_LOOPS:,} times")


def _check(tree: nodes.Template) -> None:
    """Raises BadTemplate for the first node that is not allowed."""
    from jinja2 import nodes

    waiting: list[nodes.Node] = [tree]
    seen = 0
    while waiting:
        node = waiting.pop()
        seen += 1
        kind = type(node).__name__
        if seen > MOST_NODES:
            raise BadTemplate(f"has more than {MOST_NODES:,} parts", node.lineno)
        if kind not in _NODES:
            word = _WRITTEN.get(kind, kind.lower())
            raise BadTemplate(f"`{word}` is not allowed: values, filters, `if` and `for` are", node.lineno)
        if isinstance(node, nodes.Name) and node.name == "self":  # the template itself, to Jinja
            raise BadTemplate("`self` is not allowed", node.lineno)
        if isinstance(node, nodes.For) and node.recursive:
            raise BadTemplate("a recursive loop is not allowed", node.lineno)
        if isinstance(node, nodes.Call) and not _may_be_called(node):
            raise BadTemplate("only `range` and plain methods of texts and maps can be called", node.lineno)
        waiting.extend(node.iter_child_nodes())


def _of_row(tree: nodes.Template) -> Iterator[tuple[str, int]]:
    """Yields what is used as `row.name` or `row["name"]`, each with its line."""
    from jinja2 import nodes

    def is_row(node: nodes.Node) -> bool:
        return isinstance(node, nodes.Name) and node.name == ROW

    for by_word in tree.find_all(nodes.Getattr):
        if is_row(by_word.node):
            yield by_word.attr, by_word.lineno
    for by_text in tree.find_all(nodes.Getitem):
        if is_row(by_text.node) and isinstance(by_text.arg, nodes.Const):
            yield str(by_text.arg.value), by_text.lineno


def _may_be_called(node: nodes.Call) -> bool:
    from jinja2 import nodes

    if node.dyn_args is not None or node.dyn_kwargs is not None:
        return False
    target = node.node
    return (isinstance(target, nodes.Getattr) and target.attr in _METHODS) or (
        isinstance(target, nodes.Name) and target.name == "range"
    )


def _line_of(error: BaseException) -> int:
    """Returns the line of the template that an error came from: Jinja writes it into the traceback."""
    line, trace = 1, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in ("<template>", "<unknown>"):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


@cache
def _environment() -> Environment:
    from jinja2 import StrictUndefined, pass_context
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Bounded(ImmutableSandboxedEnvironment):
        """The sandbox without operators that multiply text."""

        intercepted_binops = frozenset({"*", "%"})

        def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
            if not all(isinstance(value, int | float) for value in (left, right)):
                raise BadTemplate(f"`{operator}` is for numbers only")
            return super().call_binop(context, operator, left, right)

    @pass_context
    def counted(context: Context, items: Iterable[Any]) -> Iterator[Any]:
        budget = context[_BUDGET]
        for item in items:
            budget.spend()
            yield item

    environment = Bounded(undefined=StrictUndefined, autoescape=False)
    known = environment.filters
    environment.filters = {name: known[name] for name in _FILTERS} | {
        _COUNTED: counted, "join": _join, "replace": _replace, "tojson": _to_json,
    }  # fmt: skip
    environment.globals = {"range": environment.globals["range"]}
    return environment


def _join(items: Iterable[Any], between: str = "") -> str:
    """Joins texts, as Jinja's filter of that name does; BadTemplate where the result is too long."""
    texts = [str(item) for item in items]
    _measure(sum(map(len, texts)) + len(str(between)) * len(texts))
    return str(between).join(texts)


def _replace(text: str, old: str, new: str) -> str:
    """Replaces every `old`, as Jinja's filter of that name does; BadTemplate where the result is too long."""
    text, old, new = str(text), str(old), str(new)
    _measure(len(text) + text.count(old) * len(new))
    return text.replace(old, new)


def _to_json(value: Any) -> str:
    """Writes a value as JSON, as it would stand in a file: Jinja's own filter escapes `<`, `&` and quotes for HTML."""
    return json.dumps(value, ensure_ascii=False, default=str)


def _measure(chars: int) -> None:
    if chars > MOST_CHARS:
        raise BadTemplate(f"makes more than {MOST_CHARS:,} characters")
