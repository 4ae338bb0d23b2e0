"""Which variables of the environment are secrets, and where their values are found.

pytest tests/unit/run/test_secret_values.py
"""

from __future__ import annotations

from base64 import b64encode

import pytest

from tinyworlds_gate.run import secret_values
from tinyworlds_gate.run.secret_values import value_spans

R16, R24 = "a1b2c3d4e5f6g7h8", "aA0bB1cC2dD3eE4fF5gG6hH7"


def hidden(environment: dict[str, str], text: str, monkeypatch: pytest.MonkeyPatch) -> str:
    pairs = frozenset((name.encode(), value.encode()) for name, value in environment.items())
    monkeypatch.setattr(secret_values, "environment_now", lambda: pairs)
    at, parts = 0, ""
    for start, end in sorted(value_spans(text)):
        if start >= at:
            parts, at = parts + text[at:start] + "#", end
    return parts + text[at:]


@pytest.mark.parametrize(
    ("name", "value", "is_secret"),
    [
        ("API_KEY", "hunter2", True),
        ("API_KEY", "hunt2", False),
        ("API_KEY", "hunte2", True),
        ("API_KEY", "hunter", False),
        ("API_KEY", "Hunter", False),
        ("API_KEY", "HUNTER", False),
        ("API_KEY", "huNTer", True),
        ("API_KEY", "hunterhunter", True),
        ("API_KEY", "hunterhunte", False),
        ("API_KEY", "12345678", False),
        ("API_KEY", "123456789", True),
        ("API_KEY", "Disabled", False),
        ("API_KEY", "dynamics", False),
        ("API_KEY", "video_tokenizer", False),
        ("DB_PASS", "hunter2", True),
        ("MY_DSN", "hunter2", True),
        ("COMPASS", "hunter2", False),
        ("PWD", "hunter2", False),
        ("INIT_CWD", "hunter2", False),
        ("WANDB_KEY", R16, True),
        ("MY_KEY", R16, True),
        ("MY_KEY", R16[:-1], False),
        ("CACHE_KEY", R16, False),
        ("ANY", R24, True),
        ("ANY", R24[:-1], False),
        ("ANY", "a1b2c3d4" * 4, False),
        ("API_KEY", "/run/agent/sock", False),
        ("API_KEY", "~/agent/sock", False),
        ("API_KEY", "./agent/sock", False),
        ("API_KEY", "/hunter2xx", True),
        ("API_KEY", "/dev/null", False),
        ("API_KEY", f"/{R24}/{R24}", True),
        ("API_KEY", "  hunter2  ", True),
        ("ANY", "x token=hunter2 y", True),
        ("API_KEY", "a1" * 32 * 1024, True),
        ("API_KEY", "a1" * 32 * 1024 + "b", False),
    ],
)
def test_a_variable_is_secret_by_its_name_and_value(
    name: str, value: str, is_secret: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = "hunter2" if "token=" in value else value.strip()
    assert hidden({name: value}, f"x {inner} y", monkeypatch) == ("x # y" if is_secret else f"x {inner} y")


@pytest.mark.parametrize(
    ("value", "text", "shown"),
    [
        ("hunter2", "hunter2 xhunter2 hunter2x hunter2_ (hunter2)", "# xhunter2 hunter2x hunter2_ (#)"),
        ("hunter2hunter2", "xhunter2hunter2y", "x#y"),
        ("hunter2hunt", "xhunter2hunty", "xhunter2hunty"),
        ("hunterhunter", "xhunterhuntery hunterhunter", "xhunterhuntery #"),
        ("123456789012", "x1234567890123 123456789012", "x1234567890123 #"),
        ("Hunterhunter", "xHunterhuntery", "x#y"),
        ("hunter2", "hunter2hunter2 hunter2,hunter2", "hunter2hunter2 #,#"),
    ],
)
def test_a_short_or_plain_value_is_removed_as_a_whole_word_only(
    value: str, text: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hidden({"API_KEY": value}, text, monkeypatch) == shown


def test_a_file_of_the_root_is_a_path_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for exists, shown in ((True, "/hunter2xx"), (False, "#")):
        monkeypatch.setattr(secret_values.os.path, "exists", lambda path, exists=exists: exists)
        assert hidden({"API_KEY": "/hunter2xx"}, "/hunter2xx", monkeypatch) == shown
        secret_values._needles.cache_clear()


def test_lines_of_a_value_are_secrets_from_16_characters_on(monkeypatch: pytest.MonkeyPatch) -> None:
    value = f"{R16}\n{R16[:-1]}\n-----{R16}-----"
    text = f"{R16} {R16[:-1]} -----{R16}-----"
    assert hidden({"API_KEY": value}, text, monkeypatch) == f"# {R16[:-1]} -----#-----"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a b&c<d'e\"", "a b&amp;c&lt;d&#x27;e&quot;"),
        ("a b&c<d'e\"", "a b&amp;c&lt;d'e\""),
        ("a b/c=d", "a%20b%2Fc%3Dd"),
        ("a b/c=d", "a%20b%2fc%3dd"),
        ("a b/c=d", "a%20b/c%3Dd"),
        ("a b/c=d", "a+b%2Fc%3Dd"),
        ("hunter2x", "68756e7465723278"),
        ("HUNTER2é", "48554e54455232c3a9"),
        ("HUNTER2é", "48554E54455232C3A9"),
        ("hunter2x", "aHVudGVyMn"),
        ("ab\ncd12", "ab\\ncd12"),
        ("ab\ncd12", "ab cd12"),
        ("a'b12cd", "a'\"'\"'b12cd"),
        ('a"b12cd', 'a\\\\\\"b12cd'),
        ("ab\x1b12cd", "ab\\x1b12cd"),
        ('é"b12cd', 'é\\"b12cd'),
    ],
)
def test_a_value_is_found_in_other_ways_to_write_it(value: str, written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "#" in hidden({"API_KEY": value}, f"x {written} y", monkeypatch)


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_a_value_behind_other_bytes_is_found_in_base64(shift: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = b64encode(b"u" * shift + b"hunter2xyzabc").decode().rstrip("=")
    start, end = (0, 2, 3)[shift], (13 + shift) * 8 // 6
    assert hidden({"API_KEY": "hunter2xyzabc"}, text, monkeypatch) == f"{text[:start]}#{text[end:]}"


def test_a_value_of_seven_bytes_has_no_form_in_hexadecimal(monkeypatch: pytest.MonkeyPatch) -> None:
    written = b"hunter2".hex()
    assert hidden({"API_KEY": "hunter2"}, f"x {written} y", monkeypatch) == f"x {written} y"
