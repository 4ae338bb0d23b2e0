"""A journal that another program wrote, or that was damaged, costs one sentence and hides no other run.

pytest tests/unit/run/test_hostile_journals.py
"""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest

from tests.helpers.made_up_secrets import draw, planted
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.loop.runs import known_runs
from tinyworlds_gate.reports.markdown import clock
from tinyworlds_gate.run.hash_chain import LONGEST_LINE
from tinyworlds_gate.run.journal import Journal, inspect_journal, read_journal
from tinyworlds_gate.run.plain_json import load_json, parse_json

STARTED = '{"seq": 0, "time": 1.0, "event": "run_started", "timestamp": "a", "schema": 1, "kind": "smoke"%s}\n'
SECOND = '{"seq": 1, "time": 1.0, "event": "x"}\n'
HOSTILE = {
    "deep line": STARTED % "" + '{"seq": 1, "event": ' + "[" * 100_000 + "\n" + SECOND,
    "deep first line": "[" * 100_000 + "\n" + SECOND,
    "deep field": STARTED % (', "options": ' + "[" * 100_000 + "]" * 100_000) + SECOND,
    "huge integer": STARTED % f', "n": {"9" * 6000}' + SECOND,
    "huge float": STARTED % ', "n": 1e999' + SECOND,
    "NaN": STARTED % ', "n": NaN' + SECOND,
    "infinite": STARTED % ', "n": -Infinity' + SECOND,
    "NUL": "\0\0\0\n" + SECOND,
    "no JSON": "hello\n" + SECOND,
    "a list": "[1, 2]\n" + SECOND,
    "seq is true": STARTED.replace("0, ", "true, ", 1) % "" + SECOND,
    "no time": STARTED.replace('"time": 1.0, ', "") % "" + SECOND,
    "time is text": STARTED.replace("1.0", '"soon"') % "" + SECOND,
    "options are a list": STARTED % ', "options": [1]' + SECOND,
    "another first event": SECOND.replace("1", "0", 1) + SECOND,
    "empty": "",
}


def journal(root: Path, name: str, content: str | bytes) -> Path:
    path = root / "results" / name / "journal.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_journal_is_one_sentence_and_the_other_run_is_listed(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal(tmp_path, "hostile", HOSTILE[name])
    journal(tmp_path, "well", STARTED % "" + SECOND)
    runs, problems = known_runs(tmp_path)
    assert [run.name for run in runs] == ["well"]
    assert len(problems) == 1
    assert "hostile" in problems[0]
    assert "\n" not in problems[0]
    assert main(["runs", "--project-root", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("results/well")
    assert len(shown.splitlines()) == 2


def test_bytes_that_are_not_utf_8_are_a_damaged_line(tmp_path: Path) -> None:
    path = journal(tmp_path, "latin", (STARTED % ', "a": "caf\u00e9"').encode("latin-1") + SECOND.encode())
    with pytest.raises(GateError, match=r"is damaged in line 1"):
        read_journal(path)


def test_half_of_a_surrogate_pair_can_be_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    end = '{"seq": 1, "time": 1.0, "event": "run_finished", "status": "failed", "sentence": "\\ud800 x"}\n'
    journal(tmp_path, "odd", STARTED % "" + end)
    assert main(["runs", "--project-root", str(tmp_path)]) == 0
    assert "failed" in capsys.readouterr().out


def test_a_line_of_50_mb_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = journal(tmp_path, "long", STARTED % "" + '{"seq": 1, "a": "' + "x" * 50_000_000 + '"}\n' + SECOND)
    tracemalloc.start()
    with pytest.raises(GateError, match="line 2 has more than 16 MiB, which no run writes"):
        inspect_journal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * LONGEST_LINE


def test_the_lines_are_read_one_by_one(tmp_path: Path) -> None:
    """The memory is that of the events and not that of the file, which the long field of each line makes large."""
    lines = [STARTED % ""] + [
        f'{{"seq": {n}, "time": 1.0, "event": "x", "a": {" " * 100_000} 1}}\n' for n in range(1, 200)
    ]
    path = journal(tmp_path, "wide", "".join(lines))
    tracemalloc.start()
    events = read_journal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(events) == 200
    assert peak < path.stat().st_size / 5


def test_no_secret_gets_into_a_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value = draw(30)
    monkeypatch.setenv("SOME_API_KEY", value)
    texts = list(planted())
    with Journal(tmp_path / "journal.jsonl", project_root=tmp_path) as written:
        written.append(
            "x", texts=[text for _, text, _ in texts], tail=[f"bad {value}"], command=["a", "--token", "abc"]
        )
        written.append("y", options={"password": "abc", "num_tokens": 64}, path=tmp_path / value)
    shown = (tmp_path / "journal.jsonl").read_text()
    assert value not in shown
    events = read_journal(tmp_path / "journal.jsonl")
    pairs = zip(texts, events[0]["texts"], strict=True)
    assert [name for (name, _, secrets), text in pairs if any(one in text for one in secrets)] == []
    assert events[0]["command"] == ["a", "--token", "[redacted]"]
    assert events[1]["options"] == {"password": "[redacted]", "num_tokens": 64}


def test_an_event_is_returned_as_it_is_read_back(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as written:
        event = written.append("x", text="token=abc", digest="ab12" * 16)
        assert written.events() == [event]
    assert event["digest"] == "ab12" * 16


@pytest.mark.parametrize("moment", [1e300, -1e300, float("nan"), float("inf"), 10**18])
def test_a_moment_beyond_the_calendar_is_a_dash(moment: float) -> None:
    assert clock(moment) == "\N{EM DASH}"


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, b"[" * 100_000])
def test_deep_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(text)
    with pytest.raises(ValueError, match="nested too deeply"):
        load_json(text)


def test_ordinary_json_is_read_as_always() -> None:
    value = {"a": [1, -2.5, 1e-9, None, True, "\u00e9\U0001f600"], "b": {"c": 2**62}}
    assert parse_json(json.dumps(value)) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value
