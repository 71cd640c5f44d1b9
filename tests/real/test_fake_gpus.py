"""A box of four GPUs that only the driver knows of: planned, placed by id, and all serve.

The engines are llama.cpp's, which start soon: what is looked at here is the same for each engine.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator

import psutil
import pytest

from tests.fakes import nvml
from tests.real.serving import RunningServer

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("fake-gpus")
    variables = nvml.environment(nvml.build(folder), "4x5090")
    one_core = {"n_threads": 1, "n_threads_batch": 1}  # no plan divides a box's cores among GPUs
    model = {"source": "embedded:smollm2-gguf", "max_model_len": 512, "engine_args": one_core}
    server = RunningServer(
        {"models": {"small": model}}, folder, module="tests.fakes.on_cpu", variables=variables
    )
    with server:
        yield server.wait_ready()


def test_auto_puts_a_replica_on_each_gpu_by_id(box: RunningServer) -> None:
    rows = box.rows()
    assert sorted(rows) == ["small-0", "small-1", "small-2", "small-3"]
    seen = {name: psutil.Process(row["pid"]).environ() for name, row in rows.items()}
    assert {env["FAKE_NVML_TOPOLOGY"] for env in seen.values()}
    given = {name: row["gpu_ids"] for name, row in rows.items()}
    assert given == {f"small-{i}": [str(i)] for i in range(4)}


@pytest.mark.anyio
async def test_requests_reach_all_of_them(box: RunningServer) -> None:
    body = {"model": "small", "prompt": "Once", "max_tokens": 8, "ignore_eos": True}
    async with asyncio.TaskGroup() as group:
        asked = [
            group.create_task(asyncio.to_thread(box.post, "/v1/completions", body))
            for _ in range(24)
        ]
    answers = [task.result() for task in asked]
    assert {answer.status_code for answer in answers} == {200}
    served = Counter(answer.headers["x-roundhouse-replica"] for answer in answers)
    assert set(served) == {"small-0", "small-1", "small-2", "small-3"}


def test_the_plan_command_sees_the_same_box(box: RunningServer) -> None:
    done = box.run("plan", "--config", str(box.file), "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert [replica["gpus"] for replica in plan["replicas"]] == [["0"], ["1"], ["2"], ["3"]]
