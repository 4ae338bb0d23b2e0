"""What a child printed reaches no sentence with its secrets, and a strange log is read in linear time.

pytest tests/unit/launch/test_secrets_of_children.py
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.helpers.made_up_secrets import draw, hex_digits, pem_lines, planted
from tinyworlds_gate.launch.cause import cause_of, first_to_fail, read_error_file, worker_ends
from tinyworlds_gate.launch.child import log_tail
from tinyworlds_gate.launch.failure_text import shown_error
from tinyworlds_gate.launch.raised import raised_in


def test_the_end_of_a_log_has_no_planted_secret(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for name, text, secrets in planted():
        log.write_text(f"Traceback (most recent call last):\n{text}\nRuntimeError: {text}\n", encoding="utf-8")
        shown = "\n".join(log_tail(log, lines=None))
        assert not any(secret in shown for secret in secrets), name
        for sentence in (shown_error(shown) or "", *(one.sentence() for one in raised_in(shown))):
            assert not any(secret in sentence for secret in secrets), name


def test_an_exception_that_prints_its_environment_shows_no_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("WANDB_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "DATABASE_URL", "GH_PAT", "SMTP_PASS", "MY_KEY")
    values = {name: draw(40) for name in names} | {"DATABASE_URL": f"postgres://u:{draw(20)}@db/x"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    printed = [f"RuntimeError: {values}", *values.values(), str(list(values.values()))]
    (tmp_path / "log").write_text("\n".join(printed))
    shown = "\n".join(log_tail(tmp_path / "log"))
    assert [name for name, value in values.items() if value in shown or value[-24:-8] in shown] == []


@pytest.mark.parametrize("end", ["\n", ""])
def test_a_secret_that_is_cut_at_the_start_of_the_tail_is_left_out(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = draw(60)
    monkeypatch.setenv("SOME_TOKEN", key)
    (tmp_path / "log").write_text("x" * 100 + key + ("y" * (256 * 1024 - 30 - len(end)) + end))
    assert key[-28:] not in "\n".join(log_tail(tmp_path / "log"))


def test_a_key_over_several_lines_of_a_log_is_removed(tmp_path: Path) -> None:
    lines = pem_lines()
    edge = "-" * 5
    text = "\n".join([f"{edge}BEGIN RSA PRIVATE KEY{edge}", *lines, f"{edge}END RSA PRIVATE KEY{edge}"])
    (tmp_path / "log").write_text(f"loaded\n{text}\nRuntimeError: no\n")
    assert log_tail(tmp_path / "log") == ["loaded", "[redacted]", "RuntimeError: no"]


def test_the_error_file_of_torchrun_is_redacted_after_it_was_parsed(tmp_path: Path) -> None:
    key = draw(30)
    message = {"message": f"RuntimeError: token='{key}'", "extraInfo": {"py_callstack": f"api_key = '{key}'"}}
    (tmp_path / "error.json").write_text(json.dumps({"message": message}))
    assert read_error_file(tmp_path / "error.json") == "RuntimeError: token='[redacted]'\napi_key = '[redacted]'"


@pytest.mark.parametrize("content", ["[" * 100_000, '{"message": ' * 50_000, "no JSON", "\0", '{"message": 1e999}'])
def test_an_error_file_that_is_no_json_is_read_as_text(content: str, tmp_path: Path) -> None:
    (tmp_path / "error.json").write_text(content)
    assert isinstance(read_error_file(tmp_path / "error.json"), str)


STRANGE = {
    "hexadecimal": hex_digits(256 * 1024),
    "blank lines": "\n" * (256 * 1024),
    "spaces": " " * (256 * 1024),
    "dots": "a." * (128 * 1024),
    "enforce": "RuntimeError: [enforce fail at " + "] " * (128 * 1024),
    "rank lines": "rank: 1\n" * (32 * 1024),
    "brackets": "[" * (256 * 1024),
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_strange_log_is_read_in_a_moment(name: str, tmp_path: Path) -> None:
    """Patterns that go back to each earlier place needed minutes for these."""
    (tmp_path / "log").write_text(STRANGE[name])
    began = time.process_time()
    text = "\n".join(log_tail(tmp_path / "log", lines=None))
    shown_error(text)
    raised_in(text)
    cause_of(exit_code=1, signal_name=None, error_file=text, log_text=text, oom_kills=0)
    worker_ends(text)
    first_to_fail(text)
    assert time.process_time() - began < 10
