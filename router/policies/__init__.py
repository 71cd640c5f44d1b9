"""Replica policies by the name that the config uses. A new policy is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable

from router.policies.base import Policy
from router.policies.least_loaded import LeastLoaded
from router.policies.round_robin import RoundRobin

POLICIES: dict[str, Callable[[], Policy]] = {
    "least_loaded": LeastLoaded,
    "round_robin": RoundRobin,
}
