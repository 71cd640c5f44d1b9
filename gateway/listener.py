"""The endpoint's listening socket and server."""

from __future__ import annotations

import socket
from typing import Any


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. SO_REUSEADDR, so that a restarted router gets its port back at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host.strip("[]"), port), family=family, backlog=4096)


def server_config(app: Any) -> Any:
    """uvicorn as the gateway wants it: no access log, no headers of its own."""
    import uvicorn

    return uvicorn.Config(
        app,
        http="httptools",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
    )
