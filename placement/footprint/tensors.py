"""The tensors of one rank, fused and split as vLLM does it, in the order in which it makes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from placement.models.facts import (
    Attention,
    Dense,
    Experts,
    LatentAttention,
    Layer,
    ModelFacts,
    StateSpace,
    Weight,
)

VOCAB_PADDING = 64
_FLOAT32 = 4


@dataclass(frozen=True)
class Tensor:
    """`copies` are experts stacked in one tensor. `kind` tells what may be quantized."""

    name: str
    rows: int
    columns: int = 1
    copies: int = 1
    kind: str = "plain"  # "linear", "experts", "embedding", "lm_head", "plain"
    itemsize: int | None = None

    @property
    def params(self) -> int:
        return self.rows * self.columns * self.copies


@dataclass(frozen=True)
class Split:
    """How a model is divided: over `tp` ranks, and over `ep` for whole experts."""

    tp: int = 1
    ep: int = 1

    def part(self, size: int) -> int:
        return -(-size // self.tp)


def embedding(facts: ModelFacts, split: Split) -> Iterator[Tensor]:
    rows = split.part(padded(facts.vocab_size))
    yield Tensor("model.embed_tokens", rows, facts.hidden_size, kind="embedding")


def head(facts: ModelFacts, split: Split, *, shared: bool) -> Iterator[Tensor]:
    """The final norm and the output layer, which a model with tied embeddings does not have."""
    for _ in range(facts.final_norms):
        yield Tensor("model.norm", facts.hidden_size)
    rows = split.part(padded(facts.vocab_size))
    if not shared:
        yield Tensor("lm_head", rows, facts.hidden_size, kind="lm_head")
    if facts.lm_head_bias:
        yield Tensor("lm_head.bias", rows)


def padded(vocab_size: int) -> int:
    return -(-vocab_size // VOCAB_PADDING) * VOCAB_PADDING


def layer(facts: ModelFacts, index: int, split: Split) -> Iterator[Tensor]:
    one: Layer = facts.layers[index]
    at = f"model.layers.{index}"
    hidden = facts.hidden_size
    match one.mixer:
        case Attention():
            yield from _attention(one.mixer, f"{at}.self_attn", hidden, split)
        case LatentAttention():
            yield from _latent(one.mixer, f"{at}.self_attn", hidden, split)
        case StateSpace():
            yield from weights(one.mixer.weights, at, split)
    match one.feed_forward:
        case Dense():
            yield from _dense(one.feed_forward, f"{at}.mlp", hidden, split)
        case Experts():
            yield from _experts(one.feed_forward, f"{at}.mlp", hidden, split)
    yield from weights(one.extra, at, split)
    for _ in range(one.norms):
        yield Tensor(f"{at}.norm", hidden)


def weights(given: tuple[Weight, ...], at: str, split: Split) -> Iterator[Tensor]:
    for weight in given:
        shared = weight.rows - weight.whole_rows if weight.split == "rows" else 0
        rows = split.part(shared) + weight.rows - shared
        columns = split.part(weight.columns) if weight.split == "columns" else weight.columns
        name = f"{at}.{weight.name}" if at else weight.name
        kind = "linear" if weight.linear else "plain"
        yield Tensor(name, rows, columns, kind=kind, itemsize=weight.itemsize)


def _linear(name: str, rows: int, columns: int, *, bias: bool = False) -> Iterator[Tensor]:
    yield Tensor(name, rows, columns, kind="linear")
    if bias:
        yield Tensor(f"{name}.bias", rows)


def _attention(mixer: Attention, at: str, hidden: int, split: Split) -> Iterator[Tensor]:
    heads, kv_heads = split.part(mixer.n_heads), split.part(mixer.n_kv_heads)
    size = mixer.head_dim
    queries = heads * size * (2 if mixer.output_gate else 1)
    keys = 0 if mixer.shares_cache else kv_heads * (size + mixer.v_head_dim)
    yield from _linear(f"{at}.q_proj", queries + keys, hidden, bias=mixer.qkv_bias)
    inner = heads * mixer.v_head_dim
    yield from _linear(f"{at}.o_proj", hidden, inner, bias=mixer.out_bias)
    if mixer.qk_norm:
        yield Tensor(f"{at}.q_norm", heads * size if mixer.full_qk_norm else size)
    if mixer.qk_norm and not mixer.shares_cache:
        yield Tensor(f"{at}.k_norm", kv_heads * size if mixer.full_qk_norm else size)
    if mixer.sinks:
        yield Tensor(f"{at}.sinks", heads)


def _latent(mixer: LatentAttention, at: str, hidden: int, split: Split) -> Iterator[Tensor]:
    """The compressing projections are whole on every rank, and may be fused into one."""
    heads = split.part(mixer.n_heads)
    compressed = mixer.kv_lora_rank + mixer.qk_rope_head_dim
    queries = heads * (mixer.qk_nope_head_dim + mixer.qk_rope_head_dim)
    if mixer.q_lora_rank:
        rows = mixer.q_lora_rank + compressed
        yield from _linear(f"{at}.q_a_proj", rows, hidden, bias=mixer.bias)
        yield Tensor(f"{at}.q_a_layernorm", mixer.q_lora_rank)
        yield from _linear(f"{at}.q_b_proj", queries, mixer.q_lora_rank)
    else:
        yield from _linear(f"{at}.kv_a_proj_with_mqa", compressed, hidden, bias=mixer.bias)
        yield from _linear(f"{at}.q_proj", queries, hidden)
    if mixer.latent_norms:
        yield Tensor(f"{at}.kv_a_layernorm", mixer.kv_lora_rank)
    expanded = heads * (mixer.qk_nope_head_dim + mixer.v_head_dim)
    yield from _linear(f"{at}.kv_b_proj", expanded, mixer.kv_lora_rank)
    yield from _linear(f"{at}.o_proj", hidden, heads * mixer.v_head_dim, bias=mixer.bias)
    if mixer.output_gate:
        yield from _linear(f"{at}.g_proj", heads * mixer.v_head_dim, hidden)
    yield from _indexer(mixer, f"{at}.indexer", hidden)


def _indexer(mixer: LatentAttention, at: str, hidden: int) -> Iterator[Tensor]:
    if not mixer.index_heads:
        return
    queries = mixer.index_heads * mixer.index_head_dim
    yield from _linear(f"{at}.wq_b", queries, mixer.q_lora_rank or hidden)
    yield Tensor(f"{at}.weights_proj", mixer.index_heads + mixer.index_head_dim, hidden)
    yield Tensor(f"{at}.k_norm", mixer.index_head_dim, itemsize=_FLOAT32)
    yield Tensor(f"{at}.k_norm.bias", mixer.index_head_dim, itemsize=_FLOAT32)


def absorbed(mixer: LatentAttention, at: str, split: Split) -> Tensor:
    """kv_b_proj once more, in the model's dtype: decoding multiplies with its two halves.

    Where kv_b_proj is not quantized, the halves are views of it and take nothing.
    """
    rows = split.part(mixer.n_heads) * (mixer.qk_nope_head_dim + mixer.v_head_dim)
    return Tensor(f"{at}.kv_b_proj", rows, mixer.kv_lora_rank, kind="linear")


def _dense(part: Dense, at: str, hidden: int, split: Split) -> Iterator[Tensor]:
    width = split.part(part.intermediate_size)
    up = width * (2 if part.gated else 1)
    yield from _linear(f"{at}.gate_proj", up, hidden, bias=part.bias)
    yield from _linear(f"{at}.down_proj", hidden, width, bias=part.bias)


def _experts(part: Experts, at: str, hidden: int, split: Split) -> Iterator[Tensor]:
    routes = part.n_experts + part.empty_experts
    yield Tensor(f"{at}.gate", routes, hidden, itemsize=part.router_itemsize)
    if part.router_bias:
        yield Tensor(f"{at}.gate.e_score_correction_bias", routes, itemsize=_FLOAT32)
    if part.shared_size:
        shared = Dense(part.shared_size, part.gated)
        yield from _dense(shared, f"{at}.shared_experts", hidden, split)
    if part.shared_gate:
        yield Tensor(f"{at}.shared_expert_gate", 1, hidden)
    if part.dense:
        yield from _dense(part.dense, at, hidden, split)
    if part.latent_size:
        yield from _linear(f"{at}.fc1_latent_proj", part.latent_size, hidden)
        yield from _linear(f"{at}.fc2_latent_proj", hidden, part.latent_size)
    yield from _routed(part, f"{at}.experts", part.latent_size or hidden, split)


def _routed(part: Experts, at: str, hidden: int, split: Split) -> Iterator[Tensor]:
    """All experts of a rank in two stacked tensors: whole ones, or a slice of each."""
    n_experts = -(-part.n_experts // split.ep)
    width = part.intermediate_size if split.ep > 1 else split.part(part.intermediate_size)
    up = width * (2 if part.gated else 1)
    yield Tensor(f"{at}.0.gate_proj", up, hidden, n_experts, kind="experts")
    if part.bias:
        yield Tensor(f"{at}.w13_bias", up, 1, n_experts)
    yield Tensor(f"{at}.0.down_proj", hidden, width, n_experts, kind="experts")
    if part.bias:
        yield Tensor(f"{at}.w2_bias", hidden, 1, n_experts)
