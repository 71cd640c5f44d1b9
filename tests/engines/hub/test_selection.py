"""Which files of a repository are needed: no network, no disk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UsageError
from engines.hub.reference import Reference, parse
from engines.hub.selection import RemoteFile, select, variants


def listed(*paths: str) -> list[RemoteFile]:
    return [RemoteFile(path, 1 << 30) for path in paths]


def chosen(wanted: str | None, *paths: str) -> set[str]:
    return {file.path for file in select(listed(*paths), wanted)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("org/m", Reference("org/m")),
        ("org/m.v2@main", Reference("org/m.v2", "main")),
        ("org/m@refs/pr/1", Reference("org/m", "refs/pr/1")),
        ("org/m:Q4_K_M", Reference("org/m", None, "Q4_K_M")),
        ("org/m@v1:a/b.gguf", Reference("org/m", "v1", "a/b.gguf")),
        ("org/m/a/b.gguf", Reference("org/m", None, "a/b.gguf")),
    ],
)
def test_names(text: str, expected: Reference) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text", ["m", "./org/m", "org/m/x", "org/m@", "org/m:", "a b/c", "~/m", ""]
)
def test_what_is_no_name(text: str) -> None:
    assert parse(text) is None


@given(
    st.from_regex(
        r"[A-Za-z0-9][\w.-]{0,9}/[\w.-]{1,9}(@[a-z0-9]{1,5})?(:[A-Z0-9_]{1,6})?", fullmatch=True
    )
)
def test_a_name_reads_as_it_is_written(text: str) -> None:
    assert str(parse(text)) == text


def test_one_form_of_the_weights() -> None:
    described = {"config.json", "tokenizer.model", "merges.txt", "chat_template.jinja", "LICENSE"}
    noise = {"a.png", "onnx/model.onnx", "onnx/config.json", ".gitattributes", "x.msgpack"}
    index = {"model.safetensors.index.json", "pytorch_model.bin.index.json"}
    shards = {f"model-{n}-of-2.safetensors" for n in "12"}
    bins = {"pytorch_model-1.bin", "pytorch_model-2.bin"}
    assert chosen(None, *described, *noise, *index, *shards, *bins, "m.Q4_0.gguf") == (
        described | shards | {"model.safetensors.index.json"}
    )
    assert chosen(None, *described, *bins) == described | bins


def test_weights_of_the_authors_own_form_only_where_there_are_no_others() -> None:
    both = chosen(None, "consolidated.safetensors", "model.safetensors", "config.json")
    assert both == {"model.safetensors", "config.json"}
    alone = chosen(None, "consolidated.safetensors", "params.json", "tekken.json")
    assert alone == {"consolidated.safetensors", "params.json", "tekken.json"}


def test_all_parts_of_a_gguf_model() -> None:
    parts = [f"Q8_0/m-Q8_0-0000{n}-of-00002.gguf" for n in (1, 2)]
    paths = [*parts, "m-Q4_K_M.gguf", "mmproj-F16.gguf"]
    assert chosen("q8_0", *paths) == set(parts)
    assert chosen("m-Q8_0.gguf", *paths) == set(parts)
    assert chosen(parts[1], *paths) == set(parts)
    assert chosen("Q4_K_M", *paths) == {"m-Q4_K_M.gguf"}


def test_a_quantization_is_a_whole_word() -> None:
    paths = ["m-Q4_K_M.gguf", "m-Q4_K_S.gguf", "m-IQ4_XS.gguf", "m-UD-Q4_K_XL.gguf"]
    with pytest.raises(UsageError, match="no GGUF file or quantization 'Q4_K'"):
        chosen("Q4_K", *paths)
    assert chosen("UD-Q4_K_XL", *paths) == {"m-UD-Q4_K_XL.gguf"}
    assert chosen("iq4_xs", *paths) == {"m-IQ4_XS.gguf"}


def test_what_is_not_clear_is_asked_for() -> None:
    with pytest.raises(UsageError, match=r"several GGUF files.*\n.*a\.gguf \(1\.0 GiB\)"):
        chosen(None, "a.gguf", "b.gguf")
    with pytest.raises(UsageError, match="several of its files are Q4_0"):
        chosen("Q4_0", "a-Q4_0.gguf", "b-Q4_0.gguf")
    with pytest.raises(UsageError, match="no weights"):
        chosen(None, "README.md", "config.json")
    with pytest.raises(UsageError, match="no GGUF file at all"):
        chosen("Q4_0", "model.safetensors")
    assert chosen(None, "a.gguf", "mmproj-a.gguf", "README.md") == {"a.gguf", "README.md"}


@given(
    st.lists(
        st.sampled_from(["a.gguf", "b-00001-of-00002.gguf", "b-00002-of-00002.gguf", "c/d.gguf"]),
        unique=True,
    )
)
def test_every_gguf_file_belongs_to_one_model(paths: list[str]) -> None:
    grouped = [file.path for parts in variants(listed(*paths)).values() for file in parts]
    assert sorted(grouped) == sorted(paths)
