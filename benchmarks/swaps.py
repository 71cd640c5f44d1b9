"""Swaps of models on a box with room for some of them: in groups, or first in, first out.

A SIMULATION: the manager's own code on a clock that jumps, with engines whose times are given as
parameters. No model is loaded, and nothing is said of any hardware. First in, first out takes
requests strictly in order and evicts what was used longest ago; both serve requests for a loaded
model side by side.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from statistics import median

from benchmarks import goals, virtual_time
from engines.manager.line import Bounds
from engines.manager.manager import Manager
from engines.manager.model import ManagedModel
from engines.manager.record import Event

MOST_SHARE = 0.5  # of the swaps of first in, first out
_DEVICE = "gpu:0"
_LONG_S = 1e6


@dataclass(frozen=True)
class Settings:
    """Seconds are those of the simulation. `gap_s`: mean time between two requests."""

    requests: int = 200
    models: int = 4
    room: int = 2
    gap_s: float = 2.0
    service_s: float = 1.5
    load_s: float = 10.0
    unload_s: float = 1.0
    max_swaps: int = 4
    max_wait_s: float = 30.0

    @property
    def bound_s(self) -> float:
        """The longest that anybody may wait.

        Before its own turn every other model that was asked for earlier, and `max_swaps` that were
        asked for later, take a turn each: waiting for it, for what is still being answered, for an
        unload and a load. Its own turn takes as long.
        """
        turn_s = self.max_wait_s + 2 * self.service_s + self.unload_s + self.load_s
        return turn_s * (self.models + self.max_swaps)


@dataclass(frozen=True)
class Request:
    at_s: float
    model: str
    service_s: float


@dataclass
class SimulatedEngines:
    """All models are of size 1. `peak` is the most that was ever held at once."""

    settings: Settings
    held: set[str] = field(default_factory=set)
    loads: int = 0
    peak: int = 0

    async def load(self, model: str) -> None:
        self.held.add(model)
        self.loads += 1
        self.peak = max(self.peak, len(self.held))
        await asyncio.sleep(self.settings.load_s)

    async def unload(self, model: str) -> None:
        await asyncio.sleep(self.settings.unload_s)
        self.held.discard(model)

    async def wake(self, model: str) -> None:
        raise NotImplementedError("these engines do not sleep")

    async def sleep(self, model: str, level: int) -> None:
        raise NotImplementedError("these engines do not sleep")

    async def warm_up(self, model: str) -> None:
        """Counted within the load."""


@dataclass(frozen=True)
class Outcome:
    order: str
    seed: int
    swaps: int
    answered: int
    longest_wait_s: float
    median_wait_s: float
    overtaken: int  # at most: loads begun for later requests
    peak: int
    took_s: float


def trace(settings: Settings, seed: int) -> list[Request]:
    """Arrivals at random, every model as likely as the others, answers half to one and a half."""
    random = Random(seed)
    at_s, requests = 0.0, []
    for _ in range(settings.requests):
        at_s += random.expovariate(1 / settings.gap_s) if settings.gap_s else 0.0
        model = f"model-{random.randrange(settings.models)}"
        requests.append(Request(at_s, model, settings.service_s * random.uniform(0.5, 1.5)))
    return requests


async def in_groups(settings: Settings, seed: int) -> Outcome:
    """By the manager."""
    engines = SimulatedEngines(settings)
    names = [f"model-{n}" for n in range(settings.models)]
    models = [ManagedModel(n, {_DEVICE: 1}, reload_cost_s=settings.load_s) for n in names]
    bounds = Bounds(settings.max_swaps, settings.max_wait_s)
    waits: list[float] = []
    overtaken: list[int] = []
    events: list[Event] = []

    async def ask(request: Request) -> None:
        await asyncio.sleep(request.at_s)
        with await manager.ensure_ready(request.model, _LONG_S) as lease:
            waits.append(lease.waited_s)
            overtaken.append(lease.overtaken)
            await asyncio.sleep(request.service_s)

    budget = {_DEVICE: settings.room}
    async with Manager(models, budget, engines, bounds=bounds, tell=events.append) as manager:
        await asyncio.gather(*map(ask, trace(settings, seed)))
        took_s = asyncio.get_running_loop().time()
    return _outcome("in groups", seed, engines, waits, max(overtaken), took_s)


async def first_in_first_out(settings: Settings, seed: int) -> Outcome:
    engines = SimulatedEngines(settings)
    ready: dict[str, set[asyncio.Task[None]]] = {}  # the one used longest ago first
    waits: list[float] = []
    clock = asyncio.get_running_loop().time

    async def answer(request: Request) -> None:
        waits.append(clock() - request.at_s)
        await asyncio.sleep(request.service_s)

    for request in trace(settings, seed):
        await asyncio.sleep(max(0.0, request.at_s - clock()))
        if request.model not in ready:
            if len(ready) == settings.room:
                victim = next(iter(ready))
                await asyncio.gather(*ready.pop(victim))
                await engines.unload(victim)
            await engines.load(request.model)
        answers = ready[request.model] = ready.pop(request.model, set())
        answers.add(asyncio.create_task(answer(request)))
    await asyncio.gather(*(task for tasks in ready.values() for task in tasks))
    return _outcome("first in, first out", seed, engines, waits, 0, clock())


def _outcome(
    order: str,
    seed: int,
    engines: SimulatedEngines,
    waits: Sequence[float],
    overtaken: int,
    took_s: float,
) -> Outcome:
    return Outcome(
        order=order,
        seed=seed,
        swaps=engines.loads,
        answered=len(waits),
        longest_wait_s=max(waits),
        median_wait_s=median(waits),
        overtaken=overtaken,
        peak=engines.peak,
        took_s=took_s,
    )


@dataclass(frozen=True)
class Pair:
    """The same trace twice."""

    fifo: Outcome
    grouped: Outcome

    @property
    def share(self) -> float:
        return self.grouped.swaps / self.fifo.swaps


def compare(settings: Settings, seeds: Sequence[int]) -> list[Pair]:
    return [
        Pair(
            virtual_time.run(first_in_first_out(settings, seed)),
            virtual_time.run(in_groups(settings, seed)),
        )
        for seed in seeds
    ]


def targets(settings: Settings, pairs: Sequence[Pair]) -> dict[str, bool]:
    """What is to be reached, and whether it is, in every trace."""
    return {
        f"at most {MOST_SHARE:g} of the swaps": all(p.share <= MOST_SHARE for p in pairs),
        f"longest wait within {settings.bound_s:g} s": all(
            p.grouped.longest_wait_s <= settings.bound_s for p in pairs
        ),
        f"overtaken at most {settings.max_swaps} times": all(
            p.grouped.overtaken <= settings.max_swaps for p in pairs
        ),
        "never more than there is room for": all(p.grouped.peak <= settings.room for p in pairs),
        "every request answered": all(p.grouped.answered == settings.requests for p in pairs),
    }


def show(settings: Settings, pairs: Sequence[Pair], tell: Callable[[str], None] = print) -> None:
    tell(f"Simulated, no engine was run. {settings}")
    tell(f"{'seed':>4}  {'order':<20}{'swaps':>6}{'longest wait':>14}{'median':>9}{'all done':>10}")
    for pair in pairs:
        for each in (pair.fifo, pair.grouped):
            tell(
                f"{each.seed:>4}  {each.order:<20}{each.swaps:>6}{each.longest_wait_s:>12.1f} s"
                f"{each.median_wait_s:>7.1f} s{each.took_s:>8.0f} s"
            )
    shares = [pair.share for pair in pairs]
    tell(f"swaps in groups / first in, first out: {min(shares):.2f} to {max(shares):.2f}")
    for target, reached in targets(settings, pairs).items():
        tell(f"{target}: {'reached' if reached else 'NOT reached'}")


def main(arguments: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    names = Settings.__dataclass_fields__
    settings = Settings(**{name: getattr(args, name) for name in names})
    pairs = compare(settings, range(args.traces))
    show(settings, pairs)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(document(settings, pairs), indent=1) + "\n")
    missed = (name for name, reached in targets(settings, pairs).items() if not reached)
    return goals.exit_code(missed, strict=args.strict)


def document(settings: Settings, pairs: Sequence[Pair]) -> dict[str, object]:
    return {
        "about": " ".join((__doc__ or "").split()),
        "settings": asdict(settings),
        "bound_s": settings.bound_s,
        "traces": [asdict(pair) for pair in pairs],
        "targets": targets(settings, pairs),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in asdict(Settings()).items():
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=type(default), default=default, dest=name)
    parser.add_argument("--traces", type=int, default=10, help="random traces, by seed")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    goals.add_strict(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
