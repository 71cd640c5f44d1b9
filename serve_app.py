"""Composition root: config -> plan -> Ray Serve applications.

`roundhouse serve` calls `plan` and `deploy`; `serve run serve_app:build config=configs/cpu.yaml`
calls `build`.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import psutil
import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve import Application, RunTarget
from ray.serve.exceptions import RayServeException

from common import config_file
from common.config import Config
from common.errors import NotEnoughMemoryError
from common.instance import log_path
from common.units import GIB
from engines import deployment as engine
from engines import registry
from engines.base import ReplicaSpec
from engines.changes import Changes
from engines.endpoint import remotes_of
from engines.manager.roster import Roster, roster_of
from engines.ollama.discover import discover
from gateway import deployment as gateway
from gateway.setup import Setup
from placement.calibration import store as calibration_store
from placement.calibration.calibration import Calibration
from placement.inventory import look
from placement.inventory.inventory import Inventory
from placement.models.load import load
from placement.plan import planner as planning
from placement.plan.demand import Demand
from placement.plan.extension import extended, only
from placement.plan.planner import Placement, Plan, Refusal
from placement.plan.timetable import Timetable, timetable
from router.classify import own_patterns

_OBJECT_STORE_BYTES = 80 << 20  # next to nothing passes through it; Ray's floor is 75 MiB
_STOP_TIMEOUT_S = 15.0
Progress = Callable[[str], None]
Folders = dict[str, Path]


def plan(config: Config, inventory: Inventory, progress: Progress) -> tuple[Timetable, Folders]:
    """Where each replica that runs here stands, and the folder or file of each model.

    Models that do not all fit at once take turns. Fetches models that are not on this disk yet.
    Raises ConfigError, ModelFetchError, NotEnoughMemoryError for a model that fits nowhere, or
    another StartError; nothing has been started then.
    """
    remotes_of(config)  # a key that is missing is told before anything starts
    demands, folders = _demands(config, _owned(config), progress)
    make = partial(_make, config, inventory, calibration_store.load())
    made = timetable(demands, make, pinned=_pinned(config), last=_on_demand(config))
    _raise_refusals(made)
    return made, folders


def replan(running: Setup, config: Config, found: Changes, progress: Progress) -> Setup:
    """The setup that follows from another config, in which the models that stay keep their place.

    The box is as it was found at the start, without our engines: what those that stay were planned
    to take is theirs, what the others were is free. Raises what `plan` does.
    """
    remotes_of(config)
    stay = {name for name in _owned(config) if name in found.unchanged}
    fresh = [name for name in _owned(config) if name not in stay]
    demands, folders = _demands(config, fresh, progress)
    make = partial(_make, config, running.plan.together.inventory, calibration_store.load())
    kept = only(running.plan, stay)
    made = extended(kept, demands, make, pinned=_pinned(config), last=_on_demand(config))
    _raise_refusals(made)
    places = [each for each in made.placements if each.model not in stay]
    specs = [spec for spec in running.specs if spec.model in stay]
    threads = made.cores_each
    specs += [_spec(config, p, folders[p.model], running.token, threads) for p in places]
    roster = roster_of(config, made)
    return Setup(config, made, tuple(specs), roster, running.token, before=running.id)


def _owned(config: Config) -> list[str]:
    return [name for name in config.models if config.engine_of(name) in registry.OWNED]


def _pinned(config: Config) -> list[str]:
    return [name for name in _owned(config) if config.models[name].pinned]


def _on_demand(config: Config) -> list[str]:
    return [name for name in _owned(config) if config.models[name].load == "on_demand"]


def _demands(
    config: Config, names: Sequence[str], progress: Progress
) -> tuple[list[Demand], Folders]:
    models = {name: config.models[name] for name in names}
    kinds = {name: registry.OWNED[config.engine_of(name)] for name in names}
    for name, model in models.items():
        kinds[name].check(name, model.engine_args)
        kinds[name].require_installed()
    folders = {n: kinds[n].resolve(n, str(m.source), progress) for n, m in models.items()}
    return [kinds[n].demand(n, m, load(str(folders[n]))) for n, m in models.items()], folders


def _raise_refusals(made: Timetable) -> None:
    if made.refusals:
        raise NotEnoughMemoryError("\n".join(map(_in_words, made.refusals)))


def _make(
    config: Config,
    inventory: Inventory,
    calibration: Calibration,
    demands: Sequence[Demand],
    beside: Mapping[str, int],
) -> Plan:
    return planning.make(
        demands,
        inventory,
        reserve_bytes=int(config.gpu.reserve_gib * GIB),
        devices=None if config.gpu.devices == "all" else config.gpu.devices,
        calibration=calibration,
        beside=beside,
    )


def specs_of(config: Config, made: Timetable, folders: Folders, token: str) -> list[ReplicaSpec]:
    """What each planned replica's process must know."""
    threads = made.cores_each
    return [_spec(config, each, folders[each.model], token, threads) for each in made.placements]


def start_ray(cleanup: ExitStack) -> None:
    """A Ray of our own, without dashboard or proxies; `cleanup` ends it."""
    ray.init(
        address="local",
        namespace="roundhouse",
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=_OBJECT_STORE_BYTES,
        _node_ip_address="127.0.0.1",
    )
    cleanup.callback(ray.shutdown)
    for name in ("ray", "ray.serve"):
        logging.getLogger(name).setLevel(logging.ERROR)
    serve.start(proxy_location="Disabled", logging_config={"log_level": "WARNING"})


def ray_lives() -> bool:
    """Whether the processes that would start a replica again are there."""
    return {_name(child) for child in psutil.Process().children()} >= {"gcs_server", "raylet"}


def drain(timeout_s: float) -> bool:
    """Lets accepted requests end; False when some did not in time, or the router is gone."""
    try:
        router = serve.get_app_handle("router")
        done: bool = router.drain.remote(timeout_s).result(timeout_s=timeout_s + 5)
    except (RayError, RayServeException, TimeoutError):
        return False
    return done


def stop_engines(specs: list[ReplicaSpec]) -> None:
    """Lets every engine clean up after itself, all at once; what hangs is left to the warden."""
    responses = []
    for spec in specs:
        with suppress(RayServeException):
            handle = serve.get_app_handle(engine.application_name(spec.id))
            responses.append(handle.stop.remote())
    give_up_at = time.monotonic() + _STOP_TIMEOUT_S
    for response in responses:
        with suppress(RayError, RayServeException, TimeoutError):
            response.result(timeout_s=max(0.1, give_up_at - time.monotonic()))


def deploy(config: Config, specs: list[ReplicaSpec], token: str, roster: Roster) -> None:
    """Starts the router and the replicas that are there from the start in the running Ray.

    Returns before they are ready. The router takes over what runs, and starts and ends replicas
    from then on.
    """
    router = gateway.application(config, specs, token, _router_log(config), roster=roster)
    targets = [RunTarget(router, name="router", route_prefix=None)]
    targets += [
        RunTarget(engine.application(s), name=engine.application_name(s.id), route_prefix=None)
        for s in specs
        if s.model in roster.preload
    ]
    serve.run_many(
        targets, wait_for_ingress_deployment_creation=False, wait_for_applications_running=False
    )


def build(args: dict[str, str]) -> Application:
    """One Serve application of the whole config, for Serve's own command line."""
    path = args.get("config")
    config = config_file.load(Path(path) if path else None, checks=(own_patterns.problems,))
    config = discover(config, os.environ, print)
    token = secrets.token_urlsafe(32)
    made, folders = plan(config, look.look(), print)
    if made.guests:
        raise NotEnoughMemoryError(
            f"not all models fit at once ({', '.join(g.model for g in made.guests)} would take "
            "turns with others), and one Serve application has no turns: use `roundhouse serve`"
        )
    specs = specs_of(config, made, folders, token)
    _start_serve_without_proxies()
    handles = {spec.id: engine.application(spec) for spec in specs}
    return gateway.application(config, specs, token, _router_log(config), handles)


def _name(process: psutil.Process) -> str:
    """A living process's name."""
    try:
        return "" if process.status() == psutil.STATUS_ZOMBIE else process.name()
    except psutil.NoSuchProcess:
        return ""


def _start_serve_without_proxies() -> None:
    """`serve run` would start them on port 8000 after the build; they are on no request's way."""
    if not ray.is_initialized():
        ray.init(namespace="serve")
    serve.start(proxy_location="Disabled")


def _spec(
    config: Config, placed: Placement, folder: Path, token: str, n_threads: int | None
) -> ReplicaSpec:
    model, settings = config.models[placed.model], placed.settings
    kind = config.engine_of(placed.model)
    # An argument of vLLM's; others are told the size of their KV cache.
    share = settings.gpu_memory_utilization if placed.gpu_ids and kind == "vllm" else None
    return ReplicaSpec(
        id=placed.replica,
        model=placed.model,
        engine=kind,
        source=str(folder),
        served_names=(placed.model, *model.aliases),
        log_path=str(log_path(config.server.port, placed.replica)),
        load_timeout_s=config.defaults.load_timeout_s,
        stall_timeout_s=config.defaults.stall_timeout_s,
        tp=placed.layout.tp,
        pp=placed.layout.pp,
        gpu_ids=placed.gpu_ids,
        cpu_ids=placed.cpu_ids,
        n_threads=n_threads,
        on_cpu=not placed.gpu_ids,
        dtype=model.dtype,
        quantization=model.quantization,
        max_model_len=settings.max_model_len,
        kv_cache_bytes=settings.kv_cache_bytes,
        slots=registry.OWNED[kind].slots(model.engine_args),
        engine_args={**({"gpu_memory_utilization": share} if share else {}), **model.engine_args},
        footprint=placed.footprint,
        token=token,
    )


def _in_words(refusal: Refusal) -> str:
    lines = [f"models.{refusal.model} does not fit: {refusal.reason}"]
    lines += [f"  would fit with {r.change}: {r.outcome}" for r in refusal.remedies[:4]]
    return "\n".join(lines)


def _router_log(config: Config) -> str:
    return str(log_path(config.server.port, "router"))
