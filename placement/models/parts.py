"""The parts that nearly all families share: attention, feed-forward layers and experts."""

from __future__ import annotations

from placement.models.facts import Attention, Dense, Experts, LatentAttention
from placement.models.fields import Fields

HIDDEN = ("hidden_size", "n_embd", "d_model", "dim")
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
_SHARED = (
    "n_shared_experts",
    "num_shared_experts",
    "moe_num_shared_experts",
    "num_shared_expert",
)
_UNGATED = {"relu", "relu2", "gelu_new", "gelu_fast", "gelu_pytorch_tanh_ungated"}
EXPERTS = (
    "num_experts",
    "num_local_experts",
    "n_routed_experts",
    "moe_num_experts",
    "num_moe_experts",
)
EXPERTS_PER_TOKEN = (
    "num_experts_per_tok",
    "num_experts_per_token",
    "experts_per_token",
    "top_k_experts",
    "moe_topk",
    "moe_k",
    "moe_top_k",
    "num_selected_experts",
)


def head_dim(fields: Fields) -> int:
    """Hugging Face's default where a config is silent: the hidden size over the heads."""
    given = fields.get("head_dim", "attention_head_dim", "kv_channels")
    if isinstance(given, int):
        return given
    return fields.need(*HIDDEN) // fields.need(*HEADS)


def kv_heads(fields: Fields) -> int:
    if fields.get("multi_query") and not fields.get("new_decoder_architecture"):
        return 1
    names = ("num_key_value_heads", "multi_query_group_num", "num_kv_heads", "n_head_kv")
    return fields.number(*names, default=fields.need(*HEADS))


def attention(fields: Fields, window: int | None = None, chunk: int | None = None) -> Attention:
    size = head_dim(fields)
    every_bias = fields.flag("all_bias", "use_bias")
    all_four = fields.flag("attention_bias", default=every_bias)
    out_bias = fields.flag("attention_out_bias", "o_proj_bias", default=all_four)
    return Attention(
        n_heads=fields.need(*HEADS),
        n_kv_heads=kv_heads(fields),
        head_dim=size,
        v_head_dim=fields.number("v_head_dim", default=size),
        window=window,
        chunk=chunk,
        qkv_bias=qkv_bias(fields),
        out_bias=out_bias,
        qk_norm=fields.flag("qk_norm", "use_qk_norm", "qk_layernorm", "add_qk_norm"),
        full_qk_norm=fields.flag("full_qk_norm") or fields.get("qk_norm_type") == "per_layer",
        output_gate=fields.flag("attn_output_gate", "attention_output_gate"),
        sinks=fields.flag("attention_sinks"),
    )


def qkv_bias(fields: Fields) -> bool:
    names = ("qkv_bias", "use_qkv_bias", "add_qkv_bias", "attention_bias", "attention_qkv_bias")
    return fields.flag(*names, default=fields.flag("all_bias", "use_bias"))


def latent_attention(fields: Fields) -> LatentAttention:
    q_lora = fields.get("q_lora_rank")
    return LatentAttention(
        n_heads=fields.need(*HEADS),
        q_lora_rank=int(q_lora) if q_lora else None,
        kv_lora_rank=fields.need("kv_lora_rank"),
        qk_nope_head_dim=fields.need("qk_nope_head_dim"),
        qk_rope_head_dim=fields.need("qk_rope_head_dim"),
        v_head_dim=fields.need("v_head_dim"),
        index_heads=fields.number("index_n_heads"),
        index_head_dim=fields.number("index_head_dim"),
        output_gate=fields.flag("mla_use_output_gate"),
        bias=fields.flag("attention_bias"),
        latent_norms=2 if q_lora else 1,
    )


def gated(fields: Fields) -> bool:
    """Whether the feed-forward layers have a gate, by what the config says of the activation."""
    said = fields.get("gated_mlp", "use_gated_mlp")
    if isinstance(said, bool):
        return said
    return fields.get("hidden_act", "hidden_activation", "activation_function") not in _UNGATED


def dense(fields: Fields, size: int | None = None) -> Dense:
    names = ("intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim", "ff_dim")
    width = size or _first(fields.get(*names)) or _by_factor(fields) or fields.need(*names)
    if fields.flag("halved_intermediate"):
        width //= 2  # the first Qwen gives the width of both halves together
    bias = fields.flag("mlp_bias", "use_bias", "all_bias")
    return Dense(width, gated=gated(fields), bias=bias)


def _by_factor(fields: Fields) -> int:
    """Older families have layers of a fixed multiple of the hidden size."""
    return fields.number("ffn_factor", "ffn_ratio", "expansion_ratio") * fields.need(*HIDDEN)


def n_experts(fields: Fields) -> int:
    value = fields.get(*EXPERTS)
    if isinstance(value, list | tuple):  # one number a layer
        return max((int(each) for each in value), default=0)
    return fields.number(*EXPERTS)


def experts(fields: Fields) -> Experts:
    width = expert_width(fields)
    return Experts(
        n_experts=n_experts(fields),
        per_token=_first(fields.get(*EXPERTS_PER_TOKEN, default=1)),
        intermediate_size=width,
        shared_size=shared_width(fields, width),
        gated=gated(fields),
        bias=fields.flag("expert_bias"),
        shared_gate=fields.flag("shared_expert_gate"),
        latent_size=fields.get("moe_latent_size", "routed_expert_hidden_size"),
        router_itemsize=4 if fields.get("router_dtype") == "float32" else None,
        router_bias=fields.get("topk_method") == "noaux_tc"
        or fields.flag("use_routing_bias", "moe_router_enable_expert_bias", "use_moe_router_bias"),
    )


def expert_width(fields: Fields) -> int:
    names = ("moe_intermediate_size", "expert_ffn_hidden_size", "moe_ffn_hidden_size")
    value = fields.get(*names)
    return _first(value) if value else fields.need("intermediate_size", "ffn_hidden_size")


def shared_width(fields: Fields, width: int) -> int:
    """The width of all shared experts together, however the config puts it."""
    whole = fields.get(
        "shared_expert_intermediate_size",
        "moe_shared_expert_intermediate_size",
        "shared_intermediate_size",
        "share_expert_dim",
    )
    count = fields.get(*_SHARED)
    if whole is not None and fields.get("moe_shared_expert_intermediate_size") is not None:
        return int(whole) * _first(count if count is not None else 1)
    if whole is not None:
        return int(whole)
    return width * _first(count) if count is not None else 0


def _first(value: object) -> int:
    """Configs of some families list one number a layer; all are alike in released models."""
    if isinstance(value, list | tuple):
        return int(max(value, default=0))
    return int(value) if isinstance(value, int | float) else 0
