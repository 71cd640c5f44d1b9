"""Facts of released models, as their config.json files state them, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parent / "data" / "configs.json"


def config(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))[name]
    return found
