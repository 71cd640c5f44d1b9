"""The overhead benchmark: a quick run of it, and what it writes."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks import machine, prompts, targets
from benchmarks.overhead import FAKE_POINTS, VLLM_POINTS, unasked
from benchmarks.report import FIGURES, Part, as_document, failed
from benchmarks.rounds import Point, quick
from benchmarks.samples import Sample
from tests.benchmarks.test_samples import result, sample

ROOT = Path(__file__).parents[2]


def test_a_quick_run_against_the_fake_alone(tmp_path: Path) -> None:
    out = tmp_path / "overhead.json"
    command = [sys.executable, "-m", "benchmarks.overhead", "--only", "fake", "--quick"]
    command += ["--without", "roundhouse", "--without", "vllm-router", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "requests/s" in done.stdout
    assert "round 1/1  bare" in done.stderr
    document = json.loads(out.read_text())
    part = document["parts"][0]
    assert not any("the engine saw" in note for note in part["notes"])
    assert {each["point"] for each in part["samples"]} == {point.name for point in FAKE_POINTS}
    assert document["machine"]["cores"] >= 1


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_server(sent: signal.Signals) -> None:
    command = [sys.executable, "-m", "benchmarks.overhead", "--only", "fake"]
    command += ["--without", "roundhouse", "--without", "vllm-router"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as bench:
        assert bench.stderr is not None
        assert "round 1/3" in bench.stderr.readline()
        children = psutil.Process(bench.pid).children(recursive=True)
        assert children
        bench.send_signal(sent)
        assert "every server is stopped" in bench.stderr.read()
    assert bench.returncode == 130
    assert not any(child.is_running() for child in children)


def test_every_point_shows_figures_that_exist() -> None:
    for point in (*FAKE_POINTS, *VLLM_POINTS):
        assert set(point.figures) <= set(FIGURES)


def test_a_quick_point_still_fills_its_connections() -> None:
    assert quick(Point("p", 32, 64, (), requests=64)).requests == 32
    assert quick(Point("p", 1, 4, (), for_s=8.0)).for_s == 2.0


def test_the_document_compares_with_the_bare_engine_and_the_rival() -> None:
    names = ("bare", "roundhouse", "vllm-router cache_aware")
    samples = tuple(sample(0, name, 100 / n) for n, name in enumerate(names, start=1))
    part = Part("fake", samples, {"p": ("requests/s", "TTFT p50, ms")})
    document = as_document([part], machine.describe(), {"out": Path("x")})
    rows = json.loads(json.dumps(document))["parts"][0]["comparison"]
    ours = {row["figure"]: row for row in rows if row["target"] == "roundhouse"}
    assert ours["requests/s"]["ratio to bare"]["median"] == 0.5
    assert ours["requests/s"]["ratio to vllm-router cache_aware"]["median"] == pytest.approx(1.5)
    assert ours["TTFT p50, ms"]["added to bare"]["median"] == pytest.approx(-0.5)


def test_a_failed_request_fails_the_run() -> None:
    good, bad = sample(0, "bare", 1), Sample(0, "bare", "q", result(1, {"HTTP 500": 1}), 0.0)
    assert not failed([Part("fake", (good,), {})])
    assert failed([Part("fake", (good, bad), {})])


def test_requests_that_the_engine_did_not_see_are_told() -> None:
    assert unasked([sample(0, "bare", 1)], servers=1, seen=17) == []
    assert "17 requests were sent, but the engine saw 9" in unasked([sample(0, "b", 1)], 1, 9)


def test_prompts_are_distinct_and_shared_as_wanted() -> None:
    assert len(set(prompts.distinct(50, 64, seed=1))) == 64
    assert prompts.distinct(50, 2, seed=1) != prompts.distinct(50, 2, seed=2)
    mixed = prompts.mixed(256, seed=1)
    assert len(set(mixed)) == 256
    assert len({text[:300] for text in mixed}) == 64 + 8


def test_both_engines_get_the_same_arguments() -> None:
    flags = targets.flags(gpus=False)
    assert flags == ["--kv-cache-memory-bytes=1073741824", "--enforce-eager"]
    assert targets.vllm_model("x", gpus=False)["engine_args"] == targets.engine_args(gpus=False)
