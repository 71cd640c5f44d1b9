"""What a question of capacity is answered with: cards, how many of them, and for how many users."""

from __future__ import annotations

from dataclasses import dataclass

from placement.footprint.settings import Footprint
from placement.plan.demand import Layout
from placement.plan.speed import Speed, Workload


@dataclass(frozen=True)
class Offer:
    """Replicas of one layout on one kind of card, and the most users whom they take.

    `speed` is predicted for one replica with its share of the users that are asked about; None
    where the spec sheet is not known, and then `users` rests on memory alone. `limit` says what
    allows no more of them.
    """

    gpu: str
    layout: Layout
    replicas: int
    users_per_replica: int
    footprint: Footprint
    nvlink: bool
    speed: Speed | None
    limit: str
    price_usd: int | None = None  # of all cards together, nothing else

    @property
    def cards(self) -> int:
        return self.replicas * self.layout.n_gpus

    @property
    def users(self) -> int:
        return self.users_per_replica * self.replicas

    @property
    def users_per_card(self) -> float:
        return self.users_per_replica / self.layout.n_gpus

    @property
    def tokens_per_s(self) -> float | None:
        return self.speed.tokens_per_s * self.replicas if self.speed else None


@dataclass(frozen=True)
class Unfit:
    """A card that will not do, however many there are of it, and why."""

    gpu: str
    reason: str


@dataclass(frozen=True)
class Capacity:
    """`offers` are for sale, fewest cards first; `box` is what this box takes, one line a kind of
    its GPUs (empty: it has none to use)."""

    model: str
    users: int
    workload: Workload
    least_tokens_per_s: float
    offers: tuple[Offer, ...]
    unfit: tuple[Unfit, ...]
    box: tuple[Offer, ...]
    box_unfit: tuple[Unfit, ...]

    @property
    def box_users(self) -> int:
        return sum(offer.users for offer in self.box)
