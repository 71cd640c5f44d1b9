"""Bytes of vLLM's "Model loading took" on each pipeline rank, and what a model's weights are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from placement.footprint.allocator import allocated_bytes
from placement.footprint.kinds import kinds
from placement.footprint.memo import Memo
from placement.footprint.settings import Settings, Version
from placement.footprint.storage import Storage, in_use, storage_of
from placement.footprint.stored import stored_sizes
from placement.footprint.tensors import (
    Split,
    Tensor,
    absorbed,
    embedding,
    head,
    layer,
    weights,
)
from placement.models.facts import Attention, Experts, LatentAttention, ModelFacts

# From here on loading runs with max_split_size_mb=20 (vLLM pull request 41268).
_MAX_SPLIT_SINCE = (0, 21, 0)
_MAX_SPLIT = 20 * 2**20
# These versions make FlashInfer's workspace for MLA as soon as its module is imported, which the
# choice of a backend does on every GPU; later ones wait until it is used (pull request 47074).
_MLA_WORKSPACE_VERSIONS: tuple[Version, Version] = ((0, 12, 0), (0, 25, 0))
_MLA_WORKSPACE = 128 * 2**20
# What gpt-oss took beyond its padded weights on H100, the same at TP 1 and 2 (logs of v0.19). What
# it is was not found.
_TRITON_VERSIONS: tuple[Version, Version] = ((0, 12, 0), (99, 0, 0))
_TRITON_EXPERTS = 144 * 2**20


def rank_weights(
    facts: ModelFacts, settings: Settings, capability: tuple[int, int] | None = None
) -> tuple[int, ...]:
    """Bytes on each pipeline rank; all tensor-parallel ranks of one hold the same.

    The GPU's compute capability decides which kernels run, and so how some weights are padded.
    """
    limit = _MAX_SPLIT if (settings.vllm_version or (0, 0, 0)) >= _MAX_SPLIT_SINCE else None
    storage = storage_of(facts, settings, capability)
    return tuple(
        allocated_bytes(_rank_sizes(facts, settings, rank, storage), max_split=limit)
        for rank in range(settings.pp)
    )


def tensor_bytes(facts: ModelFacts, settings: Settings) -> tuple[int, ...]:
    """What files hold of each rank: without rounding and what is made after loading."""
    storage = storage_of(facts, settings)
    return tuple(sum(_rank_tensors(facts, settings, rank, storage)) for rank in range(settings.pp))


def pp_layers(n_layers: int, pp: int) -> tuple[int, ...]:
    """How many layers each pipeline rank gets (vllm.distributed.utils.get_pp_indices).

    What is left over goes to the ranks before the last one, from the back.
    """
    counts = [n_layers // pp] * pp
    for i in range(2, n_layers % pp + 2):
        counts[-i] += 1
    return tuple(counts)


def params(facts: ModelFacts) -> int:
    """All parameters as model cards count them, without padding and correction buffers."""
    whole = Split()
    tensors = (t for i in range(len(facts.layers)) for t in layer(facts, i, whole))
    total = sum(t.params for t in tensors if not t.name.endswith("e_score_correction_bias"))
    vocab = facts.vocab_size * facts.hidden_size
    ends = vocab * (1 if facts.tied_embeddings else 2) + facts.final_norms * facts.hidden_size
    bias = facts.vocab_size if facts.lm_head_bias else 0
    tower = facts.tower.params if facts.tower else 0
    return total + ends + bias + facts.extra_params + tower - _absent(facts)


def active_params(facts: ModelFacts) -> int:
    """Parameters that one token passes: of the experts only those that it is sent to."""
    idle = sum(_idle(facts, part) for part in _experts(facts))
    tower = facts.tower.params if facts.tower else 0
    lookup = 0 if facts.tied_embeddings else facts.vocab_size * facts.hidden_size
    return params(facts) - idle - tower - lookup


def read_bytes_per_token(facts: ModelFacts, settings: Settings) -> int:
    """Bytes of weights that one rank of the slowest stage reads to decode one token alone."""
    return max(_read_bytes(facts, settings, rank) for rank in range(settings.pp))


def _read_bytes(facts: ModelFacts, settings: Settings, rank: int) -> int:
    storage, split = storage_of(facts, settings), _split(settings)
    layers = (_layer(facts, i, split, storage) for i in _indices(facts, settings, rank))
    total = sum(each.read_bytes for each in layers)
    if rank == settings.pp - 1:
        rows = facts.vocab_size // settings.tp
        output = Tensor("lm_head", rows, facts.hidden_size, kind="lm_head")
        total += sum(storage.sizes(output))
    return total


def _routed_share(part: object, size: int) -> int:
    assert isinstance(part, Experts)
    return size * min(part.per_token, part.n_experts) // part.n_experts


def _rank_sizes(
    facts: ModelFacts, settings: Settings, rank: int, storage: Storage
) -> Iterator[int]:
    if _as_stored(facts, settings):
        yield from stored_sizes(facts, settings, _indices(facts, settings, rank), rank)
    else:
        yield from _rank_tensors(facts, settings, rank, storage)
    yield from _after_load(facts, settings, rank, storage)


def _as_stored(facts: ModelFacts, settings: Settings) -> bool:
    """Files tell the bytes exactly, unless the engine is to quantize them itself."""
    return facts.stored is not None and in_use(facts, settings) == facts.quantization


def _rank_tensors(
    facts: ModelFacts, settings: Settings, rank: int, storage: Storage
) -> Iterator[int]:
    """Bytes of the tensors in the order in which vLLM makes them."""
    split = _split(settings)
    first, last = rank == 0, rank == settings.pp - 1
    before: list[Tensor] = []
    if facts.tower:
        before += weights(facts.tower.weights, "", split if facts.tower.split else Split())
    if first or (last and facts.tied_embeddings):
        before += embedding(facts, split)
    if first:
        before += weights(facts.extra, "", split)
    yield from _sizes(before, storage)
    for index in _indices(facts, settings, rank):
        yield from _layer(facts, index, split, storage).sizes
    if last:
        yield from _sizes(head(facts, split, shared=facts.tied_embeddings), storage)


def _sizes(tensors: Iterable[Tensor], storage: Storage) -> Iterator[int]:
    for tensor in tensors:
        yield from storage.sizes(tensor)


@dataclass(frozen=True)
class _Layer:
    """What one layer's tensors take on a rank, and what of them one token alone reads."""

    sizes: tuple[int, ...]
    read_bytes: int


_layers: Memo[_Layer] = Memo(4096)


def _layer(facts: ModelFacts, index: int, split: Split, storage: Storage) -> _Layer:
    # Quantized layers may be told apart by their number in a pattern; others are of a few kinds.
    which = index if storage.quantization else -1 - kinds(facts).of[index]
    return _layers.get(
        facts, (which, split, storage), lambda: _measured(facts, index, split, storage)
    )


def _measured(facts: ModelFacts, index: int, split: Split, storage: Storage) -> _Layer:
    part = facts.layers[index].feed_forward
    sizes: list[int] = []
    read = 0
    for tensor in layer(facts, index, split):
        own = storage.sizes(tensor)
        sizes += own
        read += _routed_share(part, sum(own)) if tensor.kind == "experts" else sum(own)
    return _Layer(tuple(sizes), read)


def _after_load(
    facts: ModelFacts, settings: Settings, rank: int, storage: Storage
) -> Iterator[int]:
    """What no file holds: tables of rotary embeddings, and what backends make for themselves."""
    for cache in facts.rope_caches:
        yield cache.positions * cache.rotary_dim * (cache.itemsize or storage.itemsize)
    latent = [
        (index, mixer)
        for index in _indices(facts, settings, rank)
        if isinstance(mixer := facts.layers[index].mixer, LatentAttention)
    ]
    for index, mixer in latent:
        copy = absorbed(mixer, f"model.layers.{index}.self_attn", _split(settings))
        if storage.quantizes(copy):
            yield copy.params * storage.itemsize
    if latent and _within(settings, _MLA_WORKSPACE_VERSIONS):
        yield _MLA_WORKSPACE
    if storage.triton_experts and _within(settings, _TRITON_VERSIONS):
        yield _TRITON_EXPERTS


def _within(settings: Settings, versions: tuple[Version, Version]) -> bool:
    version = settings.vllm_version
    return version is not None and versions[0] <= version < versions[1]


def _split(settings: Settings) -> Split:
    return Split(settings.tp, settings.tp if settings.expert_parallel else 1)


def _indices(facts: ModelFacts, settings: Settings, rank: int) -> range:
    counts = pp_layers(len(facts.layers), settings.pp)
    start = sum(counts[:rank])
    return range(start, start + counts[rank])


def _experts(facts: ModelFacts) -> Iterator[Experts]:
    for each in facts.layers:
        if isinstance(each.feed_forward, Experts):
            yield each.feed_forward


def _idle(facts: ModelFacts, part: Experts) -> int:
    width = part.latent_size or facts.hidden_size
    matrices = 3 if part.gated else 2
    one = matrices * width * part.intermediate_size
    one += (part.intermediate_size * (matrices - 1) + width) if part.bias else 0
    return one * max(0, part.n_experts - part.per_token)


def _absent(facts: ModelFacts) -> int:
    """Keys that double as values are loaded twice, and stored once."""
    attention = [each.mixer for each in facts.layers if isinstance(each.mixer, Attention)]
    return sum(
        facts.hidden_size * mixer.n_kv_heads * mixer.v_head_dim
        for mixer in attention
        if mixer.k_is_v and not mixer.shares_cache
    )
