"""One start described in one line of JSON, and what we would say of it: `plan --case`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from common.errors import RoundhouseError, UsageError
from common.units import GIB
from placement.footprint import kv
from placement.footprint.case import Case
from placement.footprint.estimate import Known, estimate, possible_versions
from placement.footprint.settings import Device, Footprint
from placement.footprint.weights import rank_weights, tensor_bytes
from placement.models.config_json import facts_of
from placement.models.facts import ModelFacts

_FIGURES = (
    "weights_gib",
    "activation_gib",
    "non_torch_gib",
    "cudagraph_gib",
    "kv_cache_gib",
    "kv_cache_tokens",
    "max_concurrency",
    "fits",
    "basis",
)
_DECIMALS = 4
_LAYER_COUNTS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers")
_MOST_LAYERS = 10_000
# What foreign fields of any shape may lead to in arithmetic that was written for sound ones.
_UNFIT = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True)
class _Known:
    """What can be told of a case, as far as it goes."""

    figures: Mapping[str, Any]
    notes: tuple[str, ...]


def answers(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """One answer a line, in order; empty lines are skipped."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _answer_line(line, number)


def answer(case: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of one start; null where they cannot be known, and `notes` says why."""
    try:
        known = _known(Case.model_validate(dict(case)))
    except ValidationError as error:
        return _failed(case.get("id"), _describe(error))
    except RoundhouseError as error:
        return _failed(case.get("id"), error.message)
    except _UNFIT as error:
        return _failed(case.get("id"), f"config: cannot be used: {type(error).__name__}: {error}")
    blank = dict.fromkeys(_FIGURES)
    return {"id": case.get("id"), **blank, **known.figures, "notes": "; ".join(known.notes)}


def _answer_line(line: str, number: int) -> dict[str, Any]:
    try:
        case = json.loads(line)
    except (ValueError, RecursionError) as error:
        return _failed(None, f"line {number} is no JSON: {error}")
    if not isinstance(case, dict):
        return _failed(None, f"line {number} is no JSON object, but {json.dumps(case)[:40]}")
    return answer(case)


def _known(case: Case) -> _Known:
    if case.config is None:
        return _without_config(case)
    _check_depth(case.config)
    facts = facts_of(case.config)
    if case.total_bytes is None:
        return _without_device(case, facts)
    device = Device(name=case.gpu or "", total_bytes=case.total_bytes)
    found = estimate(
        facts,
        case.settings,
        device,
        known=Known(
            rank_weights=_rank_bytes(case, facts),
            kv_cache_bytes=None if case.kv_cache_gib is None else int(case.kv_cache_gib * GIB),
        ),
    )
    return _Known(_figures(found), found.notes)


def _check_depth(config: Mapping[str, Any]) -> None:
    """A slip of a number must not keep us busy for hours."""
    sections = [config, *(value for value in config.values() if isinstance(value, Mapping))]
    for name in _LAYER_COUNTS:
        for section in sections:
            count = section.get(name)
            if isinstance(count, int | float) and count > _MOST_LAYERS:
                raise UsageError(f"config: {name} is {count}; at most {_MOST_LAYERS} are possible")


def _figures(found: Footprint) -> dict[str, Any]:
    first = found.ranks[0]  # vLLM's log gives one figure each: of the fullest, and of the first
    return {
        "weights_gib": _gib(max(rank.term("weights") for rank in found.ranks)),
        **{f"{name}_gib": _gib(first.term(name)) for name in _TERMS},
        "kv_cache_gib": _gib(first.kv_cache_bytes),
        "kv_cache_tokens": found.kv_cache_tokens,
        "max_concurrency": round(found.max_concurrency, _DECIMALS),
        "fits": found.fits,
        "basis": found.basis,
    }


_TERMS = ("activation", "non_torch", "cudagraph")


def _without_config(case: Case) -> _Known:
    notes = ["no config: the weights and the KV cache cannot be computed"]
    if case.weights_bytes is None:
        return _Known({}, tuple(notes))
    ranks = case.settings.tp * case.settings.pp
    notes.append("the weights are the given bytes, split evenly")
    return _Known({"weights_gib": _gib(case.weights_bytes // ranks)}, tuple(notes))


def _without_device(case: Case, facts: ModelFacts) -> _Known:
    """Weights, and tokens if the KV cache is given."""
    settings = case.settings
    notes = ["the GPU's memory is not known (gpu_mem_gib): the KV cache cannot be computed"]
    weights = max(_rank_bytes(case, facts) or rank_weights(facts, settings))
    figures: dict[str, Any] = {"weights_gib": _gib(weights)}
    if case.kv_cache_gib is not None:
        figures |= _tokens(case, facts)
        notes.append("tokens follow from the given KV cache")
    return _Known(figures, (*notes, *facts.notes))


def _tokens(case: Case, facts: ModelFacts) -> dict[str, Any]:
    settings = case.settings
    if settings.vllm_version is None:
        likely = possible_versions(facts, Device(case.gpu or "", 0))[0]
        settings = replace(settings, vllm_version=likely)
    n_bytes = int((case.kv_cache_gib or 0) * GIB)
    pool = kv.pool(facts, settings, Device(case.gpu or "", 0))
    found = kv.capacity(pool, (n_bytes,) * settings.pp)
    return {
        "kv_cache_gib": _gib(n_bytes),
        "kv_cache_tokens": found.tokens,
        "max_concurrency": round(found.max_concurrency, _DECIMALS),
        "fits": None if found.max_concurrency >= 1 else False,
        "basis": "exact",
    }


def _rank_bytes(case: Case, facts: ModelFacts) -> tuple[int, ...] | None:
    """The files' own sizes, divided over the ranks as ours are, and what is in no file."""
    if case.weights_bytes is None:
        return None
    whole = tensor_bytes(facts, replace(case.settings, tp=1, pp=1, expert_parallel=False))[0]
    return tuple(
        int(stored * case.weights_bytes / whole) + loaded - stored
        for stored, loaded in zip(
            tensor_bytes(facts, case.settings), rank_weights(facts, case.settings), strict=True
        )
    )


def _gib(n_bytes: int) -> float:
    return round(n_bytes / GIB, _DECIMALS)


def _failed(id_: Any, message: str) -> dict[str, Any]:
    return {"id": id_, **dict.fromkeys(_FIGURES), "notes": "", "error": message}


def _describe(error: ValidationError) -> str:
    parts = []
    for each in error.errors(include_url=False):
        where = ".".join(map(str, each["loc"])) or "case"
        parts.append(f"{where}: {each['msg']}, not {each['input']!r}")
    return "; ".join(parts)
