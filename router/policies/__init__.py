"""Replica policies by the name that the config uses. A new policy is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable

from router.policies.base import Policy
from router.policies.least_loaded import LeastLoaded
from router.policies.power_of_two import PowerOfTwo
from router.policies.prefix_aware import PrefixAware
from router.policies.round_robin import RoundRobin
from router.policies.session import Session

POLICIES: dict[str, Callable[[], Policy]] = {
    "prefix_aware": PrefixAware,
    "least_loaded": LeastLoaded,
    "power_of_two": PowerOfTwo,
    "round_robin": RoundRobin,
    "session": Session,
}
