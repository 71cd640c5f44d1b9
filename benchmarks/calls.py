"""Small calls to a server under test, outside of what is measured, and past any proxy."""

import json
import urllib.request
from typing import Any

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def post(url: str, value: dict[str, Any]) -> dict[str, Any]:
    data, headers = json.dumps(value).encode(), {"content-type": "application/json"}
    return get(urllib.request.Request(url, data, headers))


def get(url: str | urllib.request.Request) -> dict[str, Any]:
    with OPENER.open(url, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def answers(url: str) -> bool:
    try:
        with OPENER.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:  # refused, timed out, or a status of 400 and more
        return False
