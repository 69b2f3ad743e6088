"""One YAML text as a plain tree, with the line of every key. No pydantic, no files, no `extends`: see load.py."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

Path = tuple["str | int", ...]
"""Keys and list indices from the top of a recipe."""
Tree = dict[str, Any]
"""A map as YAML gives it: a recipe, or a section of one, before it is checked."""

# A recipe may come from elsewhere and is read before anybody has trusted it: both limits keep a hostile one from
# holding the process for minutes.
MAX_CHARS = 200_000  # a hundred times a long recipe; YAML is read at about 100,000 characters a second
MAX_NODES = 100_000  # aliases count each time they are used, so a small file cannot unfold into a huge one

_SCALARS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null")}


@dataclass(frozen=True, order=True)
class Origin:
    """The place that a value comes from: a file with its line, or a flag as it was typed."""

    rank: int
    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True, order=True)
class Fault:
    """One thing that is wrong, with its place and its key."""

    origin: Origin
    key: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (str(self.origin), self.key, self.message) if part)


@dataclass
class Document:
    """The content of one text: its tree, the place of each value, and the faults in it."""

    tree: Any = None
    origins: dict[Path, Origin] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def dotted(path: Path) -> str:
    """Returns a path as users write it: `("eval", "gates", 0)` is `eval.gates.0`."""
    return ".".join(map(str, path))


def parse(text: str, source: str, rank: int = 0) -> Document:
    """Reads YAML 1.2 without tags, merge keys or duplicate keys. `rank` orders the origins of several texts."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    document = Document()
    # The pure reader is slower than the one in C, and the only one for YAML 1.2, where `no` is a text.
    yaml = YAML(typ="safe", pure=True)
    if len(text) > MAX_CHARS:
        document.faults.append(Fault(Origin(rank, source), "", f"is not a recipe: {len(text):,} characters"))
        return document
    try:
        node = yaml.compose(text)
        if node is not None:  # None is an empty text, which is a recipe too
            document.tree = _Reader(yaml, document, source, rank).read(node, ())
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(p for p in (error.context, error.problem) if p)
        if "'\\t'" in problem:
            problem += " (indent with spaces, not tabs)"
        document.faults.append(Fault(Origin(rank, source, mark.line + 1 if mark else None), "", problem))
    except YAMLError as error:
        document.faults.append(Fault(Origin(rank, source), "", " ".join(str(error).split())))
    except RecursionError:
        document.faults.append(Fault(Origin(rank, source), "", "is nested too deeply, or contains itself"))
    return document


class _Reader:
    """Walks the nodes of one YAML text into plain values."""

    def __init__(self, yaml: Any, document: Document, source: str, rank: int) -> None:
        self.yaml = yaml
        self.document = document
        self.source = source
        self.rank = rank
        self.nodes = 0

    def read(self, node: Any, path: Path) -> Any:
        """Returns the plain value of a node, and notes where it stands and what is wrong in it."""
        from ruamel.yaml.error import MarkedYAMLError
        from ruamel.yaml.nodes import MappingNode, SequenceNode

        # Counted here and not where nodes are composed: an alias is composed once and read wherever it is used.
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise MarkedYAMLError(problem="the aliases unfold into too many values", problem_mark=node.start_mark)
        # The line of a key, where there is one, was noted by `mapping`: it is nearer to what a user looks for.
        self.document.origins.setdefault(path, self.at(node))
        tag = str(node.tag)
        if isinstance(node, MappingNode) and tag == "tag:yaml.org,2002:map":
            return self.mapping(node, path)
        if isinstance(node, SequenceNode) and tag == "tag:yaml.org,2002:seq":
            return [self.read(item, (*path, i)) for i, item in enumerate(node.value)]
        if tag == "tag:yaml.org,2002:timestamp":  # a date is a string here: JSON knows no dates
            return node.value
        if tag not in _SCALARS or isinstance(node, MappingNode | SequenceNode):
            return self.fault(node, path, f"the tag `{tag.replace('tag:yaml.org,2002:', '!!')}` is not allowed")
        try:
            value = self.yaml.constructor.construct_object(node)
        except ValueError as error:
            return self.fault(node, path, str(error))
        if isinstance(value, float) and not math.isfinite(value):  # JSON, through which values are checked, has none
            return self.fault(node, path, f"should be a finite number, not {node.value}")
        return value

    def mapping(self, node: Any, path: Path) -> Tree:
        """Returns a map of the values whose keys are words; every other key is a fault."""
        tree: Tree = {}
        for key_node, value_node in node.value:
            key, tag = key_node.value, str(key_node.tag)
            if tag == "tag:yaml.org,2002:merge":
                self.fault(key_node, path, "merge keys (`<<`) are not read: use `extends`")
            elif tag != "tag:yaml.org,2002:str":
                self.fault(key_node, path, f"the key `{key if isinstance(key, str) else '?'}` should be a word")
            elif key in tree:
                first = self.document.origins[*path, key].line
                self.fault(key_node, (*path, key), f"appears twice (first in line {first})")
            else:
                self.document.origins[*path, key] = self.at(key_node)
                tree[key] = self.read(value_node, (*path, key))
        return tree

    def at(self, node: Any) -> Origin:
        """Returns where a node stands. Users count lines from 1, ruamel.yaml from 0."""
        return Origin(self.rank, self.source, node.start_mark.line + 1)

    def fault(self, node: Any, path: Path, message: str) -> None:
        """Notes a fault and goes on, so that all are found in one reading."""
        self.document.faults.append(Fault(self.at(node), dotted(path), message))
