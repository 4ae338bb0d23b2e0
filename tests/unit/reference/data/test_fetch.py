"""Fetching the ZELDA frames from working and failing hubs on loopback."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.data_files import write_h5
from tests.helpers.data_hub_server import FILE_PATH, Hub, serving
from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.fetch import fetch_zelda
from tinyworlds_gate.reference.data.frames_file import load_frames


@pytest.fixture
def zelda(tmp_path: Path) -> bytes:
    """A complete frames file of noise, as bytes."""
    noise = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), np.uint8)
    return write_h5(tmp_path / "source.h5", frames=noise).read_bytes()


def _left(root: Path) -> list[str]:
    """Return the names in data/ except the lock file."""
    return [file.name for file in (root / "data").iterdir() if not file.name.endswith(".lock")]


def test_the_file_of_the_dataset_repository_arrives_byte_for_byte(tmp_path: Path, zelda: bytes) -> None:
    with serving(Hub(zelda)) as hub:
        path = fetch_zelda(tmp_path, hub.endpoint)
    assert path == tmp_path / "data" / "zelda_frames.h5"
    assert path.read_bytes() == zelda
    assert len(load_frames(path).frames) == 12
    assert _left(tmp_path) == ["zelda_frames.h5"]
    assert {path for _, path, _ in hub.requests} == {FILE_PATH}


def test_the_endpoint_comes_from_the_environment_and_no_token_is_sent(
    tmp_path: Path, zelda: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_not_for_others")
    with serving(Hub(zelda)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        assert fetch_zelda(tmp_path).read_bytes() == zelda
    assert len(hub.requests) >= 2
    assert all("authorization" not in {name.lower() for name in headers} for _, _, headers in hub.requests)


def test_a_connection_that_breaks_once_is_resumed(tmp_path: Path, zelda: bytes) -> None:
    with serving(Hub(zelda, break_first_get_after=20_000)) as hub:
        assert fetch_zelda(tmp_path, hub.endpoint).read_bytes() == zelda
    assert len(hub.gets()) == 2


def test_a_repository_without_the_file_is_one_clear_error(tmp_path: Path) -> None:
    refused = r"AlmondGod/tinyworlds at .* does not exist or is not public"
    with serving(Hub(None)) as hub, pytest.raises(DataError, match=refused):
        fetch_zelda(tmp_path, hub.endpoint)
    assert _left(tmp_path) == []


def test_a_hub_that_refuses_connections_is_one_clear_error(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(
            DataError, match=r"cannot be downloaded \(.*[Cc]onnection refused\); fix: check the network"
        ):
            fetch_zelda(tmp_path, endpoint)
    assert _left(tmp_path) == []


def test_a_short_body_is_refused_and_not_kept(tmp_path: Path, zelda: bytes) -> None:
    with (
        serving(Hub(zelda, send_only=5000)) as hub,
        pytest.raises(DataError, match=r"the download is incomplete .*nothing was kept"),
    ):
        fetch_zelda(tmp_path, hub.endpoint)
    assert _left(tmp_path) == []


@pytest.mark.parametrize("body", [b"<html>log in first</html>", b""])
def test_a_download_that_is_not_a_frames_file_is_removed(tmp_path: Path, body: bytes) -> None:
    with (
        serving(Hub(body)) as hub,
        pytest.raises(DataError, match="it was deleted; fix: run `tinyworlds-gate data fetch"),
    ):
        fetch_zelda(tmp_path, hub.endpoint)
    assert _left(tmp_path) == []


def test_a_file_that_is_there_is_not_fetched_again(tmp_path: Path, zelda: bytes) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "zelda_frames.h5").write_bytes(b"mine")
    with serving(Hub(zelda)) as hub, pytest.raises(DataError, match="exists already and is never overwritten"):
        fetch_zelda(tmp_path, hub.endpoint)
    assert (tmp_path / "data" / "zelda_frames.h5").read_bytes() == b"mine"
    assert hub.requests == []
