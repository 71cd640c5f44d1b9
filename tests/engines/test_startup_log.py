"""What a start-up log says: the phase, and why it failed. The lines are vLLM 0.32's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.startup_log import StartupLog

CORE = "(EngineCore pid=83) INFO 11-21 12:01:59 "
PHASES = [
    (f"{CORE}[core.py:133] Initializing a V1 LLM engine (v0.32.0) with config", "starting engine"),
    (f"{CORE}[cpu_model_runner.py:89] Starting to load model /m...", "loading weights"),
    ("Loading safetensors checkpoint shards:  50% Completed | 1/2", "loading weights 50%"),
    (f"{CORE}[default_loader.py:501] Loading weights took 0.06 seconds", "weights loaded"),
    (f"{CORE}[backends.py:1] Dynamo bytecode transform time: 4.2 s", "compiling"),
    (f"{CORE}[kv_cache_utils.py:2327] CPU KV cache size: 13,929 tokens", "KV cache ready"),
    ("Capturing CUDA graphs (decode, FULL):  40%|####", "capturing graphs 40%"),
]


def test_phases_follow_the_log(tmp_path: Path) -> None:
    file = tmp_path / "m-0.log"
    file.write_text("Loading weights took 1 seconds, in an earlier run\n")
    log = StartupLog(file)
    assert log.phase() == "starting"
    for line, phase in PHASES:
        with file.open("a") as text:
            text.write(line + "\n")
        assert log.phase() == phase
        assert log.phase() == phase  # nothing new keeps it


def test_eager_mode_is_not_taken_for_compiling(tmp_path: Path) -> None:
    file = tmp_path / "m-0.log"
    file.touch()
    log = StartupLog(file)
    file.write_text("Enforce eager set, disabling torch.compile, CUDAGraphs\n")
    assert log.phase() == "starting"


def test_a_bar_that_redraws_one_line_is_followed(tmp_path: Path) -> None:
    file = tmp_path / "m-0.log"
    file.touch()
    log = StartupLog(file)
    file.write_text("\rLoading shards checkpoint shards:  10%\rLoading x checkpoint shards:  90%")
    assert log.phase() == "loading weights 90%"


def test_the_cores_own_error_is_the_cause(tmp_path: Path) -> None:
    file = tmp_path / "m-0.log"
    file.write_text("ValueError: of the last run\n")
    log = StartupLog(file)
    with file.open("a") as text:
        text.write(
            "(EngineCore pid=9) ERROR [core.py:1] ValueError: Cannot find any model weights\n"
            "RuntimeError: Engine core initialization failed. See root cause above.\n"
        )
    cause = log.cause(RuntimeError("Engine core initialization failed. See root cause above."))
    assert cause.message == "ValueError: Cannot find any model weights"
    assert not cause.out_of_memory


def test_without_one_it_is_the_error_itself(tmp_path: Path) -> None:
    file = tmp_path / "m-0.log"
    file.touch()
    cause = StartupLog(file).cause(TypeError("wrong quantization"))
    assert cause.message == "TypeError: wrong quantization"


@pytest.mark.parametrize(
    "words",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "ValueError: No available memory for the cache blocks.",
        "ValueError: Free memory is less than desired GPU memory utilization",
        (
            "ValueError: To serve at least one request, (8 GiB KV cache is needed, which is larger "
            "than the available KV cache memory (1 GiB)"
        ),
    ],
)
def test_want_of_memory_is_recognised(tmp_path: Path, words: str) -> None:
    file = tmp_path / "m-0.log"
    file.touch()
    log = StartupLog(file)
    file.write_text(words + "\n")
    assert log.cause(RuntimeError("Engine core initialization failed")).out_of_memory


def test_a_line_that_arrives_in_pieces_is_understood(tmp_path: Path) -> None:
    file = tmp_path / "m-0.log"
    file.touch()
    log = StartupLog(file)
    with file.open("ab", buffering=0) as text:
        for piece in (
            b"Starting to load",
            b" model caf\xc3",
            b"\xa9...\nLoading weights",
            b" took",
        ):
            text.write(piece)
            seen = log.phase()
        assert seen == "weights loaded"


def test_a_log_that_is_not_text_is_no_crash(tmp_path: Path) -> None:
    file = tmp_path / "m-0.log"
    file.touch()
    log = StartupLog(file)
    file.write_bytes(b"\xff\xfe Loading weights took 1 s\nValueError: \xff broken\n")
    assert log.phase() == "weights loaded"
    assert log.cause(RuntimeError("x")).message == "ValueError: \ufffd broken"


# As vLLM 0.32 wrote them on a CPU, shortened where dots are.
NO_WEIGHTS = """
(Worker pid=20355) INFO 11-21 13:09:07 [cpu_model_runner.py:68] Starting to load model /m...
(Worker pid=20355) ERROR 11-21 13:09:07 [multiproc_executor.py:953] WorkerProc failed to start.
(Worker pid=20355) ERROR 11-21 13:09:07 [multiproc_executor.py:953] Traceback (most recent call last):
(Worker pid=20355) ERROR 11-21 13:09:07 [multiproc_executor.py:953] RuntimeError: Cannot find any model weights with `/m`
(EngineCore pid=20100) ERROR 11-21 13:09:09 [core.py:1164] EngineCore failed to start.
(EngineCore pid=20100) ERROR 11-21 13:09:09 [core.py:1164] Exception: WorkerProc initialization failed due to an exception in a background process. See stack trace for root cause.
(MainProcess pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""  # noqa: E501


def test_a_workers_error_is_the_cause(tmp_path: Path) -> None:
    file = tmp_path / "m-0.log"
    file.touch()
    log = StartupLog(file)
    file.write_text(NO_WEIGHTS)
    cause = log.cause(RuntimeError("Engine core initialization failed. See root cause above."))
    assert cause.message == "RuntimeError: Cannot find any model weights with `/m`"


def test_what_goes_wrong_while_it_ends_is_not_the_cause(tmp_path: Path) -> None:
    file = tmp_path / "m-0.log"
    file.touch()
    log = StartupLog(file)
    file.write_text(
        "(EngineCore pid=9) ERROR 11-21 13:09:09 [core.py:1164] ValueError: No available memory "
        "for the cache blocks. Try increasing `gpu_memory_utilization`\n"
        "Exception ignored in: <function Finalizer at 0x7f>\n"
        "ProcessLookupError: [Errno 3] No such process\n"
        "resource_tracker: KeyError: '/psm_1234'\n"
    )
    cause = log.cause(RuntimeError("Engine core initialization failed."))
    assert cause.message.startswith("ValueError: No available memory for the cache blocks.")
    assert cause.out_of_memory


def test_the_text_is_that_of_this_start_alone(tmp_path: Path) -> None:
    file = tmp_path / "m-0.log"
    file.write_text("Available KV cache memory: 1.0 GiB\n")
    log = StartupLog(file)
    assert log.text() == ""
    with file.open("ab") as text:
        text.write(b"Available KV cache memory: 2.0 GiB\n\xff")
    log.phase()  # reading for the phase takes nothing away
    assert log.text() == "Available KV cache memory: 2.0 GiB\n\ufffd"
