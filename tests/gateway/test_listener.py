"""The listening socket."""

from __future__ import annotations

import errno
import socket

import pytest

from gateway.listener import listen


@pytest.mark.parametrize(
    ("host", "reached"),
    [("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"), ("::1", "::1"), ("[::1]", "::1")],
)
def test_hosts_are_listened_on_as_they_are_written(host: str, reached: str) -> None:
    try:
        listener = listen(host, 0)
    except OSError as error:
        if ":" in host and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            pytest.skip("no IPv6 here")
        raise
    with listener:
        socket.create_connection((reached, listener.getsockname()[1]), timeout=5).close()


def test_a_port_that_is_taken_is_refused() -> None:
    with listen("127.0.0.1", 0) as first, pytest.raises(OSError, match="in use") as refused:
        listen("127.0.0.1", first.getsockname()[1])
    assert refused.value.errno == errno.EADDRINUSE


def test_a_port_is_free_again_at_once() -> None:
    """Although the connection's last words still keep the system busy."""
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            served, _ = first.accept()
            served.close()  # the side that closes first keeps the port in TIME_WAIT
            assert client.recv(1) == b""
    listen("127.0.0.1", port).close()
