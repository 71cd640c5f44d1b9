"""From demands and an inventory to a plan. Pure: the same input gives the same plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from placement.footprint.settings import Calibration
from placement.inventory.inventory import Inventory
from placement.plan import on_cpu
from placement.plan.berths import Berth, berths, joined
from placement.plan.board import Board, Seat
from placement.plan.demand import Demand
from placement.plan.options import options, speed_of
from placement.plan.plan import Placement, Plan, Refusal
from placement.plan.remedies import remedies
from placement.plan.sizing import Sizer
from placement.plan.speed import DEFAULT_WORKLOAD, Workload

__all__ = ["Placement", "Plan", "Refusal", "make"]


def make(
    demands: Sequence[Demand],
    inventory: Inventory,
    *,
    reserve_bytes: int,
    devices: Sequence[int] | None = None,
    workload: Workload = DEFAULT_WORKLOAD,
    calibration: Calibration | None = None,
    beside: Mapping[str, int] | None = None,
) -> Plan:
    """Raises ConfigError for a layout or GPU that cannot be; what merely does not fit is refused.

    Engines run on the CPU where the inventory has no GPU to use. `beside`: bytes by berth that
    replicas of another plan hold.
    """
    held = beside or {}
    places = tuple(_less(berth, held) for berth in berths(inventory, reserve_bytes, devices))
    if not places:
        free = on_cpu.without(inventory, held.get(on_cpu.MAIN_MEMORY, 0))
        return on_cpu.plan(demands, free, workload, calibration)
    ranked = {d.model: options(d, places, inventory, workload, calibration) for d in demands}
    board = Board(places, inventory, calibration)
    board.fill(demands, ranked)
    placements = [
        _placement(seat, board, inventory, workload, calibration, held) for seat in board.seats
    ]
    left = [replace(berth, budget_bytes=board.left(berth)) for berth in places]
    refusals = [
        _refusal(demand, missing, left, places, calibration) for demand, missing in board.refused
    ]
    order = [demand.model for demand in demands]
    placements.sort(key=lambda p: (order.index(p.model), p.index))
    return Plan(inventory, places, tuple(placements), tuple(refusals), ranked, workload)


def _less(berth: Berth, held: Mapping[str, int]) -> Berth:
    return replace(berth, budget_bytes=max(0, berth.budget_bytes - held.get(berth.id, 0)))


def _placement(
    seat: Seat,
    board: Board,
    inventory: Inventory,
    workload: Workload,
    calibration: Calibration | None,
    beside: Mapping[str, int],
) -> Placement:
    is_shared = (
        board.is_shared(seat)
        or seat.demand.modest
        or any(beside.get(berth.id) for berth in seat.berths)
    )
    sizer = Sizer(seat.demand, seat.layout, seat.berths[0], calibration)
    allotted = board.allotted_bytes(seat)
    footprint = sizer.settle(allotted, shared=is_shared)
    nvlink = joined(inventory, seat.berths)
    return Placement(
        model=seat.demand.model,
        index=seat.index,
        layout=seat.layout,
        berths=seat.berths,
        bytes_per_gpu=allotted,
        footprint=footprint,
        nvlink=nvlink,
        speed=speed_of(footprint, seat.berths[0].spec, workload, nvlink=nvlink),
    )


def _refusal(
    demand: Demand,
    missing: int,
    left: Sequence[Berth],
    whole: Sequence[Berth],
    calibration: Calibration | None,
) -> Refusal:
    found = remedies(demand, left, whole, calibration)
    return Refusal(demand.model, missing, found.reason, found.remedies)
