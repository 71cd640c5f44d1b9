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
from engines.endpoint import remotes_of
from engines.manager.roster import Roster
from engines.ollama.discover import discover
from gateway import deployment as gateway
from placement.calibration import store as calibration_store
from placement.calibration.calibration import Calibration
from placement.inventory import look
from placement.inventory.inventory import Inventory
from placement.models.load import load
from placement.plan import planner as planning
from placement.plan.demand import Demand
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
    owned = {n: m for n, m in config.models.items() if config.engine_of(n) in registry.OWNED}
    kinds = {n: registry.OWNED[config.engine_of(n)] for n in owned}
    for name, model in owned.items():
        kinds[name].check(name, model.engine_args)
        kinds[name].require_installed()
    folders = {n: kinds[n].resolve(n, str(m.source), progress) for n, m in owned.items()}
    demands = [kinds[n].demand(n, m, load(str(folders[n]))) for n, m in owned.items()]
    make = partial(_make, config, inventory, calibration_store.load())
    made = timetable(
        demands,
        make,
        pinned=[n for n, m in owned.items() if m.pinned],
        last=[n for n, m in owned.items() if m.load == "on_demand"],
    )
    if made.refusals:
        raise NotEnoughMemoryError("\n".join(map(_in_words, made.refusals)))
    return made, folders


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
    return [_spec(config, each, folders[each.model], token) for each in made.placements]


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


def _spec(config: Config, placed: Placement, folder: Path, token: str) -> ReplicaSpec:
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
