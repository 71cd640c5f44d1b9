"""Ensembles by the kind that the config uses. A new kind is a file and a line here, and a line in
`EnsembleConfig` (common/ensembles_config.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from router.ensembles.ask import Request
from router.ensembles.best_of import best_of
from router.ensembles.cascade import cascade
from router.ensembles.chain import chain
from router.ensembles.compare import compare
from router.ensembles.decompose import decompose
from router.ensembles.fuse import fuse
from router.ensembles.run import Outcome, Run
from router.ensembles.verify import verify
from router.ensembles.vote import vote

Kind = Callable[[Run, Request], Awaitable[Outcome]]

KINDS: Mapping[str, Kind] = {
    "vote": vote,
    "cascade": cascade,
    "compare": compare,
    "fuse": fuse,
    "best_of": best_of,
    "verify": verify,
    "decompose": decompose,
    "chain": chain,
}

# Calls end at the deadline by themselves; a kind that waits for something else ends here.
_GRACE_S = 1.0


async def execute(run: Run, request: Request, kinds: Mapping[str, Kind] = KINDS) -> Outcome:
    """Raises RoundhouseError when there is no answer; `run.trace()` tells what happened either way.

    Whoever cancels it cancels every call.
    """
    guard = asyncio.timeout_at(run.hard_at + _GRACE_S)
    try:
        async with guard:
            return await kinds[run.recipe.kind](run, request)
    except TimeoutError:
        if not guard.expired():
            raise
        raise run.out_of_time() from None
