"""Composition root: config -> plan -> Ray Serve applications.

`roundhouse serve` calls `plan` and `deploy`; `serve run serve_app:build config=configs/cpu.yaml`
calls `build`.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve import Application, RunTarget
from ray.serve.exceptions import RayServeException

from common import config_file
from common.config import Config, ModelConfig
from common.instance import log_path
from engines import deployment as engine
from engines import sources, vllm_args
from engines.base import ReplicaSpec
from gateway import deployment as gateway
from placement import box as boxes
from placement.box import Box
from placement.layout import Seat, Want, seat

_OBJECT_STORE_BYTES = 80 << 20  # next to nothing passes through it; Ray's floor is 75 MiB
_STOP_TIMEOUT_S = 15.0
Progress = Callable[[str], None]


def plan(config: Config, box: Box, token: str, progress: Progress) -> list[ReplicaSpec]:
    """What each replica that runs here gets. Fetches models that are not on this disk yet.

    Raises ConfigError, ModelFetchError or NotEnoughMemoryError; nothing has been started then.
    """
    owned = {n: m for n, m in config.models.items() if config.engine_of(n) != "openai"}
    for name, model in owned.items():
        vllm_args.check(name, model.engine_args)
    folders = {n: sources.resolve(n, str(m.source), progress) for n, m in owned.items()}
    wants = [want for n, m in owned.items() for want in _wants(n, m, folders[n])]
    seats = dict(zip((want.replica for want in wants), seat(wants, box), strict=True))
    return [
        _spec(config, want, folders[want.model], seats[want.replica], box, token) for want in wants
    ]


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


def deploy(config: Config, specs: list[ReplicaSpec], token: str) -> None:
    """Starts the router and every replica in the running Ray; returns before they are ready."""
    router = gateway.application(config, specs, token, _router_log(config))
    targets = [RunTarget(router, name="router", route_prefix=None)]
    targets += [
        RunTarget(engine.application(s), name=engine.application_name(s.id), route_prefix=None)
        for s in specs
    ]
    serve.run_many(
        targets, wait_for_ingress_deployment_creation=False, wait_for_applications_running=False
    )


def build(args: dict[str, str]) -> Application:
    """One Serve application of the whole config, for Serve's own command line."""
    path = args.get("config")
    config = config_file.load(Path(path) if path else None)
    token = secrets.token_urlsafe(32)
    specs = plan(config, boxes.look(), token, print)
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


def _wants(name: str, model: ModelConfig, folder: Path) -> Iterator[Want]:
    layout = model.layout
    workers = layout.tp * layout.pp
    for index in range(layout.replicas):
        first = index * workers
        yield Want(
            replica=f"{name}-{index}",
            model=name,
            workers=workers,
            weights_bytes=sources.weights_bytes(folder),
            kv_cache_bytes=model.engine_args.get("kv_cache_memory_bytes"),
            gpus=layout.gpus[first : first + workers] if layout.gpus else None,
        )


def _spec(
    config: Config, want: Want, folder: Path, given: Seat, box: Box, token: str
) -> ReplicaSpec:
    model = config.models[want.model]
    share = {"gpu_memory_utilization": given.gpu_share} if given.gpu_share else {}
    return ReplicaSpec(
        id=want.replica,
        model=want.model,
        engine=config.engine_of(want.model),
        source=str(folder),
        served_names=(want.model, *model.aliases),
        log_path=str(log_path(config.server.port, want.replica)),
        load_timeout_s=config.defaults.load_timeout_s,
        stall_timeout_s=config.defaults.stall_timeout_s,
        tp=model.layout.tp,
        pp=model.layout.pp,
        gpu_ids=given.gpu_ids,
        cpu_ids=given.cpu_ids,
        on_cpu=not box.gpus,
        dtype=model.dtype,
        quantization=model.quantization,
        max_model_len=None if model.max_model_len == "auto" else model.max_model_len,
        kv_cache_bytes=given.kv_cache_bytes,
        engine_args={**share, **model.engine_args},
        token=token,
    )


def _router_log(config: Config) -> str:
    return str(log_path(config.server.port, "router"))
