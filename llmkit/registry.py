"""Named things that users choose by name: operators, tasks, arms, engines. Packages add more by entry points."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import ClassVar, Generic, Protocol, TypeVar, cast

from llmkit.errors import UsageError

T = TypeVar("T")


class _Named(Protocol):
    name: ClassVar[str]


C = TypeVar("C", bound=type[_Named])


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """Returns at most three of `names` that look like `name`, best first."""
    name_by_lower = {candidate.lower(): candidate for candidate in names}
    return [name_by_lower[match] for match in difflib.get_close_matches(name.lower(), name_by_lower, n=3, cutoff=0.5)]


def unknown(kind_of_thing: str, name: str, names: Iterable[str]) -> UsageError:
    """Creates the error for a name that does not exist, with the nearest valid ones."""
    names = sorted(names)
    close_names = nearest(name, names)
    hint = (
        f"did you mean {' or '.join(f'`{n}`' for n in close_names)}?" if close_names else f"known: {', '.join(names)}"
    )
    return UsageError(f"unknown {kind_of_thing} `{name}`", hint)


class Registry(Generic[T]):
    """Names to things. `group` is the entry-point group from which installed packages add theirs; `own` are modules of
    llmkit that register things when they are imported, which the first look-up does."""

    def __init__(self, noun: str, group: str, own: Iterable[str] = ()) -> None:
        self.noun = noun
        self.group = group
        self._own = tuple(own)
        self._items: dict[str, T] = {}
        self._asked_packages = False

    def add(self, name: str) -> Callable[[T], T]:
        """Registers a class or function. Run again, as a notebook's cell is, it takes its own place."""

        def register(item: T) -> T:
            if name in self._items and _origin(self._items[name]) != _origin(item):
                raise ValueError(f"{self.noun} `{name}` is registered twice")
            self._items[name] = item
            return item

        return register

    def named(self, name: str) -> Callable[[C], C]:
        """Registers a class under `name`, which its attribute `name` then holds."""

        def register(cls: C) -> C:
            cls.name = name
            self.add(name)(cast(T, cls))
            return cls

        return register

    def __getitem__(self, name: str) -> T:
        if name not in self:
            raise unknown(self.noun, name, self._items)
        return self._items[name]

    def __contains__(self, name: str) -> bool:
        self._import_own()
        if name not in self._items:  # no package can replace a name, and asking them takes tens of milliseconds
            self._ask_packages()
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        self._import_own()
        self._ask_packages()
        return iter(list(self._items))

    def _import_own(self) -> None:
        modules, self._own = self._own, ()  # before the imports, which may look something up
        if not modules:
            return
        for module in modules:
            import_module(module)
        # Whatever was imported before by itself, the order is that of the modules.
        places = {module: place for place, module in enumerate(modules)}
        items = sorted(self._items.items(), key=lambda item: places.get(_origin(item[1])[0], -1))
        self._items.clear()  # the same dictionary, because a test may stand in for it for a while
        self._items.update(items)

    def _ask_packages(self) -> None:
        if self._asked_packages:
            return
        self._asked_packages = True
        from importlib.metadata import entry_points

        for entry_point in entry_points(group=self.group):
            if entry_point.name not in self._items:
                self._items[entry_point.name] = entry_point.load()


def _origin(item: object) -> tuple[str, str]:
    return getattr(item, "__module__", ""), getattr(item, "__qualname__", repr(item))
