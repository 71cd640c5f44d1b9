"""A client that hangs up on an answer that is written only at its end."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from engines.mlx_handler import Counts, HungUpError, _Call
from engines.mlx_request import Refused
from engines.prompt_counts import prompt_tokens


class Generator:
    """Plays mlx_lm.server's: three tokens, or an error; progress is told before each of them."""

    cli_args = SimpleNamespace()

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def generate(
        self, request: Any, arguments: Any, progress: Callable[[int, int], None]
    ) -> tuple[Any, Iterator[str]]:
        if self.error:
            raise self.error

        def tokens() -> Iterator[str]:
            for token in "abc":
                progress(1, 1)
                yield token

        return SimpleNamespace(prompt=[1, 2, 3], prompt_cache_count=2), tokens()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def ignore(done: int, total: int) -> None:
    """No progress is shown."""


def test_tokens_come_while_somebody_listens(pair: tuple[socket.socket, socket.socket]) -> None:
    counts = Counts()
    _, tokens = _Call(Generator(), pair[0], counts).generate(None, None, ignore)
    assert list(tokens) == ["a", "b", "c"]
    assert prompt_tokens(counts.in_prometheus_format()) == (2, 1)


def test_a_client_that_speaks_on_has_not_gone(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[1].sendall(b"GET ")
    _, tokens = _Call(Generator(), pair[0], Counts()).generate(None, None, ignore)
    assert list(tokens) == ["a", "b", "c"]
    assert pair[0].recv(4) == b"GET "  # only looked at


def test_generation_ends_with_the_client(pair: tuple[socket.socket, socket.socket]) -> None:
    _, tokens = _Call(Generator(), pair[0], Counts()).generate(None, None, ignore)
    assert next(tokens) == "a"
    pair[1].close()
    with pytest.raises(HungUpError):
        next(tokens)


def test_a_dead_generator_is_the_servers_fault(pair: tuple[socket.socket, socket.socket]) -> None:
    call = _Call(Generator(RuntimeError("generation thread died")), pair[0], Counts())
    with pytest.raises(Refused) as caught:
        call.generate(None, None, ignore)
    assert (caught.value.status, caught.value.message) == (500, "generation thread died")


def fails(counts: Counts) -> None:
    with counts.one_more():
        assert "\nmlx:requests_running 2\n" in counts.in_prometheus_format()
        raise HungUpError


def test_requests_under_way_are_counted_even_if_they_fail() -> None:
    counts = Counts()
    with counts.one_more():
        assert "\nmlx:requests_running 1\n" in counts.in_prometheus_format()
        with pytest.raises(HungUpError):
            fails(counts)
    assert "\nmlx:requests_running 0\n" in counts.in_prometheus_format()
