"""The weighted patterns: loaded from YAML, checked, compiled, and extended by a user's own."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.errors import ConfigError
from common.quality_config import Task
from router.classify.gate import Gates, gate_of
from router.classify.learned import Table, default_table
from router.classify.signals import SIGNALS
from router.classify.spelling import Spelling
from router.classify.view import SCRIPTS, Script
from router.classify.vocabulary import words_of

PATTERNS_FILE = Path(__file__).with_name("patterns.yaml")

_GATE_WIDTH: Mapping[Script, int] = {"en": 4, "ko": 2, "any": 2}
_WORD = re.compile(r"(?<!\?P)<([a-z_]+)>")
# In none of these, nor between its letters, may a pattern find nothing and call it a match.
_PROBE = "a 1, b.\n가 나"
Weight = Annotated[float, Field(ge=-10, le=10)]


@dataclass(frozen=True)
class Pattern:
    """One sign of a task. Without an expression its signals alone speak."""

    name: str
    task: Task
    weight: float
    script: Script = "any"
    expression: re.Pattern[str] | None = None
    gate: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    forbids: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class Rules:
    """`calibration`: (lead over the next task, how often such a verdict was right), rising."""

    patterns: tuple[Pattern, ...]
    base: Mapping[Task, float]
    calibration: tuple[tuple[float, float], ...]
    words: Mapping[str, str] = field(default_factory=dict)
    spelling: frozenset[str] = frozenset()
    learned: Table | None = None

    @cached_property
    def slips(self) -> Spelling:
        return Spelling.of(
            self.spelling, self._words_in("en", "a-z"), self._words_in("ko", "가-힣")
        )

    def _words_in(self, script: Script, letters: str) -> frozenset[str]:
        expressions = (
            p.expression.pattern for p in self.patterns if p.expression and p.script == script
        )
        return frozenset().union(*(words_of(each, letters) for each in expressions))

    @cached_property
    def gates(self) -> Mapping[Script, Gates]:
        return {
            script: Gates.of((t for p in self.patterns if p.script == script for t in p.gate), n)
            for script, n in _GATE_WIDTH.items()
        }

    @cached_property
    def behind(self) -> Mapping[tuple[Script, str], Sequence[int]]:
        """By a gate's text, the patterns' places that it opens; under "" those without a gate."""
        places: dict[tuple[Script, str], list[int]] = defaultdict(list)
        for at, pattern in enumerate(self.patterns):
            for text in pattern.gate or ("",):
                places[pattern.script, text].append(at)
        return places

    def extended(self, mapping: Mapping[str, Any], source: str = "config") -> Rules:
        """With a user's patterns added. One of a known name replaces that; weight 0 is off.

        Raises ConfigError, like loading.
        """
        written = _validated(_Written, mapping, source)
        words = {**self.words, **written.words}
        added = _compiled(written, words, source)
        names = {entry.name for entries in written.tasks.values() for entry in entries}
        return replace(
            self.replacing(names, added),
            base={**self.base, **written.base},
            calibration=_points(written, source) or self.calibration,
            words=words,
            spelling=self.spelling | frozenset(written.spelling.split()),
        )

    def replacing(self, names: Collection[str], added: Iterable[Pattern]) -> Rules:
        """Without the patterns of these names, and with others in their place."""
        kept = tuple(pattern for pattern in self.patterns if pattern.name not in names)
        return replace(self, patterns=kept + tuple(p for p in added if p.weight))


class Entry(Protocol):
    """A pattern as it is written, in patterns.yaml or in a user's config."""

    @property
    def name(self) -> str: ...
    @property
    def weight(self) -> float: ...
    @property
    def en(self) -> str | None: ...
    @property
    def ko(self) -> str | None: ...
    @property
    def any(self) -> str | None: ...
    @property
    def when(self) -> Sequence[str]: ...


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _WrittenPattern(_Strict):
    name: Annotated[str, Field(min_length=1)]
    weight: Weight
    en: str | None = None
    ko: str | None = None
    any: str | None = None
    when: list[str] = []


class _Calibration(_Strict):
    found: str
    points: Annotated[list[tuple[float, float]], Field(min_length=2)]


class _Written(_Strict):
    version: Literal[1] = 1
    words: dict[str, str] = {}
    spelling: str = ""
    base: dict[Task, Weight] = {}
    calibration: _Calibration | None = None
    tasks: dict[Task, list[_WrittenPattern]] = {}


@cache
def default_rules() -> Rules:
    return replace(load(PATTERNS_FILE), learned=default_table())


def load(path: Path) -> Rules:
    """Raises ConfigError that names the file, the pattern and what is wrong."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: must be a mapping with keys {', '.join(_Written.model_fields)}")
    rules = Rules((), {}, ()).extended(data, str(path))
    if not rules.calibration:
        raise ConfigError(f"{path}: calibration is missing")
    return rules


def _validated(model: type[_Written], mapping: Mapping[str, Any], source: str) -> _Written:
    try:
        return model.model_validate(mapping)
    except ValidationError as error:
        lines = [
            f"{source}: {_place(problem['loc'], mapping)}: {problem['msg']}"
            for problem in error.errors(include_url=False)
        ]
        raise ConfigError("\n".join(lines)) from None


def _place(location: Sequence[str | int], mapping: Any) -> str:
    """`tasks.code: pattern 'names a language': weight`, with the name instead of a number."""
    words: list[str] = []
    at: Any = mapping
    for part in location:
        try:
            at = at[part]
        except (KeyError, IndexError, TypeError):
            at = None
        if isinstance(part, int) and isinstance(at, dict):
            words.append(f"pattern {at.get('name', part)!r}")
        else:
            words.append(str(part))
    return ": ".join(words)


def _points(written: _Written, source: str) -> tuple[tuple[float, float], ...]:
    points = tuple(written.calibration.points) if written.calibration else ()
    rising = all(a < c and b <= d for (a, b), (c, d) in pairwise(points))
    if not rising or not all(0 <= share <= 1 for _, share in points):
        raise ConfigError(
            f"{source}: calibration: points: must rise, with shares from 0 to 1, not {points}"
        )
    return points


def _compiled(written: _Written, words: Mapping[str, str], source: str) -> tuple[Pattern, ...]:
    patterns: list[Pattern] = []
    names: set[str] = set()
    for task, entries in written.tasks.items():
        for entry in entries:
            place = f"{source}: tasks: {task}: pattern {entry.name!r}"
            if entry.name in names:
                raise ConfigError(f"{place}: the name stands twice")
            names.add(entry.name)
            patterns.extend(variants(entry, task, words, f"{place}: "))
    return tuple(patterns)


def variants(
    entry: Entry, task: Task, words: Mapping[str, str], place: str = ""
) -> Iterator[Pattern]:
    """A pattern for each script that the entry is written for.

    Raises ConfigError, which begins with `place` and the key that is wrong. An entry of weight 0
    only turns another one off, and needs nothing but its name.
    """
    needs, forbids = _conditions(entry.when, place)
    written = {script: text for script in SCRIPTS if (text := getattr(entry, script))}
    if not written and not needs:
        if not entry.weight:
            return
        raise ConfigError(f"{place}needs one of {', '.join(SCRIPTS)}, or `when`")
    bare = Pattern(entry.name, task, entry.weight, needs=needs, forbids=forbids)
    for script, text in written.items():
        expression = _expression(text, words, f"{place}{script}: ")
        gate = gate_of(expression.pattern)
        yield replace(bare, script=script, expression=expression, gate=gate)
    if not written:
        yield bare


def _conditions(when: Sequence[str], place: str) -> tuple[frozenset[str], frozenset[str]]:
    unknown = sorted({name.removeprefix("-") for name in when} - set(SIGNALS))
    if unknown:
        raise ConfigError(
            f"{place}when: unknown signal {', '.join(unknown)} (allowed: {', '.join(SIGNALS)}, "
            "each with `-` before it for its absence)"
        )
    absent = frozenset(name[1:] for name in when if name.startswith("-"))
    return frozenset(name for name in when if not name.startswith("-")), absent


def _expression(text: str, words: Mapping[str, str], place: str) -> re.Pattern[str]:
    def put_in(match: re.Match[str]) -> str:
        if match[1] not in words:
            raise ConfigError(
                f"{place}unknown word list <{match[1]}> (there are: {', '.join(words)})"
            )
        return f"(?:{words[match[1]]})"

    try:
        expression = re.compile(_WORD.sub(put_in, text), re.MULTILINE)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(f"{place}not a regular expression: {error}") from None
    if expression.match("") or not all(match[0] for match in expression.finditer(_PROBE)):
        raise ConfigError(f"{place}matches the empty text, and so everything")
    return expression
