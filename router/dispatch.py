"""The file to read first: from the name in a request to the lane of replicas that answers it."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from common.config import Config
from common.errors import BadRequestError, ModelNotFoundError
from engines.base import EngineStatus, State
from router.auto import Auto, Decision, Wish
from router.candidates import facts_of, of_lanes, profile_of, profiles_of
from router.catalog.profile import Facts
from router.classify import Conversation, Verdict
from router.classify.own_patterns import rules_of
from router.conversations import Marks
from router.feedback.learning import Learning
from router.files import note_told
from router.policies import POLICIES
from router.replicas import Lane, Replica


@dataclass(frozen=True)
class Route:
    """The decision for one request, and why."""

    lane: Lane
    reason: str
    task: str = ""  # known where the model was chosen by it
    fallbacks: tuple[Lane, ...] = ()  # that may answer for it, in order


class Dispatcher:
    """Knows every model by its name and aliases, and every replica by its id."""

    def __init__(self, config: Config, replicas: Iterable[Replica]) -> None:
        by_model: dict[str, list[Replica]] = {name: [] for name in config.models}
        for replica in replicas:
            by_model[replica.model].append(replica)
        self.lanes: Mapping[str, Lane] = {
            name: _lane(config, name, members) for name, members in by_model.items()
        }
        self.replicas = {r.id: r for members in by_model.values() for r in members}
        self._routes = _routes(config, self.lanes)
        self.profiles = profiles_of(config)
        self._config = config
        self._facts: dict[str, Facts] = {}
        self._learning: Learning | None = None
        self._auto = Auto(rules_of(config), config.router.strategy, config.router.conversations)

    def become(self, fresh: Dispatcher, kept: Collection[str]) -> None:
        """Another config, in one step for all who hold this dispatcher. `fresh` is made of it.

        Models of `kept` keep their lanes, with all that waits and is in flight.
        """
        for name in kept:
            self.lanes[name].set_limits(fresh.lanes[name], fresh._config.router.breaker)
            if facts := self._facts.get(name):
                fresh.profiles[name] = profile_of(fresh._config, name, facts)
        self.lanes = {
            name: self.lanes[name] if name in kept else lane for name, lane in fresh.lanes.items()
        }
        self.replicas = {r.id: r for lane in self.lanes.values() for r in lane.replicas}
        self._facts = {name: facts for name, facts in self._facts.items() if name in kept}
        self._routes = _routes(fresh._config, self.lanes)
        self.profiles = fresh.profiles
        if fresh._config.router.conversations == self._config.router.conversations:
            fresh._auto.goes_on_from(self._auto)
        fresh._auto.learning = self._learning
        self._auto, self._config = fresh._auto, fresh._config

    def refit(self, model: str, replicas: Sequence[Replica]) -> None:
        """Other replicas for a model of which none is loaded; who waits for it gets one of them."""
        lane = self.lanes[model]
        for replica in lane.replicas:
            self.replicas.pop(replica.id, None)
        for replica in replicas:
            replica.breaker.config = self._config.router.breaker
            self.replicas[replica.id] = replica
        lane.replicas = replicas
        self._facts.pop(model, None)
        self.profiles[model] = profile_of(self._config, model)

    def route(self, name: str | None) -> Route:
        """Raises ModelNotFoundError, with near names, or BadRequestError when none is given."""
        if not name:
            if len(self.lanes) == 1:
                return Route(next(iter(self.lanes.values())), "only model")
            raise BadRequestError(
                f"model is missing; one of: {', '.join(self.lanes)}", param="model"
            )
        route = self._routes.get(name)
        if route is None:
            raise ModelNotFoundError(self._not_found(name), param="model")
        return route

    def decide(
        self,
        conversation: Conversation | None,
        wish: Wish,
        *,
        marks: Marks,
        now: float,
        only_ask: bool = False,
        verdict: Verdict | None = None,
        by_second_stage: bool = False,
    ) -> Decision:
        """The model for `auto`. Raises UnavailableError when none can take the request."""
        return self._auto.decide(
            conversation,
            wish,
            of_lanes(self.lanes, self.profiles, self._learning),
            marks=marks,
            now=now,
            only_ask=only_ask,
            verdict=verdict,
            by_second_stage=by_second_stage,
        )

    def classify(self, conversation: Conversation | None, wish: Wish) -> Verdict:
        """What the rules say of it."""
        return self._auto.classify(conversation, wish)

    def stays(self, verdict: Verdict, marks: Marks, now: float) -> bool:
        """Does the conversation have a model that this verdict does not move it from?"""
        return self._auto.stays(verdict, marks, now)

    def learn_from(self, learning: Learning) -> None:
        """From now on feedback counts, and a share of requests may try another model."""
        self._learning = self._auto.learning = learning

    def chosen(self, decision: Decision) -> Route:
        """The rest of the ranked models stand in, where the config names no others."""
        named = self._routes[decision.model]
        ranked = (self.lanes[each.model] for each in decision.choice.ranked)
        others = tuple(lane for lane in ranked if lane is not named.lane)
        return Route(
            named.lane,
            decision.choice.reason,
            decision.verdict.task,
            named.fallbacks or others,
        )

    def report(self, replica_id: str, status: EngineStatus | None) -> None:
        """A replica's own report, or None when it could not be had."""
        replica = self.replicas.get(replica_id)
        if replica is None:  # of a model that has left the config
            return
        facts = facts_of(status) if status else None
        if facts and facts != self._facts.get(replica.model):  # before it counts as ready
            self._facts[replica.model] = facts
            self.profiles[replica.model] = profile_of(self._config, replica.model, facts)
            note_told(self._config, replica.model, facts)
        self.lanes[replica.model].report(replica, status)

    @property
    def ready(self) -> bool:
        """Every model that is not on demand has a ready replica."""
        return all(lane.on_demand or lane.has_ready() for lane in self.lanes.values())

    @property
    def settled(self) -> bool:
        """Every replica, not only one of each model, is up, but for models on demand."""
        return all(
            lane.on_demand or all(replica.state is State.READY for replica in lane.replicas)
            for lane in self.lanes.values()
        )

    @property
    def names(self) -> list[str]:
        """Model names and aliases, in the config's order."""
        return list(self._routes)

    def _not_found(self, name: str) -> str:
        near = difflib.get_close_matches(name, self._routes, n=3)
        if near:
            return f"no model {name!r}; did you mean {' or '.join(map(repr, near))}?"
        return f"no model {name!r}; there are: {', '.join(self._routes)}"


def _lane(config: Config, name: str, replicas: list[Replica]) -> Lane:
    return Lane(
        name,
        replicas,
        POLICIES[config.router.policy](),
        max_queued=config.server.max_queued,
        queue_timeout_s=config.server.queue_timeout_s,
        breaker=config.router.breaker,
    )


def _routes(config: Config, lanes: Mapping[str, Lane]) -> dict[str, Route]:
    routes: dict[str, Route] = {}
    for name, lane in lanes.items():
        others = tuple(lanes[other] for other in config.router.fallbacks.get(name, ()))
        routes[name] = Route(lane, "by name", fallbacks=others)
        for alias in config.models[name].aliases:
            routes[alias] = Route(lane, f"alias of {name}", fallbacks=others)
    return routes
