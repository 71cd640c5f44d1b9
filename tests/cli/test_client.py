"""Finding the Roundhouse that is meant, and talking to it."""

from __future__ import annotations

import re
import socket
from dataclasses import replace

import pytest

from cli.client import Client, find
from common.errors import NotAnsweringError, StartError, UsageError
from common.instance import Instance
from tests.cli.conftest import instance_on


def test_none_runs() -> None:
    with pytest.raises(StartError, match="no Roundhouse runs; start one with `roundhouse serve`"):
        find(None)
    with pytest.raises(StartError, match="no Roundhouse runs on port 8000; start one"):
        find(8000)


def test_the_only_one_needs_no_port() -> None:
    only = instance_on(7001)
    only.save()
    assert find(None) == only
    assert find(7001) == only
    with pytest.raises(StartError, match="no Roundhouse runs on port 7002"):
        find(7002)


def test_of_several_one_is_chosen_by_port() -> None:
    first, second = instance_on(7002), instance_on(7001)
    first.save()
    second.save()
    assert find(7002) == first
    with pytest.raises(UsageError) as refused:
        find(None)
    assert refused.value.message == "several run, on ports 7001, 7002: choose one with --port"
    assert refused.value.exit_code == 2


def test_its_token_lets_it_in(instance: Instance) -> None:
    client = Client(instance)
    assert [row["id"] for row in client.replicas()["replicas"]] == ["m-0", "m-1", "owner/model-0"]
    assert [model["id"] for model in client.models()] == ["m", "gpt-4o-mini", "owner/model"]


def test_another_token_does_not(instance: Instance) -> None:
    with pytest.raises(NotAnsweringError, match=r"/v1/models answers HTTP 401$"):
        Client(replace(instance, token="of another start")).models()


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(NotAnsweringError, match=re.escape(f"http://127.0.0.1:{port} does not ans")):
        Client(instance_on(port)).replicas()
