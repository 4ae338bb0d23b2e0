"""Shapes of keys at their limits: random values, URLs, private keys, options of programs.

pytest tests/unit/run/test_secret_shapes.py
"""

from __future__ import annotations

import pytest

from tinyworlds_gate.run.secret_shapes import is_random, is_scrambled, shape_spans


def hidden(text: str) -> str:
    """Return the text with its secrets replaced; those that overlap are one."""
    parts, at = "", 0
    for start, end in sorted(shape_spans(text)):
        if start >= at:
            parts, at = parts + text[at:start] + "#", end
        at = max(at, end)
    return parts + text[at:]


@pytest.mark.parametrize(
    ("value", "shortest", "random"),
    [
        ("a1" * 8, 16, True),
        ("a1" * 7 + "a", 16, False),
        ("a1a1", 4, True),
        ("aa" * 8, 16, False),
        ("11" * 8, 16, False),
        ("1.5e-3+1.5e-3+1.5", 16, False),
        ("a1 " * 6, 16, False),
        ("a1b2c3/dir/a1b2c3", 16, False),
        ("abcd/a1b2c3d4e5f6", 16, False),
        ("abc/a1b2c3d4e5f6g", 16, True),
        (".a1b2c3d4e5f6g7h8", 16, False),
        ("~a1b2c3d4e5f6g7h8", 16, False),
        ("a1b2" * 100 + "/dir", 16, True),
        ("a1b2" * 99 + "/dir", 16, False),
    ],
)
def test_a_random_value_is_long_and_of_letters_and_digits(value: str, shortest: int, random: bool) -> None:
    assert is_random(value, shortest) is random
    assert is_random("a1" * 8)
    assert not is_random("a1" * 7)


@pytest.mark.parametrize(
    ("value", "scrambled"),
    [
        ("aA0", True),
        ("aA", False),
        ("a0", False),
        ("A0", False),
        ("", False),
        ("aA0" + "+" * 3, True),
        ("aaAA00a", True),  # 3 changes of 7
        ("aaaAAA000a", False),  # 3 changes of 10
        ("aaAAA00aa", False),  # 3 changes of 9, below 0.34
        ("aA0" * 85 + "a" + "x" * 500, True),
        ("aA" * 127 + "a0", True),
        ("aA" * 128 + "0", False),
        ("a" * 256 + "aA0" * 300, False),
    ],
)
def test_kinds_of_characters_alternate_in_a_scrambled_value(value: str, scrambled: bool) -> None:
    assert is_scrambled(value) is scrambled


D = "a1B2c3D4e5F6g7H8"
PEM, END = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"
LINE, TAIL = "MIIEvQIBADANBgkqhkiG9w0BAQ", "ab12=="


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        *(
            (f"x {key} y", "x # y")
            for key in (f"hf_{D}", f"sk-{D}", "AKIA" + "Q" * 16, f"1234567890:AA{D}{D}", f"npm_{D}{D}")
        ),
        *((f"x {text} y", f"x {text} y") for text in ("sk-" + "learn-" * 4, f"xhf_{D}", "hf_short", "AKIA" + "Q" * 17)),
        # Logins of URLs.
        ("http://user:pw@host/x", "http://#@host/x"),
        ("http://key@host", "http://#@host"),
        ("git+ssh://git@host/x", "git+ssh://git@host/x"),
        ("ssh://hg@host", "ssh://hg@host"),
        ("http://host/x?a=b@c", "http://host/x?a=b@c"),
        ("http://host:8080/a@b", "http://host:8080/a@b"),
        ("http://user:p/w@host", "http://#@host"),
        ("http:\\/\\/user:pw@host", "http:\\/\\/#@host"),
        ("http%3A%2F%2Fuser%3Apw%40host", "http%3A%2F%2F#%40host"),
        ("http%3a%2f%2fuser%3apw%40host", "http%3a%2f%2f#%40host"),
        ("http%3A%2F%2Fuser%40host", "http%3A%2F%2Fuser%40host"),
        ("http://" + "a" * 700 + " b@c", "http://" + "a" * 700 + " b@c"),
        ("see http://host and x@y.de", "see http://host and x@y.de"),
        ("jdbc:oracle:thin:scott/tiger@db", "jdbc:oracle:thin:#@db"),
        ("me:hunter22@host.example", "me:#@host.example"),
        ("note:required@host.example", "note:required@host.example"),
        # Schemes, hashes, lines of files.
        (f"Bearer {D}", "Bearer #"),
        ("basic training", "basic training"),
        (f"$2b${D}", "#"),
        ("machine h login me password ab12", "machine h login me password #"),
        ("  password ab12  \nx", "  password #  \nx"),
        ("https://hooks.slack.com/services/T1/B2/xyz", "https://hooks.slack.com/services/#"),
        ("identified by 'ab12'", "identified by '#'"),
        ("db.host:5432:name:me:ab12", "db.host:5432:name:me:#"),
        (f"wandb login {'ab12' * 10}", "wandb login #"),
        (f"wandb: commit {'ab12' * 10} login", f"wandb: commit {'ab12' * 10} login"),
        (f"aws {'aA0b' * 10}", "aws #"),
        (f"aws {'abcd' * 10}", f"aws {'abcd' * 10}"),
        # Options that mean a password in some programs only.
        ("mysql -psecret db", "mysql -p# db"),
        (f"mysql -p{'1' * 100}x", f"mysql -p{'1' * 100}x"),
        ("sshpass -p 'a b' ssh", "sshpass -p '#' ssh"),
        ("docker run -p 80:80/tcp", "docker run -p 80:80/tcp"),
        ("docker login -p 8080", "docker login -p 8080"),
        ("docker login -p ab12 host", "docker login -p # host"),
        ("curl -u me:ab12 host", "curl -u # host"),
        ("curl -u me host", "curl -u me host"),
        ("wandb login ab12cd34", "wandb login #"),
        ("wandb login offline", "wandb login offline"),
        *(
            (f"{first}; mysql -pab12", f"{first}; mysql -p#")
            for first in ("curl -u me h", "wandb login on", "mysql -p 80:80 ")
        ),
        ("configure set my.token ab12", "configure set my.token #"),
        ("redis-cli -a ab12", "redis-cli -a #"),
        ("python -p ab12", "python -p ab12"),
        # Private keys: whole, cut at the end, cut at the beginning.
        (f"a\n{PEM}\n{LINE}\n{TAIL}\n{END}\nb", "a\n#\nb"),
        (f"a\\n{PEM}\\n{LINE}\\n{END}\\nb", "a\\n#\\nb"),
        (f"a\n{PEM}\n{LINE}\n{TAIL} x\nb: 1", "a\n#x\nb: 1"),
        (f"a\n{PEM}\n{LINE}\n\n{LINE}\nno key: 1", "a\n#no key: 1"),
        (f"a\n{PEM}\n{LINE}", "a\n#"),
        (f"a: 1\n{LINE}\n{TAIL}\n{END} b", "a: 1\n# b"),
        (f"a: 1\n{TAIL}\n{LINE}\n{END} b", f"a: 1\n{TAIL}\n# b"),
        (f"{LINE}\n{END}", "#"),
        (f"a: 1\n{LINE}\n{TAIL}\n  {END} b", "a: 1\n# b"),
        (f"Private-Lines: 1\n{LINE}\nx", "Private-Lines: 1#\nx"),
        (f"{PEM}\n{LINE}\n{PEM}\n{LINE}\n{END} b", "## b"),
        (f"{PEM}\n{LINE}\n{END} b\n{LINE}\n{END} c", "# b\n# c"),
        ("-----BEGIN PUBLIC KEY-----\n" + LINE, "-----BEGIN PUBLIC KEY-----\n" + LINE),
    ],
)
def test_a_shape_is_removed_and_what_only_resembles_it_stays(text: str, shown: str) -> None:
    assert hidden(text) == shown


def test_a_key_has_at_most_32_kib() -> None:
    body = "\n" + ("A" * 63 + "\n") * 511 + "A" * 62 + "\n"
    assert len(body) == 32 * 1024
    assert hidden(f"{PEM}{body}{END} b") == "# b"
    assert hidden(f"{PEM}{body[:-1]}A\n{END} b") != "# b"


def test_a_key_of_more_than_32_kib_is_two_that_are_cut() -> None:
    def middle(size: int) -> str:
        return (LINE + "\n") * (size // len(LINE + "\n"))

    near, far = middle(31 * 1024), middle(34 * 1024)
    assert hidden(f"{PEM}\n{near}{END} b") == "# b"
    shown = hidden(f"{PEM}\n{far}{END} b")
    assert shown.startswith("#")
    assert shown.endswith("# b")
    assert 1024 < len(shown) < 4096
