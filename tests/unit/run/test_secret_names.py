"""Names of secrets, and names that only contain such a word. ``pytest tests/unit/run/test_secret_names.py``"""

from __future__ import annotations

import pytest

from tinyworlds_gate.run.secret_names import STRONG, WEAK, is_header, may_name_long_secret, secret_kind


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (STRONG, "password PASSWORD dbPassword PGPASSWORD my_secret secret1 secret_a a.secret"),
        (WEAK, "token authtoken MY_TOKEN_2 apiKey api_key db_pass GH_PAT db.pw session_id creds token_abc path_token"),
        (
            None,
            "pass one_pass pat pw num_tokens token_choice pad_token next_token key name token_path password_file "
            "test.token.name a_key string passwords.db x.token.y",
        ),
    ],
)
def test_a_name_is_strong_weak_or_none(kind: str | None, names: str) -> None:
    assert {name: secret_kind(name) for name in names.split()} == dict.fromkeys(names.split(), kind)


def test_only_the_part_behind_the_last_dot_is_the_name() -> None:
    assert secret_kind("password.file") is None
    assert secret_kind("token.value") is None
    assert secret_kind("a.token") == WEAK


@pytest.mark.parametrize("words", [9, 10])
def test_a_name_of_more_than_nine_words_is_a_sentence(words: int) -> None:
    name = "_".join(["a"] * (words - 1) + ["token"])
    assert secret_kind(name) == (WEAK if words == 9 else None)


def test_of_a_long_name_only_the_end_counts() -> None:
    assert secret_kind("x" * 500 + "secret") == STRONG
    assert secret_kind("secret_" + "x" * 193) == STRONG
    assert secret_kind("secret_" + "x" * 194) is None
    assert may_name_long_secret("key" + "x" * 200) is False


@pytest.mark.parametrize(
    ("name", "long"),
    [
        *(("key", True), ("wandb_key", True), ("my_keys", True), ("sig", True), ("otp2", True), ("", False)),
        *(("cache_key", False), ("group_keys", False), ("cache_sig", True), ("keyboard", False), ("___", False)),
        *(("key_a", False), ("sortKey", False), ("myKey", True)),
    ],
)
def test_a_name_that_ends_as_key_may_name_a_long_secret(name: str, long: bool) -> None:
    assert may_name_long_secret(name) is long


@pytest.mark.parametrize(
    ("name", "header"),
    [("Authorization", True), ("--cookie", True), ("a.Set-Cookie", True), ("authorization-x", False), ("token", False)],
)
def test_a_header_is_known_by_its_whole_name(name: str, header: bool) -> None:
    assert is_header(name) is header
