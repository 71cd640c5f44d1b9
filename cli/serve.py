"""`roundhouse serve`: checks, plans, starts Ray and the applications, waits, and ends it all."""

from __future__ import annotations

import importlib.util
import os
import secrets
import signal
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from cli.progress import StartProgress, say
from common import config_file
from common.config import Config
from common.errors import (
    EngineLoadError,
    NotAnsweringError,
    PortInUseError,
    StartError,
    UsageError,
)
from common.instance import Instance, log_dir, log_path, running
from common.logs import start_afresh
from common.ollama_names import PREFIX as OLLAMA_PREFIX
from common.units import GIB
from router.classify import own_patterns

DEFAULT_MODEL = "embedded:smollm2"
DEFAULT_GGUF_MODEL = "embedded:smollm2-gguf"
_ROOM_FOR_BOTH_BYTES = 6 * GIB  # the plan of both asks for 4.7 GiB at least
_ROUTER_UP_TIMEOUT_S = 60.0
_POLL_PERIOD_S = 0.25
_CHANGES_PERIOD_S = 2.0


def serve(
    config_path: Path | None, models: tuple[str, ...], host: str | None, port: int | None
) -> None:
    """Returns after an orderly stop. Raises UsageError, StartError or EngineLoadError."""
    config = load_config(config_path, models, host, port)
    check_port(config)
    config = with_discovered(config)
    stopping = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: _interrupt(stopping))
    with ExitStack() as cleanup:
        instance = _start(config, cleanup, stopping, config_path)
        progress = StartProgress()
        if _wait_until_ready(config, instance, progress, stopping):
            print(welcome(config), flush=True)
            _tell_changes(instance, progress, stopping)
        _drain(config)
        _stop_engines(config, instance)
    say("stopped")


def load_config(
    path: Path | None, models: tuple[str, ...], host: str | None, port: int | None
) -> Config:
    """The config of file and flags; with neither models nor file, the embedded models."""
    server = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    overrides: dict[str, Any] = {"server": server} if server else {}
    if models and path:
        raise UsageError("--model and --config exclude each other: name the model in the file")
    if not path:
        sources = models or default_models()
        overrides["models"] = {model_name(source): {"source": source} for source in sources}
    return config_file.load(path, overrides, checks=(own_patterns.problems,))


def default_models() -> tuple[str, ...]:
    """The embedded model in the form that what is installed here can load. A CPU serves it in both
    forms, as configs/cpu.yaml does; on GPUs llama.cpp's package from the index is of no use."""
    has = importlib.util.find_spec
    if not has("xllamacpp"):
        return (DEFAULT_MODEL,)
    if not has("vllm"):
        return (DEFAULT_GGUF_MODEL,)
    return (DEFAULT_MODEL, DEFAULT_GGUF_MODEL) if _has_room_on_cpu() else (DEFAULT_MODEL,)


def _has_room_on_cpu() -> bool:
    from placement.inventory.look import look

    seen = look()
    return not seen.usable_gpus and seen.cpu.available_memory_bytes >= _ROOM_FOR_BOTH_BYTES


def model_name(source: str) -> str:
    """The name under which a model without a config entry is served."""
    if source.startswith("embedded:"):
        return source.removeprefix("embedded:")
    if source.startswith(OLLAMA_PREFIX):
        return source.removeprefix(OLLAMA_PREFIX)
    if source.endswith(".gguf"):
        return Path(source).stem
    return (
        Path(source).expanduser().resolve().name if Path(source).expanduser().exists() else source
    )


def with_discovered(config: Config) -> Config:
    """With the models of an Ollama server, where the config asks for them."""
    if not config.ollama.discover:
        return config
    from engines.ollama.discover import discover

    return discover(config, os.environ, say)


def check_port(config: Config) -> None:
    """Raises PortInUseError now, rather than have an actor fail over it later."""
    from gateway.listener import listen

    host, port = config.server.host, config.server.port
    try:
        listen(host, port).close()
    except OSError as error:
        holder = next((i for i in running() if i.port == port), None)
        hint = f"{error.strerror}; choose another with --port"
        if holder:
            hint = f"process {holder.pid} serves there; `roundhouse stop -p {port}` stops it"
        raise PortInUseError(f"cannot listen on {host}:{port}: {hint}") from None


def _start(
    config: Config, cleanup: ExitStack, stopping: threading.Event, path: Path | None
) -> Instance:
    os.environ.update(_ray_environment())
    import serve_app
    from engines import warden
    from engines.manager.roster import roster_of
    from gateway.setup import Setup
    from placement.inventory.look import look
    from placement.report.words import in_words

    token = secrets.token_urlsafe(32)
    made, folders = serve_app.plan(config, look(), say)
    for placed in made.placements:
        say(f"plan: {in_words(placed)}")
    for line in made.guest_lines():
        say(f"plan: {line}")
    roster = roster_of(config, made)
    specs = serve_app.specs_of(config, made, folders, token)
    setup = Setup(
        config, made, tuple(specs), roster, token, path=str(path.resolve()) if path else ""
    )
    setup.save()
    cleanup.callback(setup.forget)
    start_afresh(log_dir(config.server.port))
    os.environ.update(warden.owned_by(os.getpid()))
    warden.start(os.getpid())
    started = [f"{spec.id} ({spec.engine})" for spec in specs if spec.model in roster.preload]
    say(f"starting {', '.join(started) or 'the router'}")
    serve_app.start_ray(cleanup)
    for each in (signal.SIGTERM, signal.SIGINT):  # Ray sets its own
        signal.signal(each, lambda *_: _interrupt(stopping))
    serve_app.deploy(config, specs, token, roster)
    instance = Instance(
        pid=os.getpid(),
        url=base_url(config),
        port=config.server.port,
        log_dir=str(log_dir(config.server.port)),
        started_at=time.time(),
        token=token,
        sources={name: model.sources[0] for name, model in config.models.items()},
    )
    instance.save()
    cleanup.callback(instance.forget)
    return instance


def _ray_environment() -> dict[str, str]:
    """What Ray reads when it is imported.

    It turns 127.0.0.1 into the box's own address unless it takes clusters to be unsupported, and
    still listens on all addresses with one port of each actor; so its ports get a token that only
    this process and its children know. By default all Rays of a user share one, in a file.
    """
    return {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def _wait_until_ready(
    config: Config, instance: Instance, progress: StartProgress, stopping: threading.Event
) -> bool:
    """True once every replica is ready; False when asked to stop meanwhile."""
    from cli.client import Client

    client = Client(instance)
    router_due = time.monotonic() + _ROUTER_UP_TIMEOUT_S
    with progress:
        while not stopping.wait(_POLL_PERIOD_S):
            try:
                state = client.replicas()
            except NotAnsweringError:
                if time.monotonic() > router_due:
                    log = log_path(config.server.port, "router")
                    raise StartError(f"the router did not come up; see {log}") from None
                continue
            progress.show(state["replicas"])
            _raise_if_failed(state["replicas"], config)
            if state["settled"]:
                return True
    return False


def _tell_changes(instance: Instance, progress: StartProgress, stopping: threading.Event) -> None:
    """Until asked to stop, a line for every replica that goes or comes back."""
    from cli.client import Client

    client = Client(instance)
    while not stopping.wait(_CHANGES_PERIOD_S):
        _leave_if_ray_died(instance)
        with suppress(NotAnsweringError):
            progress.show(client.replicas()["replicas"])


def _leave_if_ray_died(instance: Instance) -> None:
    """Without it the engines go on for a while, but nothing that fails comes back."""
    import serve_app

    if serve_app.ray_lives():
        return
    instance.forget()
    print("roundhouse: Ray has died; ending all, so start it again", file=sys.stderr, flush=True)
    os._exit(1)  # an orderly end would wait for Ray; the warden ends the rest


def _raise_if_failed(replicas: list[dict[str, Any]], config: Config) -> None:
    for replica in replicas:
        if replica["state"] == "failed" and not replica.get("on_demand"):
            log = log_path(config.server.port, replica["id"])
            if not log.exists():  # it is no process of ours
                log = log_path(config.server.port, "router")
            raise EngineLoadError(
                f"{replica['id']} did not start: {replica['error']}\n  log: {log}"
            )


def _drain(config: Config) -> None:
    import serve_app

    timeout_s = config.server.drain_timeout_s
    say(f"draining: accepted requests have up to {timeout_s:g} s")
    if not serve_app.drain(timeout_s):
        say("not all requests ended in time; their connections are cut")


def _stop_engines(config: Config, instance: Instance) -> None:
    """Those of the config that is in force by now."""
    import serve_app
    from gateway.setup import in_force

    setup = in_force(config.server.port, instance.token)
    serve_app.stop_engines(list(setup.specs) if setup else [])


def _interrupt(stopping: threading.Event) -> None:
    """The first signal asks for an orderly stop; a second one does not wait."""
    if stopping.is_set():
        print("roundhouse: stopped without draining", file=sys.stderr, flush=True)
        os._exit(1)  # the warden ends the rest
    stopping.set()


def base_url(config: Config) -> str:
    host = config.server.host
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{config.server.port}"


def welcome(config: Config) -> str:
    """URL, models, and a curl that works when it is pasted."""
    url, first = base_url(config), next(iter(config.models))
    names = [
        f"{name} ({', '.join(model.aliases)})" if model.aliases else name
        for name, model in config.models.items()
    ]
    key = " \\\n    -H 'Authorization: Bearer YOUR_KEY'" if config.server.api_keys else ""
    question = '{"role": "user", "content": "What is the capital of France?"}'
    return f"""
Roundhouse is ready.
  URL      {url}/v1
  Models   {", ".join(names)}

  curl {url}/v1/chat/completions{key} \\
    -H 'Content-Type: application/json' \\
    -d '{{"model": "{first}", "messages": [{question}]}}'

  Ctrl-C stops it. In another terminal: roundhouse ps, roundhouse run {first}
"""
