"""What was predicted for a real engine, against what it said itself when it had started."""

from __future__ import annotations

import json

import pytest

from tests.real.serving import RunningServer, wait_for

pytestmark = pytest.mark.engine


def test_the_plan_shows_prediction_and_report_within_two_percent(house: RunningServer) -> None:
    wait_for(lambda: "smollm2-0" in starts(house), 30, "measurement of smollm2-0", house.tail)
    rows = {row["term"]: row for row in starts(house)["smollm2-0"]}
    assert {"kv_cache", "kv_cache_tokens", "max_concurrency"} <= rows.keys()
    assert all(abs(row["error"]) < 0.02 for row in rows.values())
    assert rows["kv_cache_tokens"]["reported"] > 0
    told = house.run("plan", "--config", str(house.file)).stdout
    assert "LAST START OF" in told


def starts(house: RunningServer) -> dict[str, list[dict[str, float]]]:
    done = house.run("plan", "--config", str(house.file), "--json")
    found: dict[str, list[dict[str, float]]] = json.loads(done.stdout)["starts"]
    return found
