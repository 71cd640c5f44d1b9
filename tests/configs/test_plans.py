"""The configs for named hardware, planned on that hardware: they fit, and split the roles as said.

Facts of the models are in models.json and ggufs.py, written down without a hub in reach: some from
memory, checked against their published parameter counts or file sizes. No such hardware was at
hand: NVML answers for the cards as the tests' own driver does, and `sysctl` as a Mac's.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from common import config_file
from common.config import Config, ModelConfig
from common.units import GIB
from engines import registry
from placement.inventory import apple, snapshot
from placement.inventory.inventory import Cpu, Inventory
from placement.models import gguf
from placement.models.config_json import facts_of
from placement.models.facts import ModelFacts
from placement.plan import planner
from placement.plan.demand import Demand
from placement.plan.plan import Placement
from placement.plan.timetable import Timetable, timetable
from tests.configs import ggufs
from tests.fakes import nvml

HERE = Path(__file__).parent
CONFIGS = HERE.parents[1] / "configs"
MODELS: dict[str, dict[str, Any]] = json.loads((HERE / "models.json").read_text())
VLLM = (0, 32, 0)
# Files' sizes in GB; a made header must come to about as much. 19.9 was read on the hub, the
# others are recalled, not verified.
PUBLISHED_GB = {
    ("Qwen3-Coder-30B-A3B-Instruct", "Q4_K_M"): 18.6,
    ("Qwen2.5-Coder-32B-Instruct", "Q4_K_M"): 19.9,
    ("Qwen3-8B", "Q4_K_M"): 5.03,
    ("Qwen3-Embedding-0.6B", "Q8_0"): 0.639,
}
# By config: its box, where the replicas stand, and who takes whose place.
ROLES: dict[str, tuple[str, dict[str, str], dict[str, set[str]]]] = {
    "rtx-4090": (
        "1x4090",
        {"coder-0": "0", "general-0": "0"},
        {"reasoner": {"coder", "general"}},
    ),
    "4x-rtx-5090": (
        "4x5090",
        {"coder-0": "0", "coder-1": "1", "general-0": "2", "embedding-0": "2", "reasoner-0": "3"},
        {},
    ),
    "rtx-pro-6000": (
        "rtx-pro-6000",
        {"coder-0": "0", "reasoner-0": "0", "general-0": "0", "embedding-0": "0"},
        {},
    ),
    "m3-pro-36gb": ("m3-pro", {"general-0": "0"}, {"coder": {"general"}, "reasoner": {"general"}}),
}
_PLANNED = re.compile(r"^#   (\S+): ([\d,]+) tokens of KV cache, ([\d.]+) requests", re.MULTILINE)

Box = Callable[[str], Inventory]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Box:
    folder = tmp_path_factory.mktemp("boxes")
    library = nvml.build(folder)

    @cache
    def box(name: str) -> Inventory:
        if name == "m3-pro":
            return mac()
        command = [sys.executable, "-m", "cli.main", "gpus", "--json"]
        env = {**os.environ, **nvml.environment(library, name)}
        done = subprocess.run(
            command, env=env, cwd=CONFIGS.parent, capture_output=True, text=True, check=True
        )
        saved = folder / f"{name}.json"
        saved.write_text(done.stdout)
        return snapshot.load(saved)

    return box


def mac(wired_limit_mb: int = 0) -> Inventory:
    """An M3 Pro with 36 GB, of which what runs beside leaves 30."""
    told = {
        "hw.memsize": str(36 * GIB),
        "machdep.cpu.brand_string": "Apple M3 Pro",
        "iogpu.wired_limit_mb": str(wired_limit_mb),
    }
    gpu = apple.gpu(told, 30 * GIB)
    assert gpu is not None
    cores = tuple(range(11))
    return Inventory(cpu=Cpu("Apple M3 Pro", cores, (cores,), 36 * GIB, 30 * GIB), gpus=(gpu,))


@pytest.fixture
def facts(tmp_path: Path) -> Callable[[str], ModelFacts]:
    return partial(facts_in, tmp_path)


def facts_in(folder: Path, source: str) -> ModelFacts:
    if source in MODELS:
        return facts_of(MODELS[source], source)
    repo, _, quant = source.partition(":")
    name = repo.rpartition("/")[2].removesuffix("-GGUF")
    file = ggufs.write(folder / f"{name}-{quant}.gguf", ggufs.SHAPES[name], quant)
    return gguf.facts_of_file(file)


def demand(name: str, model: ModelConfig, engine: str, known: ModelFacts) -> Demand:
    made = registry.OWNED[engine].demand(name, model, known)
    if engine != "vllm":
        return made
    return replace(made, settings=replace(made.settings, vllm_version=VLLM))


def planned(config: Config, inventory: Inventory, facts: Callable[[str], ModelFacts]) -> Timetable:
    return timetable(
        [
            demand(name, model, config.engine_of(name), facts(str(model.source)))
            for name, model in config.models.items()
        ],
        lambda demands, beside: planner.make(
            demands,
            inventory,
            reserve_bytes=int(config.gpu.reserve_gib * GIB),
            beside=beside,
        ),
        pinned=[name for name, model in config.models.items() if model.pinned],
        last=[name for name, model in config.models.items() if model.load == "on_demand"],
    )


def load(name: str) -> Config:
    return config_file.load(CONFIGS / f"{name}.yaml")


def test_every_config_for_hardware_is_planned_here() -> None:
    others = {"cpu", "llamacpp", "example", "mlx"}
    assert {file.stem for file in CONFIGS.glob("*.yaml")} - others == set(ROLES)


@pytest.mark.parametrize("name", ROLES)
def test_all_roles_have_a_place(name: str, box: Box, facts: Callable[[str], ModelFacts]) -> None:
    where, roles, turns = ROLES[name]
    found = planned(load(name), box(where), facts)
    assert not found.refusals
    assert {p.replica: ",".join(p.gpu_ids) for p in found.together.placements} == roles
    assert {guest.model: set(guest.instead_of) for guest in found.guests} == turns
    assert all(placed.footprint.fits for placed in found.placements)


@pytest.mark.parametrize("name", ROLES)
def test_its_comment_says_what_is_planned(
    name: str, box: Box, facts: Callable[[str], ModelFacts]
) -> None:
    found = planned(load(name), box(ROLES[name][0]), facts)
    text = (CONFIGS / f"{name}.yaml").read_text()
    assert "Predicted by the plan, not measured" in text
    now = [told(each) for each in found.placements]
    lines = "\n".join("#   {}: {} tokens of KV cache, {} requests".format(*each) for each in now)
    assert _PLANNED.findall(text) == now, f"write there:\n{lines}"


def told(placed: Placement) -> tuple[str, str, str]:
    size = placed.footprint
    return placed.replica, f"{size.kv_cache_tokens:,}", f"{size.max_concurrency:.1f}"


@pytest.mark.parametrize(("name", "quant"), PUBLISHED_GB)
def test_made_gguf_headers_are_as_large_as_the_published_files(
    name: str, quant: str, tmp_path: Path
) -> None:
    found = facts_in(tmp_path, f"org/{name}-GGUF:{quant}")
    assert found.stored is not None
    assert found.stored.total_bytes / 1e9 == pytest.approx(PUBLISHED_GB[name, quant], rel=0.012)


@pytest.mark.parametrize(
    ("models", "together"),
    [
        (["Qwen2.5-Coder-32B-Instruct"], 1),
        (["Qwen2.5-Coder-32B-Instruct", "Qwen3-8B"], 1),
        (["Qwen2.5-Coder-32B-Instruct", "DeepSeek-R1-Distill-Qwen-32B"], 1),
    ],
    ids=["one 32B fits", "a 32B and an 8B are too much", "two 32B are too much"],
)
def test_a_mac_of_36_gb_holds_one_model_of_32_billion(
    models: list[str], together: int, facts: Callable[[str], ModelFacts]
) -> None:
    """Those that do not fit beside it take its place, and none is refused."""
    how = {"max_model_len": 4096, "engine_args": {"n_parallel": 1}}
    entries = {each: {"source": f"org/{each}-GGUF:Q4_K_M", **how} for each in models}
    config = Config.model_validate({"gpu": {"reserve_gib": 0}, "models": entries})
    found = planned(config, mac(), facts)
    assert not found.refusals
    assert len(found.together.placements) == together
    assert len(found.guests) == len(models) - together


def test_with_a_higher_limit_the_mac_has_room_for_embeddings(
    facts: Callable[[str], ModelFacts],
) -> None:
    """As the comment in its config says, pinned beside those that take turns; and without it, that
    there is none."""
    text = (CONFIGS / "m3-pro-36gb.yaml").read_text()
    assert "iogpu.wired_limit_mb=28672" in text
    config = load("m3-pro-36gb")
    entry = {
        "source": "Qwen/Qwen3-Embedding-0.6B-GGUF:Q8_0",
        "max_model_len": 2048,
        "pinned": True,
        "engine_args": {"n_parallel": 1, "embedding": True},
    }
    both = {**config.models, "embedding": ModelConfig.model_validate(entry)}
    config = config.model_copy(update={"models": both})
    assert {r.model for r in planned(config, mac(), facts).refusals} == set(config.models) - {
        "embedding"
    }
    found = planned(config, mac(28672), facts)
    assert not found.refusals
    assert {p.model for p in found.together.placements} == {"general", "embedding"}
    turns = {guest.model: guest.instead_of for guest in found.guests}
    assert turns == {"coder": ("general",), "reasoner": ("general",)}
    assert all(placed.footprint.fits for placed in found.placements)
