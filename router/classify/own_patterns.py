"""A user's patterns from `router.patterns`, on top of those that ship."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from common.config import Config
from common.errors import ConfigError
from common.quality_config import TASKS, PatternConfig
from router.classify.rules import Pattern, Rules, default_rules, variants

_KEYS = ("en", "ko", "any", "when")
Problem = tuple[tuple[str | int, ...], str]  # where in the config, and what is wrong there


def rules_of(config: Config) -> Rules:
    """Raises ConfigError for a pattern that cannot be used."""
    own = config.router.patterns
    if not own:
        return default_rules()
    for at, text in problems(config):
        raise ConfigError(f"{_dotted(at)}: {text}")
    rules = default_rules()
    added = [pattern for entry in own for pattern in _made(entry, rules)]
    return rules.replacing({entry.name for entry in own}, added)


def problems(config: Config) -> Iterator[Problem]:
    """What is wrong with the user's patterns: to be passed to `config_file.load` as a check."""
    own = config.router.patterns
    for i, entry in enumerate(own):
        at = ("router", "patterns", i)
        for key, text in _wrong(entry, own[:i]):
            yield (*at, key) if key else at, text


def _wrong(entry: PatternConfig, before: Sequence[PatternConfig]) -> Iterator[tuple[str, str]]:
    rules = default_rules()
    if any(other.name == entry.name for other in before):
        yield "name", f"{entry.name!r} stands twice"
    if entry.task is None and (entry.weight or _says(entry)):
        yield "", f"task is missing (one of: {', '.join(TASKS)})"
    names = {pattern.name: None for pattern in rules.patterns}
    if not entry.weight and not _says(entry) and entry.name not in names:
        near = difflib.get_close_matches(entry.name, names, n=3)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        yield "name", f"there is no pattern {entry.name!r} to turn off{hint}"
    try:
        _made(entry, rules)
    except ConfigError as error:
        key, _, text = error.message.partition(": ")
        yield (key, text) if key in _KEYS else ("", error.message)


def _says(entry: PatternConfig) -> bool:
    return any(getattr(entry, key) for key in _KEYS)


def _made(entry: PatternConfig, rules: Rules) -> list[Pattern]:
    return list(variants(entry, entry.task or TASKS[0], rules.words))


def _dotted(at: Sequence[str | int]) -> str:
    section, key, i, *rest = at
    return ".".join([f"{section}.{key}[{i}]", *map(str, rest)])
