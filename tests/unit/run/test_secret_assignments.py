"""Which value behind a secret name is removed, and where it ends.

pytest tests/unit/run/test_secret_assignments.py
"""

from __future__ import annotations

import pytest

from tinyworlds_gate.run.secret_assignments import REDACTED, assignment_spans

KEY24, KEY32 = "a1b2c3d4" * 3, "a1b2c3d4" * 4


def hidden(text: str) -> str:
    """Return the text with the values of secret names replaced."""
    for start, end in sorted(assignment_spans(text), reverse=True):
        text = text[:start] + "#" + text[end:]
    return text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        # A list: what follows a name is its value only behind an option, a variable, or where it looks random.
        ('["token", "learning_rate"]', '["token", "learning_rate"]'),
        ('["--token", "abc"]', '["--token", "#"]'),
        ('["--token", "-v"]', '["--token", "-v"]'),
        ('("PWD", "here")', '("PWD", "here")'),
        ('("AUTH", "ab12")', '("AUTH", "#")'),
        ('("Auth", "next")', '("Auth", "next")'),
        ('("auth", "a1b2c3d4")', '("auth", "#")'),
        ('("auth", "a1b2c3d")', '("auth", "a1b2c3d")'),
        ('("auth" "a1b2c3d4")', '("auth" "a1b2c3d4")'),
        # Only a long value counts for a name that is no secret by itself: shorter in quotes.
        (f"key={KEY24}", f"key={KEY24}"),
        (f'key="{KEY24}"', 'key="#"'),
        (f'key="{KEY24[:-1]}"', f'key="{KEY24[:-1]}"'),
        (f"key={KEY32}", "key=#"),
        (f"key={KEY32[:-1]}", f"key={KEY32[:-1]}"),
        (f'key=["{KEY24}"]', f'key=["{KEY24}"]'),
        # Harmless values of a weak name.
        *((f"token={value}", f"token={value}") for value in ("", "none", "17", "auto", "f(x)", "a.b", "$HOME")),
        *((f'token="{value}"', f'token="{value}"') for value in ("none", "[PAD]", "auto", "a.b")),
        ('token="required"', 'token="#"'),
        ('token="ab12"', 'token="#"'),
        ("token: required", "token: required"),
        ("token=required", "token=#"),
        ("password: required", "password: #"),
        ("password=17", "password=#"),
        ("password=none", "password=none"),
        (f"token={'f(' + 'x' * 197}", f"token={'f(' + 'x' * 197}"),
        (f"token={'f(' + 'x' * 198}", "token=#"),
        (f"token={'y' * 199}", "token=#"),
        (f"token={'*' * 199}", f"token={'*' * 199}"),
        (f"token={'*' * 200}", "token=#"),
        (f"token={REDACTED}", f"token={REDACTED}"),
        # Lists of values, brackets, quotes of several kinds.
        ('api_tokens: ["ab12", "cd34"], other: "x"', 'api_tokens: ["#", "#"], other: "x"'),
        ('token: "ab12", "cd34"', 'token: "#", "cd34"'),
        ('api_tokens: ["", "cd34"]', 'api_tokens: ["", "cd34"]'),
        ("token = '''ab\n12''' x", "token = '''#''' x"),
        ("token = '''ab\n12", "token = '''#"),
        ('token = "ab12', 'token = "#'),
        ('token = "a\\"b12" x', 'token = "#" x'),
        ('{\\"token\\": \\"ab12\\"}', '{\\"token\\": \\"#\\"}'),
        # Blocks of YAML.
        ("token: |\n  ab12\n  cd34\nx: 1", "token: |\n  #\nx: 1"),
        (f"token: |\n  {REDACTED}\nx: 1", f"token: |\n  {REDACTED}\nx: 1"),
        ("token=|\n  ab12\n", "token=#\n  ab12\n"),
        # Whole lines: headers, and a strong name with a space behind the colon.
        ("Authorization: Bearer ab12 cd34", "Authorization: #"),
        ("authorization: the user is known", "authorization: the user is known"),
        ("password: ab12 cd34  \nx", "password: #  \nx"),
        ("password:ab12 cd34", "password:# cd34"),
        ("token: ab12 cd34", "token: # cd34"),
        # The end of a word.
        ("token=ab12), x", "token=#), x"),
        ("token=ab12&next=1", "token=#&next=1"),
        ("password: ab12).", "password: #"),
        ("OLDPWD=/a/b", "OLDPWD=/a/b"),
        ("PWD=~/b", "PWD=~/b"),
        ("pwd=ab12", "pwd=#"),
        # Separators.
        ("<token>ab12</token>", "<token>#>"),
        ("token>ab12", "token>ab12"),
        ("token => 'ab12'", "token => '#'"),
        ("token := ab12", "token := #"),
        ("token::ab12", "token::ab12"),
        ("x\\ntoken=ab12", "x\\ntoken=#"),
        ("x\\n=ab12", "x\\n=ab12"),
        ("ntoken=ab12", "ntoken=#"),
        ("x\\password=ab12", "x\\password=#"),
        # Options with a space, and tables.
        ("--token ab12 x", "--token # x"),
        ("--token 'a b' x", "--token '#' x"),
        ("--token | x", "--token | x"),
        ("--token none", "--token none"),
        ("--token [ab12]", "--token #"),
        ("--token '--password ab12'", "--token '#'"),
        ("--name --token --other", "--name --token --other"),
        (f"MY_TOKEN  {KEY24}", "MY_TOKEN  #"),
        ("MY_TOKEN | a1b2c3d4 |", "MY_TOKEN | # |"),
        ("MY_TOKEN  a1b2c3d", "MY_TOKEN  a1b2c3d"),
        (f"MY_NAME  {KEY24}", f"MY_NAME  {KEY24}"),
        # A value is read once.
        ("password=token=ab12", "password=#"),
        ("password: 'token=ab12'", "password: '#'"),
        ("password: 'token=ab12', token=cd34", "password: '#', token=#"),
        (f'password="{REDACTED}{"x" * 200}"', f'password="{REDACTED}{"x" * 200}"'),
    ],
)
def test_a_value_is_removed_up_to_its_end_and_a_harmless_one_stays(text: str, shown: str) -> None:
    assert hidden(text) == shown
