"""Secrets never reach a report; names that only look like secrets stay.

pytest tests/unit/run/test_redact.py
"""

from __future__ import annotations

import pytest

from tinyworlds_gate.run.redact import REDACTED, redact, redact_command

SECRET = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    "text",
    [
        f"WANDB_API_KEY={SECRET} python x.py",
        f"python x.py --api-key {SECRET}",
        f"python x.py --api_key={SECRET}",
        f"python x.py --api-key '{SECRET}'",
        f"wandb_key={SECRET}",
        f"token: {SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"git clone https://user:{SECRET}@host/x",
        f"HF_TOKEN=hf_{SECRET}",
        f"login hf_{SECRET}",
        f"db.password={SECRET}",
        f"Authorization=Basic {SECRET}",
        f"curl -H 'X: basic {SECRET}'",
        f"apiKey={SECRET}",
        f"wandbKeys={SECRET}",
        f"--auth {SECRET}",
    ],
)
def test_a_secret_is_hidden(text: str) -> None:
    hidden = redact(text)
    assert SECRET not in hidden
    assert REDACTED in hidden


@pytest.mark.parametrize(
    "start", ["hf_", "sk-", "sk-proj-", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "wandb_v1_"]
)
def test_a_key_of_a_known_shape_is_hidden_without_any_name(start: str) -> None:
    assert redact(f"got {start}{SECRET}, gave up") == f"got {REDACTED}, gave up"


@pytest.mark.parametrize(
    "name",
    [
        *("api_key", "apiKey", "apikey", "access-key", "ACCESSKEY", "private_key", "MY_SECRET_KEY", "hf.token"),
        *("passwd", "pwd", "password", "credential", "credentials", "auth", "authorization"),
    ],
)
def test_a_short_value_of_a_secret_name_is_hidden(name: str) -> None:
    assert redact(f"{name}=ab12 x") == f"{name}={REDACTED} x"


def test_an_access_key_id_of_aws_is_hidden_without_any_name() -> None:
    assert redact(f"got {'AKIA' + 'Q' * 16} here") == f"got {REDACTED} here"


@pytest.mark.parametrize(
    "text",
    [
        "python scripts/train_video_tokenizer.py --config configs/training.yaml num_tokens=64",
        "video_tokenizer_path=results/a/video_tokenizer/checkpoints/video_tokenizer_step_9",
        f"commit {SECRET}",
        f"sha256={SECRET}",
        "learning_rate=0.0005 key=up",
        "--key-interval 5",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_a_command_is_quoted_and_its_secret_words_are_hidden() -> None:
    shown = redact_command(["python", "x y.py", "--token", "short", f"api_key={SECRET}", "--secret", "--next"])
    assert shown == f"python 'x y.py' --token '{REDACTED}' 'api_key={REDACTED}' --secret --next"
    assert redact_command(["x", "--token=short", "train.py"]) == f"x '--token={REDACTED}' train.py"
