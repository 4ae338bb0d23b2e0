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
    ],
)
def test_a_secret_is_hidden(text: str) -> None:
    hidden = redact(text)
    assert SECRET not in hidden
    assert REDACTED in hidden


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
