"""Ollama's names for models: `[host/][namespace/]model[:tag]`, without regard to case."""

from __future__ import annotations

import re

PREFIX = "ollama:"  # before a name, where a `source` says by itself whose model it is
_LATEST = "latest"
_DEFAULT_HOST = "registry.ollama.ai/"
_DEFAULT_NAMESPACE = "library/"
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_NAME = re.compile(rf"(?:{_PART}(?::\d+)?/)?(?:{_PART}/)?{_PART}(?::{_PART})?")


def is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def bare(source: str) -> str:
    """The name in a model's `source`, with or without the prefix."""
    return source.removeprefix(PREFIX)


def canonical(name: str) -> str:
    """One text for all the ways to write a name: a missing tag means `latest`."""
    lowered = name.lower().removeprefix(_DEFAULT_HOST).removeprefix(_DEFAULT_NAMESPACE)
    return lowered if ":" in lowered.rpartition("/")[2] else f"{lowered}:{_LATEST}"


def short(name: str) -> str | None:
    """The name without its tag, where that means the same."""
    base, _, tag = name.rpartition(":")
    return base if base and tag == _LATEST else None
