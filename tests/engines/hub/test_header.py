"""How much of a GGUF file on the hub is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import ModelFetchError
from engines.hub import header
from engines.hub.pull import Listing
from engines.hub.reference import Reference
from engines.hub.selection import RemoteFile
from placement.models import gguf
from tests.configs import ggufs

SHAPE = ggufs.Shape("qwen3", 256, 2, 2, 1, 512, 4096, vocab=1024)


class Hub:
    """One file, and how many bytes of it were asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
        self.asked: list[int] = []
        self._content = content
        files = (RemoteFile("m-Q8_0.gguf", len(content)),)
        found = Listing(Reference("org/m", wanted="Q8_0"), "c" * 40, files)
        monkeypatch.setattr("engines.hub.cache.path_of", lambda asked: None)
        monkeypatch.setattr(header, "listing", lambda asked: found)
        monkeypatch.setattr(header, "_first", self.first)
        monkeypatch.setattr(header, "_FIRST_BYTES", 100)

    def first(self, found: Listing, name: str, n_bytes: int) -> bytes:
        self.asked.append(n_bytes)
        return self._content[:n_bytes]


def anything(found: Listing) -> None:
    """Accepts it."""


def test_more_is_asked_for_until_the_header_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = ggufs.write(tmp_path / "m-Q8_0.gguf", SHAPE, "Q8_0")
    size = file.stat().st_size
    hub = Hub(monkeypatch, file.read_bytes() + bytes(10_000))
    assert header.facts_of(Reference("org/m", wanted="Q8_0"), anything) == gguf.facts_of_file(file)
    assert hub.asked == [100 * 4**i for i in range(len(hub.asked))]
    assert hub.asked[-2] < size <= hub.asked[-1]


def test_a_file_that_is_no_gguf_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(monkeypatch, b"PK" * 1000)
    with pytest.raises(ModelFetchError, match=r"^org/m:Q8_0: m-Q8_0\.gguf is no GGUF file$"):
        header.facts_of(Reference("org/m", wanted="Q8_0"), anything)
    assert hub.asked == [100]
