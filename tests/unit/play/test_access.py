"""Which requests the page's server answers: Host, Origin and token.

python -m pytest tests/unit/play/test_access.py
"""

from __future__ import annotations

import socket

import pytest

from tinyworlds_gate.play.access import Access, access_of, is_loopback

LOCAL = Access("127.0.0.1", 8765, None)
OUTSIDE = Access("192.168.3.4", 8765, "secret")
EVERYWHERE = Access("0.0.0.0", 8765, "secret")


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "LOCALHOST:8765", "[::1]:8765"])
def test_the_names_of_this_machine_are_answered(host: str) -> None:
    assert LOCAL.host_allowed(host)
    assert LOCAL.origin_allowed(f"http://{host}", host)


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example:8765",
        "127.0.0.1.evil.example:8765",
        "localhost.evil.example:8765",
        "evil.example",
        "127.0.0.1",
        "127.0.0.1:8766",
        "127.0.0.1:8765@evil.example",
        "x@127.0.0.1:8765",
        "127.0.0.1:8765/x",
        "127.0.0.1:8765?x",
        "127.0.0.1:99999999",
        "127.0.0.1:x",
        "[::1:8765",
        "192.168.3.4:8765",
        "0.0.0.0:8765",
    ],
)
def test_any_other_name_is_refused(host: str | None) -> None:
    assert not LOCAL.host_allowed(host)
    assert not LOCAL.origin_allowed(f"http://{host}", host)


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "http://evil.example",
        "http://evil.example:8765",
        "https://127.0.0.1:8765",
        "http://127.0.0.1:8766",
        "http://localhost:8765",
        "http://127.0.0.1:8765.evil.example",
    ],
)
def test_only_the_page_itself_is_an_allowed_origin(origin: str | None) -> None:
    assert not LOCAL.origin_allowed(origin, "127.0.0.1:8765")


def test_beyond_this_machine_the_own_address_is_answered_and_a_wildcard_any_address_but_no_foreign_name() -> None:
    assert OUTSIDE.host_allowed("192.168.3.4:8765")
    assert not OUTSIDE.host_allowed("localhost:8765")
    assert not OUTSIDE.host_allowed("192.168.3.5:8765")
    for host in ("192.168.3.4", "127.0.0.1", "[fe80::1]", socket.gethostname()):
        assert EVERYWHERE.host_allowed(f"{host}:8765")
    assert not EVERYWHERE.host_allowed("evil.example:8765")


def test_only_addresses_beyond_this_machine_have_a_token_and_each_server_its_own() -> None:
    assert [access_of(host, 1).token for host in ("127.0.0.1", "127.8.0.1", "::1", "localhost")] == [None] * 4
    tokens = {access_of(host, 1).token for host in ("0.0.0.0", "0.0.0.0", "::", "192.168.3.4", "example.org", "")}
    assert len(tokens) == 6
    assert all(token is not None and len(token) >= 32 for token in tokens)
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("")


def test_a_token_is_needed_where_there_is_one() -> None:
    assert LOCAL.token_allowed(None)
    assert OUTSIDE.token_allowed("secret")
    for wrong in (None, "", "secre", "secrett", "SECRET", "sécret", "\udcff"):
        assert not OUTSIDE.token_allowed(wrong)


def test_the_token_is_in_the_address_and_nowhere_else() -> None:
    assert OUTSIDE.url() == "http://192.168.3.4:8765/?token=secret"
    assert LOCAL.url() == "http://127.0.0.1:8765/"
    assert Access("::1", 80, None).url() == "http://[::1]:80/"
    assert "secret" not in repr(OUTSIDE)
