"""One start of an engine: under which conditions, what was predicted, what was reported. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from common.units import GIB
from placement.calibration.conditions import Conditions, conditions
from placement.calibration.startup_report import StartupReport
from placement.footprint.estimate import graphs_in_budget
from placement.footprint.settings import Footprint
from placement.footprint.versions import parse_version

TERMS = ("weights", "activation", "non_torch", "cudagraph")
# Raise it with every change of what placement/footprint predicts: what an older formula was wrong
# by says nothing about a newer one. What engines reported stays true.
FORMULA = 1
_GROWING = ("activation", "cudagraph")
_GROWS_UP_TO = 8  # times: vocabularies, and with them activations, lie that far apart
_LARGE_BYTES = GIB // 4


@dataclass(frozen=True)
class Measurement:
    """One start: what was predicted without calibration, and what the engine reported.

    Keys are TERMS, then kv_cache, kv_cache_tokens and max_concurrency. `learnt` holds what the next
    prediction goes by: the terms that were reported, and of the others what is left for them.
    """

    conditions: Conditions
    model: str
    architecture: str
    total_bytes: int
    predicted: Mapping[str, int | float]
    reported: Mapping[str, int | float]
    learnt: Mapping[str, int]
    taken_at: str  # ISO 8601, UTC
    formula: int = FORMULA

    def corrected(self, name: str, predicted_bytes: int) -> float | None:
        """Another model's prediction less what this one was wrong by; None if that is not known.

        A large error lies in the constants by which activation and graphs grow with the model, so
        it grows as well; but not from a small model to a far larger one, where that is too bold.
        """
        if self.formula != FORMULA or name not in self.learnt or name not in self.predicted:
            return None
        learnt, before = self.learnt[name], self.predicted[name]
        large = name in _GROWING and abs(learnt - before) > _LARGE_BYTES
        if large and 0 < predicted_bytes <= _GROWS_UP_TO * before:
            return predicted_bytes * learnt / before
        return predicted_bytes + learnt - before


@dataclass(frozen=True)
class Row:
    """One line of a comparison. `error` is relative to what was reported: 0.02 is 2 % too much."""

    term: str
    predicted: int | float
    reported: int | float

    @property
    def error(self) -> float | None:
        return self.predicted / self.reported - 1 if self.reported else None


def measure(cold: Footprint, report: StartupReport, taken_at: str) -> Measurement:
    """A start's measurement. `cold` is the prediction without calibration, for the same start."""
    if cold.basis == "calibrated":
        raise ValueError("a measurement needs the prediction that was made without calibration")
    version = cold.settings.vllm_version or parse_version(report.vllm_version)
    settings = replace(cold.settings, vllm_version=version)
    return Measurement(
        conditions=conditions(cold.facts, settings, cold.device),
        model=cold.facts.name,
        architecture=cold.facts.architecture,
        total_bytes=report.total_bytes or cold.device.total_bytes,
        predicted=_predicted(cold),
        reported=_told(cold, report),
        learnt=_learnt(cold, report),
        taken_at=taken_at,
    )


def compare(footprint: Footprint, report: StartupReport) -> list[Row]:
    """Term by term, for all that the engine told."""
    return rows(_predicted(footprint), _told(footprint, report))


def rows(predicted: Mapping[str, int | float], reported: Mapping[str, int | float]) -> list[Row]:
    return [Row(name, predicted[name], reported[name]) for name in predicted if name in reported]


def _predicted(footprint: Footprint) -> dict[str, int | float]:
    return {
        **{name: footprint.term(name) for name in TERMS},
        "kv_cache": footprint.kv_cache_bytes,
        "kv_cache_tokens": footprint.kv_cache_tokens,
        "max_concurrency": footprint.max_concurrency,
    }


def _told(footprint: Footprint, report: StartupReport) -> dict[str, int | float]:
    cache: dict[str, int | float | None] = {
        "kv_cache": report.kv_cache_bytes,
        "kv_cache_tokens": report.kv_cache_tokens,
        "max_concurrency": report.max_concurrency,
    }
    told = {name: value for name, value in cache.items() if value is not None}
    return {**_terms(footprint, report), **told}


def _terms(footprint: Footprint, report: StartupReport) -> dict[str, int]:
    in_budget = graphs_in_budget(footprint.settings)
    told = {
        "weights": report.weights_bytes,
        "activation": report.activation_bytes,
        "non_torch": report.non_torch_bytes,
        "cudagraph": report.cudagraph_reserved_bytes if in_budget else report.cudagraph_bytes,
    }
    if told["non_torch"] is None and report.consumed_bytes is not None:
        told["non_torch"] = report.consumed_bytes - (told["weights"] or footprint.term("weights"))
    return {name: value for name, value in told.items() if value is not None}


def _learnt(cold: Footprint, report: StartupReport) -> dict[str, int]:
    """Where terms were not told, their sum is what the KV cache leaves of the budget.

    It is put down to the one that varies most, and the others stay as predicted: with several GPUs
    that is what communication takes (0.1 to 2.2 GiB in logs), with one the activation.
    """
    terms = _terms(cold, report)
    counted = TERMS if graphs_in_budget(cold.settings) else TERMS[:-1]
    suspects = ("non_torch", "activation") if cold.settings.tp > 1 else ("activation", "non_torch")
    untold = [n for n in (*suspects, "cudagraph") if n in counted and n not in terms]
    rest = _without_kv(cold, report)
    if rest is None or not untold:
        return terms
    first, *others = untold
    terms |= {name: cold.term(name) for name in others}
    known = sum(terms.get(name, cold.term(name)) for name in counted if name != first)
    return terms | {first: rest - known}


def _without_kv(footprint: Footprint, report: StartupReport) -> int | None:
    """All that vLLM subtracted from the memory that it was allowed; None where it did not."""
    if report.kv_cache_bytes is None or report.kv_cache_set or footprint.device.kind == "cpu":
        return None
    return (report.requested_bytes or footprint.budget_bytes) - report.kv_cache_bytes
