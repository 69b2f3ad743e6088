"""`llmkit env`."""

from __future__ import annotations

from llmkit.cli.common import Json, print_json


def env(as_json: Json = False) -> None:
    """Show versions and hardware, for a bug report: no names, paths or keys."""
    from llmkit.runs import environment

    facts = environment()
    if as_json:
        print_json(facts)
        return
    for key, value in facts.items():
        if isinstance(value, dict):
            print(key)
            for name, inner in value.items():
                print(f"  {name:<14}{_line(inner)}")
        else:
            print(f"{key:<16}{_line(value)}")


def _line(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "unknown" if value is None else str(value)
