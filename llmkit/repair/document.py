"""`repair.json`: a repair that can be deployed, with everything that it depends on and what is known of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class Knots(_Part):
    """A detector with its scores on clean text (`llmkit.repair.gate.Scale`)."""

    detector: str
    knots: tuple[tuple[float, float], ...]


class GateFile(_Part):
    """The gate. A text is repaired where its rarity among clean texts reaches `threshold`, in powers of ten."""

    scales: tuple[Knots, ...]
    threshold: float


class Guarantee(_Part):
    """The bound on harm that the calibration proved, and how (Angelopoulos et al. 2021, arXiv 2110.01052)."""

    harm: float
    """The limit: the share of clean texts that are harmed is at most this."""
    confidence: float
    """The probability with which such a calibration is right."""
    definition: Literal["changed", "worse", "changed_of_all"]
    """`changed`: the answer to a text that the user vouches for as clean changes. `worse`: a label says that the answer
    got worse. `changed_of_all`: any answer of the log changes."""
    rows: int
    """Rows of the calibration, one for each cluster."""
    fired: int
    harmed: int
    upper: float
    """The one-sided upper end of the harm, at `confidence`."""
    reported_rows: int = 0
    reported_fired: int = 0
    reported_harmed: int = 0
    """The same on rows that took no part in any choice."""
    date: str


class Traffic(_Part):
    """The traffic of the calibration, with which live traffic is compared (`llmkit.repair.drift.Drift`)."""

    edges: tuple[float, ...]
    """Rarities, in rising order, that part the texts into classes: below the first, from it on, and so forth."""
    counts: tuple[int, ...]
    """Texts of each class, one more than there are edges. They took no part in fitting the detectors' scales."""


class AskedModel(_Part):
    """The model whose answers the guarantee is about."""

    model: str
    revision: str | None = None
    adapter: str | None = None
    tokenizer: str | None = None


class Effect(_Part):
    """One measured figure with its interval: gained, lost, touched or spent under a condition."""

    measure: str
    condition: str
    value: float
    low: float | None = None
    high: float | None = None
    rows: int = 0


class RepairFile(_Part):
    """The content of `repair.json`."""

    version: Literal[1] = 1
    chain: str
    """Correctors joined by `+`, such as `fold+spell`."""
    lang: str = "en"
    instruction: str = ""
    """The correction instruction of `model` and `vote`."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    """The origin of the instruction: run, search, score."""
    shots: tuple[tuple[str, str], ...] = ()
    max_tokens: int = 256
    gate: GateFile | None = None
    """None: every text is repaired."""
    where: str | None = None
    """A regular expression with a group `text`: the user's part of a templated turn."""
    guarantee: Guarantee | None = None
    traffic: Traffic | None = None
    """None: drift of live traffic cannot be noticed."""
    model: AskedModel | None = None
    effects: tuple[Effect, ...] = ()
    digest: str = ""
    """Of all that decides on a text: chain, instruction, gate, `where`, and the tables behind the correctors."""


def read(path: str | Path) -> RepairFile:
    """Reads a repair.json."""
    return RepairFile.model_validate_json(Path(path).read_text(encoding="utf-8"), strict=False)
