"""What a model is, as far as memory and speed depend on it. Read from files by config_json.py.

A model is a list of layers, each a mixer (some kind of attention or state space) and a
feed-forward part. Sizes are of the whole model, before any parallelism.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

DType = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Weight:
    """One tensor as the engine holds it, for parts that no plainer fact describes.

    `rows` are outputs and `columns` inputs; `split` is the side that tensor parallelism divides.
    A `linear` one may be quantized. `itemsize` None: that of the model's dtype.
    """

    name: str
    rows: int
    columns: int = 1
    split: Literal["rows", "columns"] | None = None
    linear: bool = False
    itemsize: int | None = None
    whole_rows: int = 0  # those of `rows` that no rank may share with another

    @property
    def params(self) -> int:
        return self.rows * self.columns


@dataclass(frozen=True)
class RopeCache:
    """A table of cosines and sines, as long as the positions that it covers; TP leaves it whole."""

    positions: int
    rotary_dim: int
    itemsize: int | None = None  # None: that of the model's dtype


@dataclass(frozen=True)
class Attention:
    """Grouped-query attention, of which multi-head and multi-query are the ends.

    `window` is the sliding window in tokens, `chunk` the length of chunked local attention; at
    most one of them is set. A layer with `shares_cache` reads another layer's KV cache.
    """

    n_heads: int
    n_kv_heads: int
    head_dim: int
    v_head_dim: int
    window: int | None = None
    chunk: int | None = None
    qkv_bias: bool = False
    out_bias: bool = False
    qk_norm: bool = False
    full_qk_norm: bool = False  # over all heads together instead of over each
    output_gate: bool = False  # the query projection is twice as wide
    k_is_v: bool = False  # one projection for both; two caches all the same
    sinks: bool = False
    shares_cache: bool = False


@dataclass(frozen=True)
class LatentAttention:
    """Multi-head latent attention (MLA): one compressed vector a token instead of K and V heads.

    `index_heads` and `index_head_dim` are of the sparse attention's indexer (0: none), which has
    a cache of its own.
    """

    n_heads: int
    q_lora_rank: int | None
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int
    index_heads: int = 0
    index_head_dim: int = 0
    output_gate: bool = False
    bias: bool = False
    latent_norms: int = 2  # of the compressed queries and of the compressed keys and values


@dataclass(frozen=True)
class StateSpace:
    """A mixer with a state of fixed size a sequence: Mamba 1 and 2, gated delta net, KDA.

    `states` are the shapes of the tensors that one sequence keeps, each with the axis that tensor
    parallelism splits and the bytes of an element. `params` are weights that TP splits,
    `replicated_params` those that every rank holds; `weights` names the same ones one by one.
    """

    kind: Literal["mamba1", "mamba2", "gdn", "kda", "short_conv", "lightning"]
    states: tuple[State, ...]
    params: int
    replicated_params: int = 0
    n_heads: int = 0
    weights: tuple[Weight, ...] = ()


@dataclass(frozen=True)
class State:
    """One tensor of a sequence's state. `itemsize` None: that of the model's dtype."""

    shape: tuple[int, ...]
    split_axis: int
    itemsize: int | None = None


@dataclass(frozen=True)
class Dense:
    """A feed-forward layer; a gated one has three matrices, an ungated one two."""

    intermediate_size: int
    gated: bool = True
    bias: bool = False


@dataclass(frozen=True)
class Experts:
    """A mixture of experts. `shared_size` is the whole width of the shared experts (0: none)."""

    n_experts: int
    per_token: int
    intermediate_size: int
    shared_size: int = 0
    gated: bool = True
    bias: bool = False
    shared_gate: bool = False
    latent_size: int | None = None  # experts work on this width instead of the hidden size
    dense: Dense | None = None  # a dense feed-forward beside the experts
    router_bias: bool = False  # one number an expert, kept in float32
    router_itemsize: int | None = None  # None: that of the model's dtype
    empty_experts: int = 0  # the router knows them, but they have no weights


Mixer = Attention | LatentAttention | StateSpace
FeedForward = Dense | Experts


@dataclass(frozen=True)
class Layer:
    """Either part may be missing: some hybrids have layers of a mixer or a feed-forward alone."""

    mixer: Mixer | None
    feed_forward: FeedForward | None
    norms: int = 2  # vectors of the hidden size
    extra: tuple[Weight, ...] = ()  # what belongs to neither part


@dataclass(frozen=True)
class Tower:
    """A vision or audio part in front of the language model.

    `params` includes the projector; it is loaded in the model's dtype. `split` tells whether
    tensor parallelism splits it; `weights` names the same parameters one by one.
    """

    kind: Literal["vision", "audio"]
    params: int
    n_heads: int
    split: bool = True
    weights: tuple[Weight, ...] = ()


@dataclass(frozen=True)
class Scheme:
    """How one linear layer is stored: `weight_bits` a weight, and its scales and zero points.

    A scale covers `group` inputs (0: all of them) of `block_rows` outputs (0: all of them).
    """

    weight_bits: float
    group: int = 0
    block_rows: int = 1
    scale_bytes: int = 4
    zero_bits: float = 0

    @property
    def bits(self) -> float:
        """Bits a weight with scales and zero points, where the groups are many."""
        if not self.group:
            return self.weight_bits
        per_group = self.scale_bytes * 8 + self.zero_bits
        return self.weight_bits + per_group / (self.group * max(1, self.block_rows))


@dataclass(frozen=True)
class Quantization:
    """How the checkpoint's weights are stored.

    `bits` counts scales and zero points too (4.25 for MXFP4). Module names that match
    `unquantized` stay in the model's dtype; embeddings always do. `overrides` are schemes of
    modules that are stored otherwise than the rest (None: not quantized); the first match counts.
    """

    method: str  # as config.json or the engine calls it: fp8, awq, gptq, compressed-tensors, ...
    bits: float
    unquantized: tuple[str, ...] = ()
    lm_head: bool = False  # whether the output layer is quantized as well
    experts_only: bool = False
    scheme: Scheme = Scheme(8)
    overrides: tuple[tuple[str, Scheme | None], ...] = ()
    only: tuple[str, ...] = ()  # where not empty, the modules that are quantized at all


@dataclass(frozen=True)
class StoredWeights:
    """Exact sizes from the headers of the weight files: bytes by tensor name.

    `itemsizes` are the bytes of an element, of tensors of floating-point numbers.
    """

    tensors: dict[str, int]
    itemsizes: dict[str, int] = field(default_factory=dict)

    @property
    def total_bytes(self) -> int:
        return sum(self.tensors.values())


@dataclass(frozen=True)
class ModelFacts:
    """All that placement knows of a model. `notes` says what was assumed or left out."""

    name: str
    architecture: str
    hidden_size: int
    vocab_size: int
    layers: tuple[Layer, ...]
    tied_embeddings: bool
    max_position_embeddings: int
    dtype: DType
    rotary_dim: int = 0
    learned_positions: int = 0
    quantization: Quantization | None = None
    tower: Tower | None = None
    lm_head_bias: bool = False
    extra_params: int = 0  # weights that no field above tells of; every rank holds them
    extra: tuple[Weight, ...] = ()  # the same, one by one; on the first pipeline rank
    rope_caches: tuple[RopeCache, ...] = ()
    final_norms: int = 1  # vectors of the hidden size after the last layer
    embedding_size: int = 0  # 0: the hidden size
    stored: StoredWeights | None = None
    notes: tuple[str, ...] = ()

    @property
    def n_heads(self) -> int:
        """Query heads, which TP must divide; 0 for a model without attention."""
        return max((getattr(layer.mixer, "n_heads", 0) for layer in self.layers), default=0)

    @property
    def n_kv_heads(self) -> int:
        mixers = [layer.mixer for layer in self.layers]
        return max((mix.n_kv_heads for mix in mixers if isinstance(mix, Attention)), default=1)
