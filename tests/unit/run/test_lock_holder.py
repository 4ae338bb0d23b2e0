"""The record in a lock file: whom it names, and which contents name nobody.

pytest tests/unit/run/test_lock_holder.py
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tinyworlds_gate.run import lock_holder
from tinyworlds_gate.run.lock_holder import LockHolder, boot_id, pid_namespace, read_holder
from tinyworlds_gate.run.timestamps import timestamp

RECORD = asdict(LockHolder(7, 2.5, "host", 1.0, "a", "boot", 9))


def read(tmp_path: Path, content: str) -> LockHolder | None:
    (tmp_path / "lock").write_text(content)
    with open(tmp_path / "lock", "rb") as file:
        return read_holder(file.fileno())


@pytest.mark.parametrize(
    "changed",
    [{}, {"run": None}, {"boot": None, "pid_namespace": None}, {"start": 2}, {"since": 0}, {"since": 1e11 - 1}],
    ids=str,
)
def test_a_whole_record_names_its_holder(tmp_path: Path, changed: dict[str, Any]) -> None:
    assert read(tmp_path, json.dumps(RECORD | changed)) == LockHolder(**(RECORD | changed))


def test_a_record_of_an_older_version_has_no_boot(tmp_path: Path) -> None:
    older = {name: value for name, value in RECORD.items() if name not in ("boot", "pid_namespace")}
    assert read(tmp_path, json.dumps(older)) == LockHolder(**older)


@pytest.mark.parametrize(
    "content",
    [
        *("", "no json", "[]", "7", "[" * 60_000, json.dumps({"pid": 7}), json.dumps(RECORD | {"more": 1})),
        *(json.dumps(RECORD | {name: []}) for name in RECORD),
        *(json.dumps(RECORD | {"since": since}) for since in (-0.001, 1e11)),
    ],
)
def test_any_other_content_names_nobody(tmp_path: Path, content: str) -> None:
    assert read(tmp_path, content) is None


def test_no_more_than_64_kib_are_read(tmp_path: Path) -> None:
    assert read(tmp_path, json.dumps(RECORD).ljust(65536) + "x") == LockHolder(**RECORD)
    assert read(tmp_path, json.dumps(RECORD).ljust(65535) + "x") is None


def test_a_holder_is_described_by_process_host_time_and_run() -> None:
    shown = f"PID 7 on host, started {timestamp(1.0)}"
    assert LockHolder(**RECORD).describe() == f"{shown}, run a"
    assert replace(LockHolder(**RECORD), run=None).describe() == shown


@pytest.mark.parametrize("elsewhere", [{"boot": "other"}, {"pid_namespace": -1}, {"boot": None, "host": "other"}])
def test_a_foreign_holder_is_never_this_process_even_with_its_pid(elsewhere: dict[str, Any]) -> None:
    here = LockHolder.of_this_process(1.0, None)
    assert (here.is_this_process, here.is_foreign) == (True, False)
    assert not replace(here, pid=os.getppid()).is_this_process
    assert (replace(here, boot=None).is_this_process, replace(here, boot=None).is_foreign) == (True, False)
    there = replace(here, **elsewhere)
    assert (there.is_this_process, there.is_foreign) == (False, True)


@pytest.mark.parametrize("error", [OSError, UnicodeDecodeError("ascii", b"", 0, 1, "not ASCII")])
def test_without_proc_boot_and_namespace_are_unknown(monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    def refuse(*arguments: Any, **keywords: Any) -> None:
        raise error

    monkeypatch.setattr(lock_holder.Path, "read_text", refuse)
    assert boot_id() is None
    monkeypatch.setattr(lock_holder.Path, "read_text", lambda *arguments, **keywords: " \n")
    assert boot_id() is None
    monkeypatch.setattr(lock_holder, "os", type("NoProc", (), {"stat": staticmethod(refuse)}))
    if error is OSError:
        assert pid_namespace() is None
