"""Names to lanes, and what the replicas' reports make of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from common.config import Config
from common.errors import BadRequestError, ModelNotFoundError
from engines.base import EngineStatus, State
from router.dispatch import Dispatcher
from router.policies.round_robin import RoundRobin
from router.replicas import Replica

LLAMA: dict[str, Any] = {"source": "meta/llama", "aliases": ["gpt-4o-mini", "small"]}
QWEN: dict[str, Any] = {"source": "Qwen/Qwen3", "aliases": ["gpt-4o"]}
READY = EngineStatus(State.READY, url="http://127.0.0.1:1", pid=1)


def dispatcher(models: dict[str, dict[str, Any]], replicas: int = 1, **more: Any) -> Dispatcher:
    config = Config.model_validate({"models": models, **more})
    members = [Replica(f"{name}-{i}", name, 4) for name in models for i in range(replicas)]
    return Dispatcher(config, members)


def test_a_model_is_found_by_its_name_and_by_every_alias() -> None:
    here = dispatcher({"llama3": LLAMA, "org/qwen": QWEN})
    assert here.route("llama3").lane is here.lanes["llama3"]
    assert here.route("llama3").reason == "by name"
    assert here.route("org/qwen").lane is here.lanes["org/qwen"]
    for alias in ("gpt-4o-mini", "small"):
        assert here.route(alias).lane is here.lanes["llama3"]
        assert here.route(alias).reason == "alias of llama3"


def test_names_are_listed_in_the_order_of_the_config() -> None:
    here = dispatcher({"org/qwen": QWEN, "llama3": LLAMA})
    assert here.names == ["org/qwen", "gpt-4o", "llama3", "gpt-4o-mini", "small"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("llama4", "no model 'llama4'; did you mean 'llama3'?"),
        ("gpt-4o-min", "no model 'gpt-4o-min'; did you mean 'gpt-4o-mini' or 'gpt-4o'?"),
        ("zzz", "no model 'zzz'; there are: llama3, gpt-4o-mini, small, qwen, gpt-4o"),
        ("LLAMA3", "no model 'LLAMA3'; there are: llama3, gpt-4o-mini, small, qwen, gpt-4o"),
    ],
)
def test_an_unknown_name_is_refused_with_near_ones(asked: str, message: str) -> None:
    here = dispatcher({"llama3": LLAMA, "qwen": QWEN})
    with pytest.raises(ModelNotFoundError) as refused:
        here.route(asked)
    assert (refused.value.message, refused.value.param) == (message, "model")


@pytest.mark.parametrize("missing", [None, ""])
def test_without_a_name_the_only_model_answers(missing: str | None) -> None:
    here = dispatcher({"llama3": LLAMA})
    route = here.route(missing)
    assert (route.lane.model, route.reason) == ("llama3", "only model")


@pytest.mark.parametrize("missing", [None, ""])
def test_without_a_name_and_with_several_models_they_are_named(missing: str | None) -> None:
    with pytest.raises(BadRequestError) as refused:
        dispatcher({"llama3": LLAMA, "qwen": QWEN}).route(missing)
    assert refused.value.message == "model is missing; one of: llama3, qwen"
    assert refused.value.param == "model"


def test_ready_is_one_replica_of_each_model_and_settled_is_all_of_them() -> None:
    here = dispatcher({"llama3": LLAMA, "qwen": QWEN}, replicas=2)
    seen = []
    for replica in ("llama3-0", "qwen-1", "llama3-1", "qwen-0"):
        seen.append((here.ready, here.settled))
        here.report(replica, READY)
    seen.append((here.ready, here.settled))
    assert seen == [(False, False), (False, False), (True, False), (True, False), (True, True)]
    here.report("qwen-0", None)
    assert (here.ready, here.settled) == (True, False)
    here.report("qwen-1", EngineStatus(State.FAILED, error="out of memory"))
    assert (here.ready, here.settled) == (False, False)


def test_a_model_that_has_no_replica_is_not_ready() -> None:
    config = Config.model_validate({"models": {"llama3": LLAMA}})
    here = Dispatcher(config, [])
    assert (here.ready, here.settled) == (False, True)


def test_a_report_reaches_its_replica_only() -> None:
    here = dispatcher({"llama3": LLAMA}, replicas=2)
    here.report("llama3-1", READY)
    assert here.replicas["llama3-1"].url == READY.url
    assert here.replicas["llama3-0"].state is State.STARTING


def test_restarts_are_counted_over_a_lost_process() -> None:
    here = dispatcher({"llama3": LLAMA})
    replica = here.replicas["llama3-0"]
    here.report("llama3-0", READY)
    here.report("llama3-0", None)
    assert (replica.state, replica.url, replica.restarts) == (State.STARTING, None, 0)
    here.report("llama3-0", EngineStatus(State.LOADING, pid=2))
    here.report("llama3-0", EngineStatus(State.READY, pid=2, url="http://127.0.0.1:2"))
    assert (replica.url, replica.restarts) == ("http://127.0.0.1:2", 1)


def test_a_report_lets_those_who_wait_go_on() -> None:
    async def work() -> None:
        here = dispatcher({"llama3": LLAMA}, replicas=2)
        for replica in here.replicas.values():
            replica.max_in_flight = 1
        here.report("llama3-0", READY)
        lane = here.lanes["llama3"]
        await lane.acquire()
        waiter = asyncio.create_task(lane.acquire())
        await asyncio.sleep(0)
        assert lane.queued == 1
        here.report("llama3-1", READY)
        assert (await asyncio.wait_for(waiter, 2)).id == "llama3-1"

    asyncio.run(work())


def test_the_lanes_take_policy_and_limits_from_the_config() -> None:
    server = {"max_queued": 3, "queue_timeout": "2m"}
    here = dispatcher(
        {"llama3": LLAMA, "qwen": QWEN}, server=server, router={"policy": "round_robin"}
    )
    lanes = list(here.lanes.values())
    assert [(lane._max_queued, lane._queue_timeout_s) for lane in lanes] == [(3, 120.0)] * 2
    assert all(isinstance(lane.policy, RoundRobin) for lane in lanes)
    assert lanes[0].policy is not lanes[1].policy
