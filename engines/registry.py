"""Engines by the name that the config uses. A new engine is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable

from engines.base import Engine, ReplicaSpec


def _vllm(spec: ReplicaSpec) -> Engine:
    from engines.vllm import VllmEngine

    return VllmEngine(spec)


# `openai` is absent on purpose: a remote endpoint is only a URL, nothing runs here for it.
OWNED: dict[str, Callable[[ReplicaSpec], Engine]] = {"vllm": _vllm}


def create(spec: ReplicaSpec) -> Engine:
    return OWNED[spec.engine](spec)
