"""A box of four GPUs that only the driver knows of: planned, placed by id, and all serve."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.fakes import nvml
from tests.fakes.on_cpu import stub_metadata
from tests.real.serving import SMALL_KV_BYTES, RunningServer

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("fake-gpus")
    variables = nvml.environment(nvml.build(folder), "4x5090")
    model = {
        "source": str(tiny),
        "dtype": "float32",
        "engine_args": {"kv_cache_memory_bytes": SMALL_KV_BYTES},
    }
    server = RunningServer(
        {"models": {"tiny": model}},
        folder,
        module="tests.fakes.on_cpu",
        variables={**variables, "PYTHONPATH": stub_metadata(folder / "stub")},
    )
    with server:
        yield server.wait_ready()


def test_auto_puts_a_replica_on_each_gpu_by_id(box: RunningServer) -> None:
    rows = box.rows()
    assert sorted(rows) == ["tiny-0", "tiny-1", "tiny-2", "tiny-3"]
    seen = {name: psutil.Process(row["pid"]).environ() for name, row in rows.items()}
    assert {env["FAKE_NVML_TOPOLOGY"] for env in seen.values()}
    given = {name: row["gpu_ids"] for name, row in rows.items()}
    assert given == {f"tiny-{i}": [str(i)] for i in range(4)}


@pytest.mark.anyio
async def test_requests_reach_all_of_them(box: RunningServer) -> None:
    body = {"model": "tiny", "prompt": "Once", "max_tokens": 16, "ignore_eos": True}
    async with asyncio.TaskGroup() as group:
        asked = [
            group.create_task(asyncio.to_thread(box.post, "/v1/completions", body))
            for _ in range(24)
        ]
    answers = [task.result() for task in asked]
    assert {answer.status_code for answer in answers} == {200}
    served = Counter(answer.headers["x-roundhouse-replica"] for answer in answers)
    assert set(served) == {"tiny-0", "tiny-1", "tiny-2", "tiny-3"}


def test_the_plan_command_sees_the_same_box(box: RunningServer) -> None:
    done = box.run("plan", "--config", str(box.file), "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert [replica["gpus"] for replica in plan["replicas"]] == [["0"], ["1"], ["2"], ["3"]]
