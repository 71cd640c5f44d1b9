"""Models and boxes that are only described, for tests of the planner."""

from __future__ import annotations

from common.units import GIB
from placement.inventory.inventory import Cpu, Gpu, Inventory, Link
from placement.models.facts import Attention, Dense, Layer, ModelFacts

CARDS = {
    "RTX 4090": ("NVIDIA GeForce RTX 4090", 24564, 425, (8, 9)),
    "RTX 5090": ("NVIDIA GeForce RTX 5090", 32607, 494, (12, 0)),
    "H100": ("NVIDIA H100 80GB HBM3", 81559, 470, (9, 0)),
}


def llama(
    billions: float = 8,
    *,
    layers: int = 32,
    heads: int = 32,
    kv_heads: int = 8,
    context: int = 131072,
    vocab: int = 128256,
) -> ModelFacts:
    """A dense model of about that many parameters, with Llama 3's proportions."""
    hidden = 128 * heads
    attention = Attention(heads, kv_heads, 128, 128)
    attention_params = hidden * 128 * 2 * (heads + kv_heads)
    left = billions * 1e9 - 2 * vocab * hidden - layers * attention_params
    intermediate = max(256, int(left / layers / 3 / hidden) // 256 * 256)
    return ModelFacts(
        name=f"llama-{billions:g}b",
        architecture="LlamaForCausalLM",
        hidden_size=hidden,
        vocab_size=vocab,
        layers=(Layer(attention, Dense(intermediate)),) * layers,
        tied_embeddings=False,
        max_position_embeddings=context,
        dtype="bfloat16",
        rotary_dim=128,
    )


def box(
    n_gpus: int = 0,
    card: str = "RTX 4090",
    *,
    nvlink: bool = False,
    used_gib: tuple[float, ...] = (),
    cores: int = 8,
    free_gib: float = 64,
) -> Inventory:
    """`n_gpus` like cards, the first ones with so much of their memory in use."""
    used = [*used_gib, *[0.0] * n_gpus][:n_gpus]
    pairs = [(a, b) for a in range(n_gpus) for b in range(a + 1, n_gpus)]
    return Inventory(
        cpu=Cpu("CPU", tuple(range(cores)), (tuple(range(cores)),), 64 * GIB, int(free_gib * GIB)),
        gpus=tuple(_gpu(index, card, each) for index, each in enumerate(used)),
        links=tuple(Link(a, b, nvlinks=18 if nvlink else 0, p2p=nvlink) for a, b in pairs),
    )


def _gpu(index: int, card: str, used_gib: float) -> Gpu:
    name, total_mib, reserved_mib, capability = CARDS[card]
    total, reserved, used = total_mib << 20, reserved_mib << 20, int(used_gib * GIB)
    return Gpu(
        index=index,
        uuid=f"GPU-{index}",
        name=name,
        total_bytes=total,
        reserved_bytes=reserved,
        used_bytes=used,
        free_bytes=total - reserved - used,
        compute_capability=capability,
    )
