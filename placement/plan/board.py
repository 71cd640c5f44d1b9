"""Who stands where: GPUs are handed out to replicas until all stand or nothing fits any more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from common.errors import ConfigError
from placement.footprint.settings import Calibration
from placement.inventory.inventory import Inventory
from placement.plan.berths import Berth, joined
from placement.plan.demand import Demand, Layout, misfit
from placement.plan.options import Option, preferred
from placement.plan.sizing import Sizer


@dataclass(frozen=True, eq=False)
class Seat:
    """One replica on its GPUs, which holds at least `least_bytes` of each, and `most_bytes` at most
    where that is set."""

    demand: Demand
    index: int
    layout: Layout
    berths: tuple[Berth, ...]
    least_bytes: int
    most_bytes: int | None


class Board:
    """The box while it is being filled.

    First every model gets the replicas that it asked for (one, if it leaves that open): those with
    GPUs by name first, then the largest. A model stands alone on its GPUs while there are empty
    ones, within its fair share of the box; then it shares with others. GPUs that are left empty go
    to further replicas of models that leave their number open, in turn.
    """

    def __init__(
        self, berths: Sequence[Berth], inventory: Inventory, calibration: Calibration | None
    ) -> None:
        self._berths = berths
        self._by_index = {berth.gpu.index: berth for berth in berths if berth.gpu}
        self._inventory = inventory
        self._calibration = calibration
        self._sizers: dict[tuple[str, Layout, tuple[str, int]], Sizer] = {}
        self.seats: list[Seat] = []
        self.refused: list[tuple[Demand, int]] = []

    def fill(self, demands: Sequence[Demand], ranked: Mapping[str, Sequence[Option]]) -> None:
        for demand in demands:
            self._check(demand)
        share = max(1, len(self._berths) // max(1, len(demands)))
        for demand in sorted(demands, key=self._urgency):
            wanted = demand.replicas or 1
            order = _preference(demand, ranked[demand.model], share)
            placed = sum(self._place(demand, index, order) for index in range(wanted))
            if placed < wanted:
                self.refused.append((demand, wanted - placed))
        self._grow([d for d in demands if d.replicas is None and not d.gpus and not d.modest])

    def allotted_bytes(self, seat: Seat) -> int:
        """Its least, and its part of what its fullest GPU has left over."""
        return seat.least_bytes + min(self._part(seat, berth) for berth in seat.berths)

    def left(self, berth: Berth) -> int:
        """Bytes of a GPU that no replica needs."""
        return berth.budget_bytes - sum(seat.least_bytes for seat in self._tenants(berth))

    def _part(self, seat: Seat, berth: Berth) -> int:
        """Of what is left over: an equal one, and what others have no use for."""
        left, tenants = self.left(berth), self._tenants(berth)
        equal = left // len(tenants)
        wishes = [t.most_bytes - t.least_bytes for t in tenants if t.most_bytes is not None]
        if seat.most_bytes is not None:
            return min(seat.most_bytes - seat.least_bytes, equal)
        return (left - sum(min(each, equal) for each in wishes)) // (len(tenants) - len(wishes))

    def is_shared(self, seat: Seat) -> bool:
        return any(len(self._tenants(berth)) > 1 for berth in seat.berths)

    def _check(self, demand: Demand) -> None:
        """What can never be is wrong use, not a shortage."""
        if demand.layout is None:
            return
        place = f"models.{demand.model}.placement"
        reason = misfit(demand.facts, demand.layout)
        if reason:
            raise ConfigError(f"{place}: {reason}")
        if demand.layout.n_gpus > len(self._berths):
            raise ConfigError(
                f"{place}: tp x pp is {demand.layout.n_gpus}, but this box has "
                f"{len(self._berths)} GPU(s) to use"
            )
        unknown = set(demand.gpus or ()) - set(self._by_index)
        if unknown:
            raise ConfigError(
                f"{place}.gpus: there is no GPU {min(unknown)} to use; there is "
                f"{', '.join(map(str, self._by_index))}"
            )

    def _urgency(self, demand: Demand) -> tuple[bool, int]:
        """Models with GPUs by name first, then the largest."""
        size = 0
        if self._berths:
            size = self._sizer(demand, Layout(1, 1), self._berths[0]).least_bytes
        return (demand.gpus is None, -size)

    def _place(self, demand: Demand, index: int, order: Sequence[Layout]) -> bool:
        if demand.gpus:
            layout = demand.layout or Layout(1, 1)
            first = index * layout.n_gpus
            named = demand.gpus[first : first + layout.n_gpus]
            return self._seat(demand, index, layout, [self._by_index[each] for each in named])
        for choose in (self._empty, self._shared):
            for layout in order:
                for candidate in choose(layout.n_gpus):
                    if self._seat(demand, index, layout, candidate):
                        return True
        return False

    def _seat(self, demand: Demand, index: int, layout: Layout, chosen: Sequence[Berth]) -> bool:
        sizer = self._sizer(demand, layout, chosen[0])
        least = sizer.least_bytes
        if any(self.left(berth) < least for berth in chosen):
            return False
        self.seats.append(Seat(demand, index, layout, tuple(chosen), least, sizer.most_bytes))
        return True

    def _grow(self, demands: Sequence[Demand]) -> None:
        growing = True
        while growing:
            growing = sum(map(self._add_replica, demands)) > 0

    def _add_replica(self, demand: Demand) -> bool:
        own = [seat for seat in self.seats if seat.demand is demand]
        return bool(own) and any(
            self._seat(demand, len(own), own[0].layout, candidate)
            for candidate in self._empty(own[0].layout.n_gpus)
        )

    def _empty(self, n_gpus: int) -> Iterator[list[Berth]]:
        """Sets of empty GPUs of one kind: joined by NVLink first, then the smallest cards."""
        empty = [berth for berth in self._berths if not self._tenants(berth)]
        sets = [
            same[i : i + n_gpus] for same in _by_kind(empty) for i in range(len(same) - n_gpus + 1)
        ]
        yield from sorted(sets, key=lambda s: (not joined(self._inventory, s), _budget(s)))

    def _shared(self, n_gpus: int) -> Iterator[list[Berth]]:
        """The emptiest GPUs of each kind."""
        for same in _by_kind(self._berths):
            emptiest = sorted(same, key=lambda berth: -self.left(berth))[:n_gpus]
            if len(emptiest) == n_gpus:
                yield emptiest

    def _tenants(self, berth: Berth) -> list[Seat]:
        return [seat for seat in self.seats if berth in seat.berths]

    def _sizer(self, demand: Demand, layout: Layout, berth: Berth) -> Sizer:
        key = (demand.model, layout, berth.kind)
        if key not in self._sizers:
            self._sizers[key] = Sizer(demand, layout, berth, self._calibration)
        return self._sizers[key]


def _preference(demand: Demand, ranked: Sequence[Option], share: int) -> list[Layout]:
    """Layouts to try, in order: the best within the model's share of the box, then the smallest."""
    if demand.layout:
        return [demand.layout]
    best = preferred(ranked, share)
    rest = sorted(ranked, key=lambda option: (option.layout.n_gpus, -option.tokens_per_s_per_gpu))
    return list(dict.fromkeys(option.layout for option in ([best, *rest] if best else rest)))


def _by_kind(berths: Sequence[Berth]) -> list[list[Berth]]:
    kinds = dict.fromkeys(berth.kind for berth in berths)
    return [[berth for berth in berths if berth.kind == kind] for kind in kinds]


def _budget(berths: Sequence[Berth]) -> int:
    return min(berth.budget_bytes for berth in berths)
