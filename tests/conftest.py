"""What every test gets: a state directory of its own, and none of the caller's settings."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import hypothesis
import pytest

# A shell that starts us in the background has us ignore SIGINT, and our children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says something about the machine, not about the code.
hypothesis.settings.register_profile("roundhouse", deadline=None)
hypothesis.settings.load_profile("roundhouse")


@pytest.fixture(autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of a Roundhouse that runs on this machine can be seen, let alone stopped."""
    state = tmp_path_factory.mktemp("state")
    for name in [name for name in os.environ if name.startswith("ROUNDHOUSE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    return state
