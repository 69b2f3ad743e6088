"""A noisy channel as the part of a JSON object, in profiles and in tables of recognisers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from llmkit.parsing import JsonObject
from llmkit.perturb.channel import LENGTH_CLASSES, Channel


def channel_content(channel: Channel) -> JsonObject:
    """Returns the fields of a file that hold a channel."""
    return {
        "edit": dict(channel.rates),
        "rare": dict(channel.rare),
        "at": dict(channel.places),
        "more": [list(shares) for shares in channel.numbers],
        "pair": dict(channel.pairs),
        "site": dict(channel.sites),
        "abc": " ".join(channel.letters),
    }


def read_channel(content: Mapping[str, Any]) -> Channel:
    """Returns the channel of what `channel_content` wrote. ValueError, KeyError or TypeError if it is something
    else."""
    shares = [[number(share, 1) for share in row] for row in content["more"]]
    if len(shares) != LENGTH_CLASSES:
        raise ValueError("a table of lengths has another size")
    if not isinstance(content["abc"], str):
        raise ValueError("its letters are no text")
    return Channel(
        rates=numbers(content["edit"]),
        rare=numbers(content["rare"]),
        places=numbers(content["at"]),
        numbers=shares,
        pairs=numbers(content["pair"]),
        sites=numbers(content["site"]),
        letters=content["abc"].replace(" ", ""),
    )


def number(value: Any, most: float = math.inf) -> float:
    """Returns a number from 0 to `most`. ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise ValueError(f"{value!r} is not a number from 0 to {most}")
    return float(value)


def numbers(table: Mapping[str, Any], most: float = math.inf) -> dict[str, float]:
    """Returns a table of such numbers by their names."""
    return {str(name): number(value, most) for name, value in table.items()}
