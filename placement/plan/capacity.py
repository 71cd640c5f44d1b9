"""How many users, which card: for each kind of GPU, how many of them hold so many users. Pure.

A user is one request that is always running. Its KV cache must fit, and its tokens must come at
least as fast as one reads. Memory is the plan's (options.py), speed is predicted (speed.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from common.errors import UsageError
from placement.footprint.settings import Calibration
from placement.inventory import catalogue
from placement.inventory.catalogue import GpuSpec
from placement.inventory.inventory import Inventory
from placement.plan.berths import berths
from placement.plan.crowd import Crowd, Most
from placement.plan.demand import Demand
from placement.plan.offers import Capacity, Offer, Unfit
from placement.plan.options import Option, options
from placement.plan.speed import Workload

READING_TOKENS_PER_S = 10.0  # faster than people read
_CARDS_A_BOX = 8  # how far one replica may spread


def capacity(
    demand: Demand,
    users: int,
    workload: Workload,
    inventory: Inventory | None = None,
    *,
    reserve_bytes: int = 0,
    devices: Sequence[int] | None = None,
    least_tokens_per_s: float = READING_TOKENS_PER_S,
    specs: Sequence[GpuSpec] | None = None,
    calibration: Calibration | None = None,
) -> Capacity:
    """Raises UsageError for requests that are longer than the model's context."""
    crowd = Crowd(_for_requests(demand, workload), workload, least_tokens_per_s)
    cards = [spec for spec in specs or catalogue.specs() if spec.kind != "apple"]
    found = [_card(crowd, users, spec, reserve_bytes, calibration) for spec in cards]
    own = _box(crowd, inventory, reserve_bytes, devices, calibration) if inventory else []
    return Capacity(
        model=demand.model,
        users=users,
        workload=workload,
        least_tokens_per_s=least_tokens_per_s,
        offers=tuple(sorted((each for each in found if isinstance(each, Offer)), key=_rank)),
        unfit=tuple(each for each in found if isinstance(each, Unfit)),
        box=tuple(each for each in own if isinstance(each, Offer)),
        box_unfit=tuple(each for each in own if isinstance(each, Unfit)),
    )


def _for_requests(demand: Demand, workload: Workload) -> Demand:
    """The same model with just the context that these requests need, where that was left open."""
    length = workload.input_tokens + workload.output_tokens
    most = demand.settings.max_model_len or demand.facts.max_position_embeddings
    if length > most:
        raise UsageError(
            f"{workload.input_tokens} tokens in and {workload.output_tokens} out make {length}, "
            f"but {demand.model} has a context of {most}; ask for at most that together"
        )
    if demand.settings.max_model_len:
        return demand
    return replace(demand, settings=replace(demand.settings, max_model_len=length))


def _card(
    crowd: Crowd, users: int, spec: GpuSpec, reserve_bytes: int, calibration: Calibration | None
) -> Offer | Unfit:
    """The fewest of these cards that hold all users; of equal numbers the fastest."""
    box = catalogue.boxed([(spec.name, _CARDS_A_BOX if spec.kind == "discrete" else 1)])
    free = replace(crowd.demand, replicas=None, gpus=None)
    ranked = options(free, berths(box, reserve_bytes), box, crowd.workload, calibration)
    best: Offer | None = None
    for at_least, option in _by_cards(crowd, users, ranked):
        if best and best.cards < at_least:
            break
        most = crowd.most(option, spec)
        if most.users:
            replicas = -(-users // most.users)
            offer = _offer(crowd, option, spec, most, replicas, -(-users // replicas))
            best = min((each for each in (best, offer) if each), key=_cost)
    if best is None:
        return Unfit(spec.name, crowd.obstacle(ranked, spec))
    price = spec.price_usd * best.cards if spec.price_usd else None
    return replace(best, gpu=spec.name, price_usd=price)


def _by_cards(crowd: Crowd, users: int, ranked: Sequence[Option]) -> list[tuple[int, Option]]:
    """Options that hold anybody, with how many cards they need by memory alone; fewest first."""
    held = [(option, crowd.held(option)) for option in ranked]
    found = [(-(-users // most) * option.layout.n_gpus, option) for option, most in held if most]
    return sorted(found, key=lambda each: each[0])


def _cost(offer: Offer) -> tuple[int, float]:
    return offer.cards, -(offer.tokens_per_s or 0.0)


def _box(
    crowd: Crowd,
    inventory: Inventory,
    reserve_bytes: int,
    devices: Sequence[int] | None,
    calibration: Calibration | None,
) -> list[Offer | Unfit]:
    """What each kind of GPU of this box takes, in the layout that takes the most users."""
    places = berths(inventory, reserve_bytes, devices)
    ranked = options(crowd.demand, places, inventory, crowd.workload, calibration)
    specs = {berth.device.name: berth.spec for berth in places}
    return [
        _fullest(crowd, [option for option in ranked if option.gpu == name], name, spec)
        for name, spec in specs.items()
    ]


def _fullest(
    crowd: Crowd, ranked: Sequence[Option], name: str, spec: GpuSpec | None
) -> Offer | Unfit:
    offers = [
        _offer(crowd, option, spec, most, option.replicas, most.users)
        for option in ranked
        if (most := crowd.most(option, spec)).users
    ]
    if not offers:
        return Unfit(name, crowd.obstacle(ranked, spec))
    return max(offers, key=lambda offer: (offer.users, offer.tokens_per_s or 0.0))


def _offer(
    crowd: Crowd,
    option: Option,
    spec: GpuSpec | None,
    most: Most,
    replicas: int,
    users_each: int,
) -> Offer:
    """Speed is with `users_each` on each replica."""
    return Offer(
        gpu=option.gpu,
        layout=option.layout,
        replicas=replicas,
        users_per_replica=most.users,
        footprint=option.footprint,
        nvlink=option.nvlink,
        speed=crowd.speed(option, spec, users_each) if option.speed else None,
        limit=most.limit,
    )


def _rank(offer: Offer) -> tuple[bool, int, bool, int, float]:
    """Sure ones first, then the fewest cards, then the cheapest, then the fastest."""
    price = offer.price_usd
    return (
        offer.speed is None,
        offer.cards,
        price is None,
        price or 0,
        -(offer.tokens_per_s or 0.0),
    )
