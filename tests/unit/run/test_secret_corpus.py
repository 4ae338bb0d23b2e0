"""No planted secret of the corpus is left, and no harmless text is changed.

pytest tests/unit/run/test_secret_corpus.py
"""

from __future__ import annotations

import base64
import html
import json
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from pydantic import BaseModel

from tests.helpers.made_up_secrets import draw, harmless, hex_digits, pem_lines, planted
from tinyworlds_gate.config.profile import ProfileConfig
from tinyworlds_gate.config.schema import STAGE_SCHEMAS, InferenceConfig, TrainingConfig
from tinyworlds_gate.config.yaml_io import field_paths
from tinyworlds_gate.run.redact import REDACTED, redact, redact_command, redact_tree
from tinyworlds_gate.run.secret_names import secret_kind

PLANTED = list(planted())


def test_every_planted_secret_is_removed_from_its_text() -> None:
    left = [(name, text) for name, text, secrets in PLANTED if any(secret in redact(text) for secret in secrets)]
    assert len(PLANTED) > 400
    assert left == []


def test_a_secret_in_the_middle_of_a_log_is_removed_and_the_lines_around_it_stay() -> None:
    for name, text, secrets in PLANTED:
        shown = redact(f"step 12: loss 0.25\n{text}\ncommit {'ab12' * 10}\n")
        assert not any(secret in shown for secret in secrets), name
        assert shown.startswith("step 12: loss 0.25\n"), name


def test_redacting_twice_changes_nothing_more() -> None:
    for name, text, _ in PLANTED:
        assert redact(redact(text)) == redact(text), name


@pytest.mark.parametrize("text", list(harmless()))
def test_a_harmless_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_no_setting_of_a_profile_has_the_name_of_a_secret() -> None:
    models: tuple[type[BaseModel], ...] = (*STAGE_SCHEMAS.values(), InferenceConfig, TrainingConfig, ProfileConfig)
    names = [name for model in models for name in field_paths(model)]
    assert [name for name in names if secret_kind(name)] == []


@pytest.mark.parametrize(
    "name",
    [
        *("WANDB_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "GH_PAT", "SMTP_PASS", "MY_SECRET"),
        *("AZURE_STORAGE_CONNECTION_STRING", "SSH_PRIVATE_KEY", "REDISCLI_AUTH", "KAGGLE_KEY"),
    ],
)
@pytest.mark.parametrize(
    "write",
    [
        str,
        repr,
        json.dumps,
        quote,
        quote_plus,
        html.escape,
        lambda value: quote(value, safe=""),
        lambda value: json.dumps(json.dumps(value)),
        lambda value: base64.b64encode(value.encode()).decode(),
        lambda value: base64.b64encode(f"user:{value}".encode()).decode(),
        lambda value: base64.urlsafe_b64encode(f"me:{value}".encode()).decode(),
        lambda value: value.encode().hex(),
        lambda value: f"x{value}y",
    ],
)
def test_a_value_of_the_environment_is_removed_without_its_name(
    name: str, write: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    value = f"{draw(9)}/+é'\"&\\{draw(11)}"
    monkeypatch.setenv(name, value)
    written = write(value)
    shown = redact(f"line: {written} end")
    assert written.strip("\"'=")[4:-4] not in shown
    assert value not in shown


def test_a_value_is_removed_for_its_shape_whatever_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    password, key = draw(14), draw(40)
    monkeypatch.setenv("WHERE_THE_ROWS_ARE", f"postgres://user:{password}@db/x")
    monkeypatch.setenv("SOMETHING", key)
    assert redact(f"cannot log in with {password} and {key}") == f"cannot log in with {REDACTED} and {REDACTED}"


def test_a_key_of_several_lines_is_removed_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = pem_lines()
    monkeypatch.setenv("DEPLOY_KEY", "\n".join(["-----BEGIN " + "PRIVATE KEY-----", *lines]))
    assert lines[3] not in redact(f"[rank1]: {lines[3]}")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("PASSWORD", "smoke", "the smoke profile"),
        ("SECRET", "dynamics", "the stage dynamics"),
        ("TOKEN", "video_tokenizer", "video_tokenizer: chunk 3"),
        ("AUTH_TOKEN", "1", "chunk 1 of 10"),
        ("API_KEY", "200", "update 200 of 1200"),
        ("PWD", "/folder/a/project", "/folder/a/project/results"),
        ("SSH_AUTH_SOCK", "/run/user/1000/agent", "/run/user/1000/agent"),
        ("XAUTHORITY", "/folder/a/.Xauthority", "/folder/a/.Xauthority"),
        ("GITHUB_SHA", "ab12" * 10, f"commit {'ab12' * 10}"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/etc/keys/gate.json", "no file /etc/keys/gate.json"),
    ],
)
def test_an_ordinary_value_of_the_environment_stays(
    name: str, value: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert redact(text) == text


def test_a_short_password_is_removed_as_a_word_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    assert redact("hunter2 was refused; xhunter23 stays") == f"{REDACTED} was refused; xhunter23 stays"


def test_secrets_of_nested_data_are_removed_with_their_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    key = draw(30)
    monkeypatch.setenv("MY_TOKEN", key)
    shown = redact_tree(
        {"a": [f"x {key}", {"password": "short", "num_tokens": "64"}], key: 3, "command": ["x", "--token", "abc"]}
    )
    assert key not in json.dumps(shown)
    assert shown["a"][1] == {"password": REDACTED, "num_tokens": "64"}
    assert shown["command"] == ["x", "--token", REDACTED]


@pytest.mark.parametrize("before", [["curl", "-u"], ["docker", "login", "-p"], ["sshpass", "-p"], ["wandb", "login"]])
def test_an_argument_is_removed_where_its_program_takes_a_password(before: list[str]) -> None:
    key = f"user:{draw(20)}" if before[0] == "curl" else draw(20)
    assert key.rpartition(":")[2] not in redact_command([*before, key, "host"])


ADVERSARIAL = (
    *(
        "a",
        "=",
        "a=",
        "token=",
        "token: ",
        "token=f(",
        "token='",
        "://",
        "://a:b@",
        "a@",
        "-",
        "--a ",
        "\\",
        "\\n",
        "\n",
    ),
    *("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "wandb login ", "aws ", "mysql -", "docker login "),
    *(
        "eyJ-",
        "sk-",
        "SG.aaaaaaaaaaaaaaaaa",
        " ",
        "token=['a',",
        "A_TOKEN ",
        "%3A%2F%2F%40",
        "QUJDREVGR0hJSktM\n",
        "$2b$",
    ),
    *("a:1234:b:", "token: |\n  a\n", "password a ", "'A_TOKEN', ", '{"token": "', "token=&", "password: ", "<token>"),
)


@pytest.mark.parametrize("unit", ADVERSARIAL)
def test_the_time_grows_with_the_length_of_a_line(unit: str) -> None:
    def best(length: int) -> float:
        text = (unit * (length // len(unit) + 1))[:length]
        taken = []
        for _ in range(3):
            began = time.process_time()
            redact(text)
            taken.append(time.process_time() - began)
        return min(taken)

    short = best(4096)
    assert best(4 * 4096) < 8 * short + 0.005


@pytest.mark.parametrize("line", [hex_digits(256 * 1024), "x" * 2**20, "A" * 2**20 + "=" + "b" * 10])
def test_a_very_long_line_is_read_at_once(line: str) -> None:
    """A quadratic search would need minutes, where this needs a part of a second."""
    began = time.process_time()
    assert redact(line) == line
    assert time.process_time() - began < 20
