"""A child's log holds none of its secrets, and all of its other output.

pytest tests/unit/launch/test_redacted_log.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.process_projects import wait_for
from tinyworlds_gate.launch import redacted_log
from tinyworlds_gate.launch.child import ChildResult, run_child
from tinyworlds_gate.launch.redacted_log import RedactedLog, redact_error_file

KEY = "9f8e7d6c5b4a39281706f5e4d3c2b1a098765432"
PASSWORD = "correct-horse\nbattery-staple-77"


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("DB_PASSWORD", PASSWORD)


def run(tmp_path: Path, code: str) -> tuple[ChildResult, str]:
    log = tmp_path / "x.log"
    command = [sys.executable, "-c", f"import os, sys, time\n{code}"]
    result = run_child(command, cwd=tmp_path, env=os.environ, log_path=log, deadline_s=60, poll_s=0.05)
    return result, log.read_bytes().decode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    "code",
    [
        "raise RuntimeError(dict(os.environ))",
        "print(os.environ['WANDB_API_KEY'] + os.environ['DB_PASSWORD'], file=sys.stderr)",
        "for half in (slice(20), slice(20, None)): print(os.environ['WANDB_API_KEY'][half], end='', flush=True)",
        "print('10%\\r' + os.environ['WANDB_API_KEY'], end='\\r')",
        "os.write(1, b'\\xff ' + os.environb[b'WANDB_API_KEY'])",
        "os.write(1, b'x ' * 40000 + os.environb[b'WANDB_API_KEY'] + b' x' * 40000)",
        "import subprocess; subprocess.run(['sh', '-c', 'env; echo $WANDB_API_KEY >&2'])",
        "print('Authorization: Bearer abcdefghij0123456789ABCDEFGHIJ')",
    ],
)
def test_no_secret_of_a_child_reaches_its_log(tmp_path: Path, code: str) -> None:
    result, text = run(tmp_path, code)
    assert "[redacted]" in text
    for secret in (KEY, KEY[:20], KEY[20:], "correct-horse", "battery-staple-77", "0123456789ABCDEFGHIJ"):
        assert secret not in text
    assert KEY not in "".join(result.log_tail)


def test_all_other_output_is_written_as_it_came(tmp_path: Path) -> None:
    lines = "".join(f"step {number} loss 0.{number}\n" for number in range(20_000))
    _, text = run(tmp_path, "for n in range(20_000): print('step', n, f'loss 0.{n}')\nprint('50%\\r99%\\rend', end='')")
    assert text == lines + "50%\r99%\rend"


def test_beyond_eight_mebibytes_the_secrets_of_the_environment_are_still_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redacted_log, "FULLY_REDACTED_BYTES", 100)
    _, text = run(tmp_path, "for n in range(2000): print('x' * 100, n)\nprint(os.environ['WANDB_API_KEY'], 'end')")
    assert text.endswith("[redacted] end\n")
    assert text.count("\n") == 2001


def test_a_line_appears_while_the_child_runs_with_its_end_or_after_a_second(tmp_path: Path) -> None:
    log = RedactedLog(tmp_path / "x.log")
    began = time.monotonic()
    os.write(log.child_end, b"a line\nand a part")
    wait_for(lambda: (tmp_path / "x.log").read_bytes() == b"a line\n", "the line")
    assert time.monotonic() - began < redacted_log._PARTIAL_S
    wait_for(lambda: (tmp_path / "x.log").read_bytes() == b"a line\nand a part", "the part")
    log.close()


def test_a_process_that_keeps_the_output_open_delays_no_end(tmp_path: Path) -> None:
    log = RedactedLog(tmp_path / "x.log")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdout=log.child_end) as other:
        os.write(log.child_end, b"last")
        began = time.monotonic()
        log.close()
        other.kill()
    assert time.monotonic() - began < 2
    assert (tmp_path / "x.log").read_bytes() == b"last"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_disk_that_takes_no_output_does_not_stop_the_child(tmp_path: Path) -> None:
    log = RedactedLog(tmp_path / "x.log")
    with open("/dev/full", "ab") as full:
        os.dup2(full.fileno(), log._file.fileno())
    for _ in range(40):
        os.write(log.child_end, b"x" * 100_000)
    log.close()


@pytest.mark.parametrize(
    "text", [json.dumps({"message": {"message": f"key {KEY}", "extraInfo": {"py_callstack": KEY}}}), f"torn {KEY}"]
)
def test_the_exception_that_torchrun_recorded_has_no_secrets(tmp_path: Path, text: str) -> None:
    path = tmp_path / "error.json"
    path.write_text(text)
    redact_error_file(path)
    assert KEY not in path.read_text()
    assert "[redacted]" in path.read_text()
    redact_error_file(tmp_path / "absent")
