"""Mixers with a state of fixed size: the weights as the engine lays them out, and the states."""

from __future__ import annotations

from placement.models import parts
from placement.models.facts import State, StateSpace, Weight
from placement.models.fields import Fields

_FLOAT32 = 4
_KINDS = {"float32": 4, "bfloat16": 2, "float16": 2}


def _space(
    kind: object, states: tuple[State, ...], weights: tuple[Weight, ...], n_heads: int = 0
) -> StateSpace:
    split = sum(weight.params for weight in weights if weight.split)
    whole = sum(weight.params for weight in weights if not weight.split)
    return StateSpace(kind, states, split, whole, n_heads, weights)  # type: ignore[arg-type]


def _state_itemsize(fields: Fields) -> int | None:
    """The bytes of a recurrent state's element, where the config names its type."""
    name = fields.get("mamba_ssm_dtype", "mamba_ssm_cache_dtype")
    return _KINDS.get(str(name).removeprefix("torch."))


def mamba1(fields: Fields, *, normed: bool = False) -> StateSpace:
    hidden = fields.need(*parts.HIDDEN)
    expand = fields.number("mamba_expand", "expand", default=2)
    inner = fields.number("intermediate_size") if fields.given("state_size") else 0
    inner = inner or expand * hidden
    states = fields.number("mamba_d_state", "state_size", default=16)
    kernel = fields.number("mamba_d_conv", "conv_kernel", default=4)
    rank = fields.number("mamba_dt_rank", "time_step_rank", default=-(-hidden // 16))
    norms = (Weight("dt_layernorm", rank), Weight("b", states), Weight("c", states))
    return _space(
        "mamba1",
        (State((inner, kernel - 1), 0), State((inner, states), 0)),
        (
            Weight("conv1d.weight", inner, kernel, "rows"),
            Weight("conv1d.bias", inner, 1, "rows"),
            Weight("in_proj", 2 * inner, hidden, "rows"),
            Weight("x_proj", rank + 2 * states, inner, "columns"),
            Weight("dt_proj", inner, rank, "rows"),
            Weight("dt_proj.bias", inner, 1, "rows"),
            Weight("A", inner, states, "rows", itemsize=_FLOAT32),
            Weight("D", inner, 1, "rows"),
            Weight("out_proj", hidden, inner, "columns"),
            *(norms if normed else ()),
        ),
    )


def mamba2(fields: Fields) -> StateSpace:
    hidden = fields.need(*parts.HIDDEN)
    heads = fields.need("mamba_num_heads", "mamba_n_heads", "num_heads")
    inner = _mamba2_inner(fields, hidden, heads)
    groups = fields.number("mamba_n_groups", "n_groups", default=1)
    size = fields.number("mamba_d_state", "ssm_state_size", "state_size", default=128)
    kernel = fields.number("mamba_d_conv", "conv_kernel", default=4)
    conv = inner + 2 * groups * size
    whole = 2 * size if groups == 1 else 0  # a lone group is repeated on every rank
    bias = fields.flag("mamba_proj_bias", "use_bias")
    normed = fields.flag("mamba_rms_norm", default=True)
    wide = inner + conv + heads
    return _space(
        "mamba2",
        (
            State((conv, kernel - 1), 0),
            State((heads, inner // heads, size), 0, _state_itemsize(fields)),
        ),
        (
            Weight("mamba.conv1d.weight", conv, kernel, "rows", whole_rows=whole),
            *(
                (Weight("mamba.conv1d.bias", conv, 1, "rows", whole_rows=whole),)
                if fields.flag("mamba_conv_bias", "use_conv_bias", default=True)
                else ()
            ),
            Weight("mamba.in_proj", wide, hidden, "rows", linear=True, whole_rows=whole),
            *((Weight("mamba.in_proj.bias", wide, 1, "rows", whole_rows=whole),) if bias else ()),
            Weight("mamba.A", heads, 1, "rows", itemsize=_FLOAT32),
            Weight("mamba.D", heads, 1, "rows"),
            Weight("mamba.dt_bias", heads, 1, "rows"),
            Weight("mamba.out_proj", hidden, inner, "columns", linear=True),
            *((Weight("mamba.out_proj.bias", hidden),) if bias else ()),
            *((Weight("mamba.norm", inner, 1, "rows"),) if normed else ()),
        ),
        heads,
    )


def _mamba2_inner(fields: Fields, hidden: int, heads: int) -> int:
    if given := fields.get("mamba_d_ssm"):
        return int(given)
    size = fields.get("mamba_head_dim", "mamba_d_head")
    if isinstance(size, int):
        return heads * size
    return fields.number("mamba_expand", "expand", default=2) * hidden


def gated_delta_net(fields: Fields) -> StateSpace:
    hidden = fields.need(*parts.HIDDEN)
    key_heads, heads = fields.need("linear_num_key_heads"), fields.need("linear_num_value_heads")
    key_dim, value_dim = fields.need("linear_key_head_dim"), fields.need("linear_value_head_dim")
    kernel = fields.number("linear_conv_kernel_dim", default=4)
    keys, values = key_heads * key_dim, heads * value_dim
    conv = 2 * keys + values
    at = "linear_attn"
    return _space(
        "gdn",
        (
            State((conv, kernel - 1), 0),
            State((heads, value_dim, key_dim), 0, _state_itemsize(fields)),
        ),
        (
            Weight(f"{at}.conv1d", conv, kernel, "rows"),
            Weight(f"{at}.in_proj_qkvz", 2 * keys + 2 * values, hidden, "rows", linear=True),
            Weight(f"{at}.in_proj_ba", 2 * heads, hidden, "rows", linear=True),
            Weight(f"{at}.dt_bias", heads, 1, "rows"),
            Weight(f"{at}.A_log", heads, 1, "rows", itemsize=_FLOAT32),
            Weight(f"{at}.norm", value_dim),
            Weight(f"{at}.out_proj", hidden, values, "columns", linear=True),
        ),
        heads,
    )


def kimi_delta(fields: Fields) -> StateSpace:
    hidden, section = fields.need(*parts.HIDDEN), fields.section("linear_attn_config")
    heads = int(section.get("num_heads") or fields.need("linear_num_heads"))
    size = int(section.get("head_dim") or fields.number("linear_head_dim", default=128))
    kernel = fields.number("linear_conv_kernel_dim", default=4)
    kernel, width = int(section.get("short_conv_kernel_size") or kernel), heads * size
    full_gate = bool(section.get("use_full_rank_gate"))
    wide = 4 if full_gate else 3
    gate = (
        ()
        if full_gate
        else (
            Weight("self_attn.g_a_proj", size, hidden, linear=True),
            Weight("self_attn.g_b_proj", width, size, "rows", linear=True),
        )
    )
    return _space(
        "kda",
        (State((3 * width, kernel - 1), 0), State((heads, size, size), 0, _FLOAT32)),
        (
            Weight("self_attn.in_proj", wide * width, hidden, "rows", linear=True),
            Weight("self_attn.b_proj", heads, hidden, "rows", linear=True),
            Weight("self_attn.f_a_proj", size, hidden, linear=True),
            Weight("self_attn.f_b_proj", width, size, "rows", linear=True),
            Weight("self_attn.dt_bias", width, 1, "rows", itemsize=_FLOAT32),
            Weight("self_attn.conv1d", 3 * width, kernel, "rows", itemsize=_FLOAT32),
            Weight("self_attn.A_log", heads, 1, "rows", itemsize=_FLOAT32),
            *gate,
            Weight("self_attn.o_norm", size),
            Weight("self_attn.o_proj", hidden, width, "columns", linear=True),
        ),
        heads,
    )


def lightning(fields: Fields) -> StateSpace:
    hidden, heads, size = (
        fields.need(*parts.HIDDEN),
        fields.need(*parts.HEADS),
        parts.head_dim(fields),
    )
    width = heads * size
    return _space(
        "lightning",
        (State((heads, size, size), 0, _FLOAT32),),
        (
            Weight("self_attn.qkv_proj", 3 * width, hidden, "rows", linear=True),
            Weight("self_attn.output_gate", width, hidden, "rows", linear=True),
            Weight("self_attn.out_proj", hidden, width, "columns", linear=True),
            Weight("self_attn.norm", width, 1, "rows"),
        ),
        heads,
    )


def short_conv(fields: Fields) -> StateSpace:
    """LFM2's gated convolution over the last few tokens."""
    hidden, kernel = fields.need(*parts.HIDDEN), fields.number("conv_L_cache", default=3)
    bias = fields.flag("conv_bias")
    vectors = (
        Weight("conv.conv.bias", hidden, 1, "rows"),
        Weight("conv.in_proj.bias", 3 * hidden, 1, "rows"),
        Weight("conv.out_proj.bias", hidden),
    )
    return _space(
        "short_conv",
        (State((hidden, kernel - 1), 0),),
        (
            Weight("conv.conv.weight", hidden, kernel, "rows"),
            Weight("conv.in_proj", 3 * hidden, hidden, "rows", linear=True),
            Weight("conv.out_proj", hidden, hidden, "columns", linear=True),
            *(vectors if bias else ()),
        ),
    )
