"""What learning from ratings gains: five models, simulated users, the router's own arithmetic.

Three worlds. "published": models of router/catalog/benchmarks.yaml; what users think is one
benchmark of a task, what the router believes beforehand is another one of the same task.
"synthetic": scores drawn with the spread that LogicKor shows among models of 6 to 14 billion
parameters (means about 1.1 of 10 apart, a model's tasks about 0.7), beliefs that miss them by about
1.0, as few questions do. "misled": the same, but each model is believed to be another one; no
target holds there. A rating is up with the model's score as its chance. Nothing asks a model.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from random import Random
from statistics import fmean, stdev
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import goals
from router.catalog.benchmarks import Row, table
from router.catalog.score import Score, clipped
from router.feedback.explore import Explorer, draw
from router.feedback.posterior import Key, Posterior, Settings, Tally, posteriors

MODELS = 5
POOLS = 40
HORIZONS = (100, 300, 1000)
JUDGED = 300
LEAST = 0.96  # of the score of the best single model in hindsight

# By task: what the router believes beforehand, and what users think.
PAIRS: Mapping[str, tuple[str, str]] = {
    "code": ("HumanEval+", "MBPP+"),
    "math": ("GSM8K", "MATH"),
    "knowledge": ("MMLU", "KMMLU"),
    "chat": ("MT-Bench", "WildBench"),
    "korean": ("LogicKor", "KoMT-Bench"),
}
_SYNTHETIC_TASKS = tuple(f"task {n}" for n in range(1, 7))
_FLAT = Score(0.5, "published", "nothing")


@dataclass(frozen=True)
class World:
    """`truth`: the chance of an up, by (task, model). `believed`: what the router starts from."""

    truth: Mapping[Key, float]
    believed: Mapping[Key, float]

    @property
    def tasks(self) -> list[str]:
        return list(dict.fromkeys(task for task, _ in self.truth))

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(model for _, model in self.truth))

    def mean(self, model: str) -> float:
        return fmean(self.truth[task, model] for task in self.tasks)

    @property
    def best_single(self) -> str:
        return max(self.models, key=self.mean)

    def best_for(self, task: str) -> str:
        return max(self.models, key=lambda model: self.truth[task, model])


class Player:
    """Picks a model for a task, and is told the rating. This one picks any."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = Random(seed)
        self.seen = dict.fromkeys(world.truth, (0, 0))

    def pick(self, task: str) -> str:
        return self.random.choice(self.world.models)

    def told(self, task: str, model: str, up: bool) -> None:
        ups, count = self.seen[task, model]
        self.seen[task, model] = (ups + up, count + 1)


class BestSingle(Player):
    def pick(self, task: str) -> str:
        return self.world.best_single


class Oracle(Player):
    def pick(self, task: str) -> str:
        return self.world.best_for(task)


class PriorOnly(Player):
    """The published table without learning."""

    def pick(self, task: str) -> str:
        return max(self.world.models, key=lambda model: self.world.believed[task, model])


class Switching(Player):
    """Any model for the first 50 ratings, from then on the highest mean: greedy."""

    after = 50

    def pick(self, task: str) -> str:
        if sum(count for _, count in self.seen.values()) < self.after:
            return super().pick(task)
        return max(self.world.models, key=lambda model: self._mean(task, model))

    def _mean(self, task: str, model: str) -> float:
        ups, count = self.seen[task, model]
        return ups / count if count else 0.0


class Thompson(Player):
    """Draws from the posteriors at every request."""

    settings = Settings(prior_weight=2.0, shrinkage=inf, levelled=False)
    informed = False
    one_arm_set = False

    def __init__(self, world: World, seed: int) -> None:
        super().__init__(world, seed)
        believed = world.believed.items()
        self._priors = {
            key: Score(clipped(value), "published", "believed") if self.informed else _FLAT
            for key, value in believed
        }

    def pick(self, task: str) -> str:
        return draw(self.able(task), self.random)

    def able(self, task: str) -> dict[str, Posterior]:
        at = self.world.tasks[0] if self.one_arm_set else task
        found = posteriors(self._priors, self._tallies(), self.settings)
        return {model: found[at, model] for model in self.world.models}

    def told(self, task: str, model: str, up: bool) -> None:
        super().told(self.world.tasks[0] if self.one_arm_set else task, model, up)

    def _tallies(self) -> dict[Key, Tally]:
        return {key: Tally(ups, n) for key, (ups, n) in self.seen.items() if n}


class OneArmSet(Thompson):
    one_arm_set = True


class Shrunk(Thompson):
    settings = Settings(prior_weight=20.0, shrinkage=2.0, levelled=False)


class ShrunkPrior(Thompson):
    settings = Settings(levelled=False)
    informed = True


class Levelled(Thompson):
    settings = Settings()
    informed = True


class Product(Levelled):
    """As the router does it by default: the highest mean, no exploration."""

    share = 0.0

    def __init__(self, world: World, seed: int) -> None:
        super().__init__(world, seed)
        self._explorer = Explorer(self.share, seed)

    def pick(self, task: str) -> str:
        able = self.able(task)
        return self._explorer.pick(able) or max(able, key=lambda model: able[model].mean)


class ProductExploring(Product):
    share = 0.05


PLAYERS: Mapping[str, Callable[[World, int], Player]] = {
    "random": Player,
    "greedy after 50 ratings": Switching,
    "published table, no learning": PriorOnly,
    "Thompson, one arm set": OneArmSet,
    "Thompson per task": Thompson,
    "Thompson per task, shrunk": Shrunk,
    "Thompson, shrunk + prior": ShrunkPrior,
    "Thompson, shrunk + prior + level": Levelled,
    "router, exploration off": Product,
    "router, exploration 5 %": ProductExploring,
    "best single (hindsight)": BestSingle,
    "oracle per task (hindsight)": Oracle,
}
ROUTED = ("router, exploration off", "router, exploration 5 %")
_BEST = "best single (hindsight)"


@dataclass(frozen=True)
class Line:
    """A player's mean score by horizon, over all pools. `share`: of the best single model's."""

    player: str
    means: Mapping[int, float]
    share: float
    standard_error: float


@dataclass(frozen=True)
class Outcome:
    world: str
    pools: int
    lines: tuple[Line, ...]

    def line(self, player: str) -> Line:
        return next(line for line in self.lines if line.player == player)

    @property
    def judged(self) -> bool:
        return self.world in JUDGED_WORLDS

    @property
    def reached(self) -> bool:
        return all(self.line(player).share >= LEAST for player in ROUTED)


def published(random: Random) -> World:
    """Five models that have all the figures, drawn anew."""
    rows = {model: row for model, row in table().models.items() if _complete(row)}
    chosen = random.sample(sorted(rows), MODELS)
    return World(
        truth={(t, m): _share(rows[m], after) for t, (_, after) in PAIRS.items() for m in chosen},
        believed={
            (t, m): _share(rows[m], prior) for t, (prior, _) in PAIRS.items() for m in chosen
        },
    )


def synthetic(random: Random) -> World:
    """On the scale of 0 to 1."""
    means = {f"model {n}": random.gauss(0.67, 0.11) for n in range(1, MODELS + 1)}
    truth = {
        (task, model): clipped(random.gauss(mean, 0.07))
        for task in _SYNTHETIC_TASKS
        for model, mean in means.items()
    }
    believed = {key: clipped(random.gauss(value, 0.10)) for key, value in truth.items()}
    return World(truth, believed)


def misled(random: Random) -> World:
    """Each model is believed to be the next one."""
    world = synthetic(random)
    after = dict(zip(world.models, world.models[1:] + world.models[:1], strict=True))
    believed = {(task, model): world.believed[task, after[model]] for task, model in world.truth}
    return World(world.truth, believed)


WORLDS: Mapping[str, Callable[[Random], World]] = {
    "published": published,
    "synthetic": synthetic,
    "misled": misled,
}
JUDGED_WORLDS = ("published", "synthetic")


def play(world: World, player: Player, seed: int, requests: int) -> list[float]:
    """The true score of the model picked for each request: no luck of single ratings in it."""
    random = Random(seed)
    scores = []
    for _ in range(requests):
        task = random.choice(world.tasks)
        model = player.pick(task)
        scores.append(world.truth[task, model])
        player.told(task, model, random.random() < scores[-1])
    return scores


def simulate(name: str, pools: int = POOLS, horizons: Sequence[int] = HORIZONS) -> Outcome:
    worlds = [WORLDS[name](Random(seed)) for seed in range(pools)]
    played = {
        player: [
            play(world, make(world, seed), seed, max(horizons)) for seed, world in enumerate(worlds)
        ]
        for player, make in PLAYERS.items()
    }
    best = [fmean(scores[:JUDGED]) for scores in played[_BEST]]
    lines = tuple(_line(player, runs, best, horizons) for player, runs in played.items())
    return Outcome(name, pools, lines)


def _line(
    player: str, runs: Sequence[Sequence[float]], best: Sequence[float], horizons: Sequence[int]
) -> Line:
    judged = [fmean(run[:JUDGED]) for run in runs]
    shares = [mine / theirs for mine, theirs in zip(judged, best, strict=True)]
    return Line(
        player=player,
        means={horizon: fmean(fmean(run[:horizon]) for run in runs) for horizon in horizons},
        share=fmean(judged) / fmean(best),
        standard_error=stdev(shares) / len(shares) ** 0.5 if len(shares) > 1 else 0.0,
    )


def _complete(row: Row) -> bool:
    return all(benchmark in row.figures for pair in PAIRS.values() for benchmark in pair)


def _share(row: Row, benchmark: str) -> float:
    return row.figures[benchmark] / table().benchmarks[benchmark].points


def main(arguments: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    outcomes = [simulate(name, args.pools) for name in WORLDS]
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(document(outcomes), indent=1) + "\n")
    show(outcomes)
    missed = (each.world for each in outcomes if each.judged and not each.reached)
    return goals.exit_code(missed, strict=args.strict)


def document(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return {
        "about": " ".join((__doc__ or "").split()),
        "models": MODELS,
        "judged_after": JUDGED,
        "least_share": LEAST,
        "worlds": [
            asdict(outcome) | {"judged": outcome.judged, "reached": outcome.reached}
            for outcome in outcomes
        ],
    }


def show(outcomes: Sequence[Outcome]) -> None:
    console = Console(width=None if Console().is_terminal else 120, highlight=False)
    for outcome in outcomes:
        console.print(_table(outcome))
    console.print(f"share: of the best single model's score over the first {JUDGED} requests")
    for outcome in outcomes:
        verdict = "reached" if outcome.reached else "NOT reached"
        target = "" if outcome.judged else " (no target here)"
        console.print(f"{outcome.world}: {LEAST} by both of the router's lines {verdict}{target}")


def _table(outcome: Outcome) -> Table:
    title = f"{outcome.world}: {outcome.pools} pools of {MODELS} models, mean score of 1"
    shown = Table("picks by", title=title, title_justify="left")
    for horizon in outcome.lines[0].means:
        shown.add_column(f"first {horizon}", justify="right")
    shown.add_column("share", justify="right")
    for line in outcome.lines:
        means = (f"{mean:.3f}" for mean in line.means.values())
        shown.add_row(line.player, *means, f"{line.share:.3f} ± {line.standard_error:.3f}")
    return shown


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pools", type=int, default=POOLS, help="pools of models in each world")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    goals.add_strict(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
