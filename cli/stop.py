"""`roundhouse stop`: asks a running Roundhouse to drain and end, and waits until it has."""

from __future__ import annotations

import psutil

from cli.client import find
from cli.progress import say
from common.errors import StartError

_PATIENCE_S = 24 * 3600  # draining has its own limit, which the serving process keeps


def stop(port: int | None) -> None:
    instance = find(port)
    say(f"stopping process {instance.pid} on port {instance.port}; it drains first")
    try:
        process = psutil.Process(instance.pid)
        process.terminate()
        process.wait(_PATIENCE_S)
    except psutil.NoSuchProcess:
        pass
    except psutil.AccessDenied:
        raise StartError(f"process {instance.pid} belongs to another user") from None
    instance.forget()
    say("stopped")
