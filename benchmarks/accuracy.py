"""Predictions of starts against what the engines printed: one check a target, misses with cause."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.starts import Figure, Start
from placement.calibration.calibration import Calibration
from placement.calibration.measurement import Measurement, measure
from placement.footprint.estimate import estimate
from placement.footprint.versions import parse_version

# Starts whose log cannot decide a figure: no prediction from the same input could be right for all.
UNDECIDABLE = {
    "KV tokens": {"pro6000-pp4", "h100x4-q3-235b", "spark-m27-85"},
    "KV GiB, one start learnt": {"pro6000-pp4"},
    "false fits": {"llmd-025"},
}

# What a row of the table of misses says of its start. Rows without an entry have no known cause.
CAUSES = {
    "llmd-025": "not for want of memory: the same settings as llmd-024, which started",
    "pro6000-pp4": "the log gives one of four ranks, and not the one that bounds the tokens",
    "h100x4-q3-235b": "utilization not in the log; a connector, and ranks that differ",
    "spark-m27-85": "two machines; the log gives the rank with more, the other bounds the tokens",
    "5090-14b-16k": "1.6 GiB more than weights and non-torch, of unknown origin; no version",
    "5090-14b-32k": "1.6 GiB more than weights and non-torch, of unknown origin; no version",
    "ads-l31-8b": "no version, no max_num_seqs; the log's activation is 0.22 GiB",
    "t4-l31-8b-bnb4": "no version, no max_num_seqs (about 160 by its activation); LoRA is on",
    "phi4-bnb": "no version, no max_num_seqs (about 320 by its activation); LoRA is on",
    "a100x8-dsc-lite": "0.7.1 keeps more of MLA's weights than later versions",
}


@dataclass(frozen=True)
class Miss:
    id: str
    predicted: float | None
    reported: float | None
    cause: str
    undecidable: bool = False

    @property
    def error(self) -> float | None:
        if self.predicted is None or not self.reported:
            return None
        return self.predicted / self.reported - 1


@dataclass(frozen=True)
class Check:
    """`least` is the share of rows that must pass; `errors` are of all rows, passed or not."""

    name: str
    target: str
    least: float
    passed: int
    misses: tuple[Miss, ...]
    errors: tuple[float, ...]

    @property
    def rows(self) -> int:
        return self.passed + len(self.misses)

    @property
    def share(self) -> float:
        return self.passed / self.rows if self.rows else 0.0

    @property
    def undecidable(self) -> int:
        return sum(miss.undecidable for miss in self.misses)

    @property
    def ok(self) -> bool:
        """Of the rows that can be decided."""
        decidable = self.rows - self.undecidable
        return decidable > 0 and self.passed / decidable >= self.least

    @property
    def median_error(self) -> float:
        return median(map(abs, self.errors)) if self.errors else 0.0

    @property
    def largest_error(self) -> float:
        return max(map(abs, self.errors), default=0.0)


Pair = tuple[Start, float | None, Figure]


def checks(starts: Sequence[Start]) -> list[Check]:
    return [
        weights(starts),
        tokens(starts, kinds=False),
        tokens(starts, kinds=True),
        cache([s for s in starts if _on_h100_since_17(s)], "H100, v0.17 on", 0.05, 1.0),
        cache(starts, "all rows", 0.10, 0.80),
        false_fits(starts),
        calibrated(starts),
    ]


def weights(starts: Iterable[Start]) -> Check:
    pairs = _pairs(starts, "weights_gib", lambda s: s.answer()["weights_gib"])
    return _check("weights", "within 0.5 % on 95 % of rows", 0.95, pairs, 0.005)


def tokens(starts: Iterable[Start], *, kinds: bool) -> Check:
    """Given the KV cache's GiB. What these may have been before rounding counts as equal."""
    chosen = [
        s
        for s in starts
        if s.facts
        and s.has_kinds is kinds
        and {"kv_cache_gib", "kv_cache_tokens"} <= set(s.reported)
    ]
    within = 0.01 if kinds else 0.001
    name = f"KV tokens, {'several kinds of' if kinds else 'all'} layers {'' if kinds else 'alike'}"
    passed, misses, errors = 0, [], []
    for start in chosen:
        figure, true = start.figure("kv_cache_gib"), start.figure("kv_cache_tokens")
        assert figure
        assert true
        low, middle, high = (
            _tokens_of(start, figure.value + half) for half in (-figure.half, 0, figure.half)
        )
        errors.append(middle / true.value - 1)
        if low * (1 - within) <= true.value <= high * (1 + within):
            passed += 1
        else:
            misses.append(_miss("KV tokens", start, middle, true))
    target = f"equal within {within:.1%}"
    return Check(name.strip(), target, 1.0, passed, tuple(misses), tuple(errors))


def cache(starts: Iterable[Start], which: str, within: float, least: float) -> Check:
    pairs = _pairs(starts, "kv_cache_gib", lambda s: s.answer()["kv_cache_gib"])
    share = "" if least == 1.0 else f" on {least:.0%} of rows"
    return _check(f"KV GiB, cold, {which}", f"within {within:.0%}{share}", least, pairs, within)


def false_fits(starts: Iterable[Start]) -> Check:
    """ "Fits" said of a start that failed."""
    failed = [s for s in starts if s.failed]
    misses = []
    for start in failed:
        given = start.reported.get("kv_cache_gib")
        known = {} if start.device or given is None else {"kv_cache_gib": float(given)}
        if start.answer(**known)["fits"]:
            misses.append(_miss("false fits", start, None, None))
    passed = len(failed) - len(misses)
    return Check("false fits", "none on failed starts", 1.0, passed, tuple(misses), ())


def calibrated(starts: Iterable[Start]) -> Check:
    """Each GPU and version: learn from the first start, predict the others."""
    places: dict[object, list[Start]] = defaultdict(list)
    for start in starts:
        if start.facts and start.device and start.settings.vllm_version and _told(start):
            places[start.device.name, start.settings.vllm_version].append(start)
    pairs: list[Pair] = []
    for first, *others in places.values():
        learnt = Calibration([_measured(first)])
        pairs += [(start, _with(learnt, start), _reported(start)) for start in others]
    return _check("KV GiB, one start learnt", "within 2 %", 1.0, pairs, 0.02)


def _measured(start: Start) -> Measurement:
    assert start.facts
    assert start.device
    cold = estimate(start.facts, start.settings, start.device)
    return measure(cold, start.report, "2026-01-01T00:00:00Z")


def _with(calibration: Calibration, start: Start) -> float:
    assert start.facts
    assert start.device
    found = estimate(start.facts, start.settings, start.device, calibration)
    return found.ranks[0].kv_cache_bytes / (1 << 30)


def _told(start: Start) -> bool:
    return "kv_cache_gib" in start.reported


def _reported(start: Start) -> Figure:
    figure = start.figure("kv_cache_gib")
    assert figure
    return figure


def _tokens_of(start: Start, gib: float) -> float:
    return float(start.answer(kv_cache_gib=gib)["kv_cache_tokens"])


def _on_h100_since_17(start: Start) -> bool:
    version = parse_version(start.asked.get("vllm_version"))
    return "H100" in str(start.asked.get("gpu")) and version is not None and version >= (0, 17, 0)


def _pairs(
    starts: Iterable[Start], name: str, predict: Callable[[Start], float | None]
) -> list[Pair]:
    """Rows that have both: a figure in the log, and what we need to compute it."""
    found = [(s, predict(s), f) for s in starts if s.facts and (f := s.figure(name))]
    return [
        (start, predicted, figure) for start, predicted, figure in found if predicted is not None
    ]


def _check(name: str, target: str, least: float, pairs: Sequence[Pair], within: float) -> Check:
    errors = [(predicted or 0.0) / figure.value - 1 for _, predicted, figure in pairs]
    wrong = [pair for pair, error in zip(pairs, errors, strict=True) if abs(error) > within]
    misses = tuple(_miss(name, *pair) for pair in wrong)
    return Check(name, target, least, len(pairs) - len(misses), misses, tuple(errors))


def _miss(name: str, start: Start, predicted: float | None, figure: Figure | None) -> Miss:
    reported = figure.value if figure else None
    undecidable = start.id in UNDECIDABLE.get(name, ())
    return Miss(start.id, predicted, reported, _cause(start), undecidable)


def _cause(start: Start) -> str:
    guess = "" if start.named else "; the model is a guess"
    return CAUSES.get(start.id, start.why or "not known") + guess
