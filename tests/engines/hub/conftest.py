from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import hub_server
from tests.fakes.hub_server import Hub


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with hub_server.running(tmp_path) as running:
        yield running
