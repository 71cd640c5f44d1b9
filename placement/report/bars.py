"""Where every byte of a GPU goes: the segments of its bar, which add up to the card's total."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from placement.footprint.overheads import context_bytes
from placement.plan.berths import Berth
from placement.plan.plan import Placement, Plan
from placement.report.parts import BY_NAME, PARTS, Name
from placement.report.words import tokens

_ORDER = {part.name: place for place, part in enumerate(PARTS)}


@dataclass(frozen=True)
class Segment:
    """`replica` is whose it is, None for what belongs to no engine."""

    part: Name
    n_bytes: int
    source: str
    replica: str | None = None


@dataclass(frozen=True)
class Bar:
    """One GPU or MIG slice, or the main memory of a box without GPUs.

    `over_bytes` is what its engines are told to take beyond its total; 0 unless the config fixes
    shares that are too large.
    """

    berth: Berth
    total_bytes: int
    segments: tuple[Segment, ...]
    over_bytes: int = 0

    @property
    def title(self) -> str:
        device = self.berth.device.name
        return device if self.berth.gpu is None else f"GPU {self.label}, {device}"

    @property
    def label(self) -> str:
        """The number by which a person knows it; a MIG slice's `berth.id` is a long UUID."""
        return self.berth.id if self.berth.gpu is None else str(self.berth.gpu.index)

    @property
    def replicas(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(s.replica for s in self.segments if s.replica))

    def part_bytes(self, name: Name, replica: str | None = None) -> int:
        """Of all replicas together, or of one."""
        return sum(
            s.n_bytes for s in self.segments if s.part == name and replica in {None, s.replica}
        )

    def replica_bytes(self, replica: str) -> int:
        return sum(segment.n_bytes for segment in self.of(replica))

    def of(self, replica: str) -> tuple[Segment, ...]:
        return tuple(segment for segment in self.segments if segment.replica == replica)


def bars(plan: Plan) -> tuple[Bar, ...]:
    return tuple(_bar(plan, berth) for berth in plan.berths)


def fits(plan: Plan) -> bool:
    """Whether everything that is asked for has its place and its bytes."""
    fixed = all(placement.footprint.fits for placement in plan.placements)
    return fixed and not plan.refusals and not any(bar.over_bytes for bar in bars(plan))


def bar_of(placement: Placement, all_bars: Sequence[Bar]) -> Bar:
    """Of the first of its GPUs; the others look the same, as far as they are this replica's."""
    return next(bar for bar in all_bars if bar.berth == placement.berths[0])


def twin(placement: Placement, plan: Plan) -> Placement | None:
    """An earlier replica of the same model that stands in all respects as this one does."""
    for other in plan.placements:
        if other is placement:
            return None
        alike = other.model == placement.model and other.footprint == placement.footprint
        if alike and (other.bytes_per_gpu, other.nvlink) == (
            placement.bytes_per_gpu,
            placement.nvlink,
        ):
            return other
    return None


def _bar(plan: Plan, berth: Berth) -> Bar:
    taken = [
        segment
        for placement in plan.placements
        if berth in placement.berths
        for segment in sorted(_engine(placement, berth), key=lambda s: _ORDER[s.part])
    ]
    taken += [segment for segment in _surroundings(berth) if segment.n_bytes > 0]
    total = _total_bytes(berth)
    left = total - sum(segment.n_bytes for segment in taken)
    free = [_plain("free", left)] if left > 0 else []
    return Bar(berth, total, tuple(taken + free), over_bytes=max(0, -left))


def _engine(placement: Placement, berth: Berth) -> Iterator[Segment]:
    """What one replica takes of this GPU; what it may take beyond that stays free."""
    takes = _worker(placement, berth) if berth.gpu else _workers(placement)
    left = placement.bytes_per_gpu
    for name, n_bytes, source in takes:
        # The margin is what is kept free for the rest to grow into: no more than there is.
        shown = min(n_bytes, left) if name == "margin" else n_bytes
        left -= n_bytes
        if shown > 0:
            yield Segment(name, shown, source, placement.replica)


def _worker(placement: Placement, berth: Berth) -> list[tuple[Name, int, str]]:
    """Of the pipeline stage that stands on this GPU, the margin last."""
    footprint = placement.footprint
    stage = placement.berths.index(berth) // placement.layout.tp
    rank = footprint.ranks[stage] if stage < len(footprint.ranks) else footprint
    context = context_bytes(placement.settings, berth.device)
    takes: list[tuple[Name, int, str]] = [
        *((term.name, term.n_bytes, term.source) for term in rank.terms),
        ("kv_cache", rank.kv_cache_bytes, _holds(placement)),
        ("context", context, BY_NAME["context"].meaning),
    ]
    return sorted(takes, key=lambda take: take[0] == "margin")


def _workers(placement: Placement) -> list[tuple[Name, int, str]]:
    """Of all workers in main memory; what is neither weights nor cache is their processes'."""
    footprint, n_workers = placement.footprint, placement.layout.n_gpus
    source = next((term.source for term in footprint.terms if term.name == "weights"), "")
    weights = n_workers * footprint.term("weights")
    kv_bytes = n_workers * footprint.kv_cache_bytes
    rest = placement.bytes_per_gpu - weights - kv_bytes
    return [
        ("weights", weights, source),
        ("kv_cache", kv_bytes, _holds(placement)),
        ("context", rest, BY_NAME["context"].meaning),
    ]


def _holds(placement: Placement) -> str:
    return f"holds {tokens(placement.footprint.kv_cache_tokens)} tokens"


def _surroundings(berth: Berth) -> Iterator[Segment]:
    device = berth.device
    free = device.total_bytes if device.free_bytes is None else device.free_bytes
    yield _plain("others", device.total_bytes - free)
    yield _plain("reserve", free - berth.budget_bytes)
    yield _plain("driver", _total_bytes(berth) - device.total_bytes)


def _total_bytes(berth: Berth) -> int:
    """The card's, of which the engine sees a little less."""
    known = berth.gpu.total_bytes if berth.gpu else None
    return max(known or 0, berth.device.total_bytes)


def _plain(name: Name, n_bytes: int) -> Segment:
    return Segment(name, n_bytes, BY_NAME[name].meaning)
