"""Reads the config: command line > ROUNDHOUSE_* environment > file > defaults.

Whatever is wrong becomes one ConfigError that names file, line, key, value and what is allowed.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError, create_model
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from common.config import Config
from common.errors import ConfigError

ENV_PREFIX = "ROUNDHOUSE_"
_ENV_REFERENCE = re.compile(r"\$\{env\.([A-Za-z_][A-Za-z0-9_]*)\}")
_BRANCH = re.compile(r"(literal|tuple|function|constrained|str|int|float|bool|PlacementConfig)\b")
_KEY_TAGS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")
Location = tuple[str | int, ...]
# What only a folder above this one can judge: where something is wrong, and what.
Check = Callable[[Config], Iterable[tuple[Location, str]]]


class _Loader(yaml.SafeLoader):
    """Of truth values only `true` and `false` are known, as in YAML 1.2: `on` is a key of ours."""


_BOOL = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [each for each in resolvers if each[0] != _BOOL or first in "tTfF"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True)
class Document:
    """A YAML file as data, with the line on which every key's value stands."""

    name: str
    data: dict[str, Any]
    lines: Mapping[Location, int]


def load(
    path: Path | None, overrides: Mapping[str, Any] | None = None, checks: Sequence[Check] = ()
) -> Config:
    """The config from a file (or none), the environment and command line values.

    Raises ConfigError. `overrides` is nested like the file and wins over everything.
    """
    document = read_document(path) if path else Document("command line", {}, {})
    environment, flags = environment_values(), dict(overrides or {})
    try:
        config = Config.model_validate(merge(document.data, environment, flags))
    except ValidationError as error:
        raise ConfigError(describe(error, document, environment, flags)) from None
    wrong = [
        f"{_source(at, document, environment, flags)}: {_dotted(at)}: {text}"
        for check in checks
        for at, text in check(config)
    ]
    if wrong:
        raise ConfigError("\n".join(wrong))
    return config


def read_document(path: Path) -> Document:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    return parse_document(text, str(path))


def parse_document(text: str, name: str) -> Document:
    try:
        node = yaml.compose(text, Loader=_Loader)
        data = yaml.load(text, Loader=_Loader)  # noqa: S506  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{name}:{line}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: not valid YAML: {str(error).splitlines()[0]}") from None
    lines: dict[Location, int] = {}
    if node is not None:
        try:
            _collect_lines(node, (), lines, name)
        except RecursionError:
            raise ConfigError(f"{name}: nested too deep, or an anchor within itself") from None
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(f"{name}:1: must be a mapping with keys {', '.join(Config.model_fields)}")
    return Document(name, _expand(data, (), lines, name), lines)


def _collect_lines(node: yaml.Node, at: Location, lines: dict[Location, int], name: str) -> None:
    lines.setdefault(at, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            place = (*at, str(key.value))
            if key.tag not in _KEY_TAGS:
                raise ConfigError(
                    f"{name}:{key.start_mark.line + 1}: {_dotted(place)}: YAML takes this key for "
                    "something else than text; put it in quotes"
                )
            if place in lines:
                raise ConfigError(
                    f"{name}:{key.start_mark.line + 1}: {_dotted(place)} stands twice"
                )
            lines[place] = key.start_mark.line + 1
            _collect_lines(value, place, lines, name)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _collect_lines(value, (*at, index), lines, name)


def _expand(value: Any, at: Location, lines: Mapping[Location, int], name: str) -> Any:
    """`${env.NAME}` replaced by the environment's value, which must be set."""
    if isinstance(value, dict):
        return {key: _expand(item, (*at, str(key)), lines, name) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, (*at, i), lines, name) for i, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def lookup(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if not found:
            raise ConfigError(
                f"{name}:{lines.get(at, 1)}: {_dotted(at)}: the environment variable "
                f"{match[1]} is not set"
            )
        return found

    return _ENV_REFERENCE.sub(lookup, value)


class _Environment(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", extra="ignore"
    )


def environment_values() -> dict[str, Any]:
    """ROUNDHOUSE_SERVER__PORT=9000 and the like, nested; `__` stands between levels."""
    fields: dict[str, Any] = {
        name: (field.annotation, field) for name, field in Config.model_fields.items()
    }
    settings = create_model("Environment", __base__=_Environment, **fields)
    try:
        return dict(EnvSettingsSource(settings)())
    except SettingsError as error:
        raise ConfigError(f"environment: {_unreadable(str(error))}") from None


def _unreadable(problem: str) -> str:
    """Pydantic names a section only; what is set of it has to be looked up."""
    section = re.search(r'field "(\w+)"', problem)
    prefix = f"{ENV_PREFIX}{section[1]}".upper() if section else ENV_PREFIX
    names = sorted(name for name in os.environ if name.upper().startswith(prefix))
    return f"{', '.join(names)}: lists and mappings must be valid JSON"


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Later layers win, key by key; lists and scalars are replaced whole."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below = merged.get(key)
            nested = isinstance(below, dict) and isinstance(value, Mapping)
            merged[key] = merge(below or {}, value) if nested else value
    return merged


def describe(
    error: ValidationError,
    document: Document,
    environment: Mapping[str, Any],
    flags: Mapping[str, Any],
) -> str:
    """One line a problem: "file:line: key: what is wrong"."""
    seen: dict[str, None] = {}
    for problem in error.errors(include_url=False):
        if problem["type"] == "literal_error" and isinstance(problem["input"], dict):
            continue  # the mapping's own problems follow
        at = _written_location(problem["loc"], document)
        at, text = _narrowed(at, _problem_text(problem, at), (document.data, environment, flags))
        source = _source(at, document, environment, flags)
        seen[": ".join(filter(None, (source, _dotted(at), text)))] = None
    return "\n".join(seen)


def _narrowed(at: Location, text: str, layers: Sequence[Mapping[str, Any]]) -> tuple[Location, str]:
    """A problem of a whole section may begin with the place within it: "host: ..."."""
    for layer in layers:
        for place in _places(layer, ()):
            prefix = f"{_dotted(place[len(at) :])}: "
            if len(place) > len(at) and place[: len(at)] == at and text.startswith(prefix):
                return place, text.removeprefix(prefix)
    return at, text


def _places(layer: Any, at: Location) -> Iterator[Location]:
    if at:
        yield at
    if isinstance(layer, Mapping):
        for key, value in layer.items():
            yield from _places(value, (*at, key))
    elif isinstance(layer, list):
        for i, value in enumerate(layer):
            yield from _places(value, (*at, i))


def _written_location(location: Sequence[str | int], document: Document) -> Location:
    """Pydantic's location without the names of union branches, which nobody wrote."""
    at: Location = ()
    for part in location:
        if (*at, part) in document.lines or not _is_branch(at, part):
            at = (*at, part)
    return at


def _is_branch(at: Location, part: str | int) -> bool:
    chosen = _section_at(at)
    tags = chosen.sections if isinstance(chosen, _OneOf) else ()
    return part in tags or _BRANCH.match(str(part)) is not None


def _source(
    at: Location, document: Document, environment: Mapping[str, Any], flags: Mapping[str, Any]
) -> str:
    if at and _holds(flags, at):
        return "command line"
    if at and _holds(environment, at):
        return f"environment variable {ENV_PREFIX}{'__'.join(map(str, at)).upper()}"
    known = (document.lines[at[:n]] for n in range(len(at), -1, -1) if at[:n] in document.lines)
    line = next(known, None)
    return f"{document.name}:{line}" if line else document.name


def _holds(layer: Any, at: Location) -> bool:
    for part in at:
        if not isinstance(layer, Mapping) or part not in layer:
            return False
        layer = layer[part]
    return True


def _problem_text(problem: Any, at: Location) -> str:
    kind, value = problem["type"], problem.get("input")
    if kind == "extra_forbidden":
        return f"unknown key{_near(str(at[-1]), keys_at(at[:-1]) or keys_at(problem['loc'][:-1]))}"
    if kind == "union_tag_not_found":
        chosen = _section_at(at)
        allowed = ", ".join(chosen.sections) if isinstance(chosen, _OneOf) else ""
        return f"{problem['ctx']['discriminator'].strip(chr(39))} is missing (allowed: {allowed})"
    if kind == "missing":
        return "is missing"
    message = str(problem["msg"]).removeprefix("Value error, ")
    if kind == "value_error":
        return message
    message = f"{message[0].lower()}{message[1:]}"
    # A mapping says little, a key must not be printed.
    hidden = isinstance(value, dict | BaseModel) or "api_keys" in at
    return message if hidden else f"{message}, not {value!r}"


def _near(word: str, allowed: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, allowed, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} (allowed: {', '.join(allowed)})" if allowed else hint


def keys_at(at: Location) -> list[str]:
    """The keys that the config knows at a place, as they are written in the file."""
    section = _section_at(at)
    fields = (
        section.model_fields if isinstance(section, type) and issubclass(section, BaseModel) else {}
    )
    return [field.alias or name for name, field in fields.items()]


def _section_at(at: Sequence[str | int]) -> Any:
    section: Any = Config
    for part in at:
        section = _step(section, part)
    return section


def _step(section: Any, part: str | int) -> Any:
    if isinstance(section, _MappingOf):
        return _section_of(section.section)
    if isinstance(section, _OneOf):
        return section.sections.get(str(part))
    if isinstance(section, type) and issubclass(section, BaseModel):
        named = {
            field.alias or name: field.annotation for name, field in section.model_fields.items()
        }
        return _section_of(named.get(str(part)))
    return None


def _section_of(annotation: Any) -> Any:
    """The section within an annotation, or a stand-in for a mapping of sections."""
    if get_origin(annotation) is dict:
        return _MappingOf(get_args(annotation)[1])
    if get_origin(annotation) is tuple:
        return _MappingOf(get_args(annotation)[0])
    if get_origin(annotation) is Annotated:
        union, about = get_args(annotation)[:2]
        tag = getattr(about, "discriminator", None)
        return _OneOf.of(union, tag) if tag else _section_of(union)
    if get_origin(annotation) in (Union, UnionType):
        return next((s for s in map(_section_of, get_args(annotation)) if s is not None), None)
    return (
        annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
    )


@dataclass(frozen=True)
class _MappingOf:
    section: Any


@dataclass(frozen=True)
class _OneOf:
    """Sections of which one key says which it is; by the value of that key."""

    sections: Mapping[str, Any]

    @classmethod
    def of(cls, union: Any, tag: str) -> _OneOf:
        return cls({s.model_fields[tag].default: s for s in get_args(union)})


def _dotted(at: Sequence[str | int]) -> str:
    text = ""
    for part in at:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return text
