"""Write the measurements of the GPU tests to files: raw samples, a JSON summary and a table.

Neither names the machine: no host, no path, only GPU names, driver and versions.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.gpu.chunks import Evidence
from tinyworlds_gate.launch.devices.nvml import Nvml

COMMAND = "python -m pytest tests/gpu -m gpu --record-devices FOLDER"


@dataclass
class Control:
    """One test: the expected result, the verdicts by method of judging, measured facts, and the outcome."""

    test: str
    must: str = ""
    said: dict[str, tuple[bool | None, str]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    outcome: str = "not run"
    why: str = ""
    seconds: float = 0.0
    raw: dict[str, Evidence] = field(default_factory=dict)

    def keep(self, name: str, evidence: Evidence) -> Evidence:
        """Store samples and heartbeats under a short name, and the verdict of the run."""
        self.raw[name] = evidence
        self.said["as it ran"] = (evidence.result.dual_gpu_ok, evidence.result.dual_gpu_reason)
        return evidence


class DeviceRecord:
    """Collects the controls of a session and writes them, if a folder is set."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.controls: dict[str, Control] = {}

    def control(self, test: str) -> Control:
        return self.controls.setdefault(test, Control(test))

    def note(self, test: str, report: pytest.TestReport) -> None:
        """Record how a phase of the test ended; the first phase that did not pass counts."""
        control = self.control(test)
        control.seconds += report.duration
        if control.outcome in ("failed", "skipped"):
            return
        control.outcome = report.outcome
        if report.skipped and isinstance(report.longrepr, tuple):
            control.why = str(report.longrepr[2]).removeprefix("Skipped: ")
        elif report.failed:
            control.why = _last_line(report.longreprtext)

    def write(self) -> None:
        if self.folder is None or not self.controls:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for control in self.controls.values():
            for name, evidence in control.raw.items():
                (self.folder / f"{name}.jsonl").write_text(raw_lines(evidence), encoding="utf-8")
        machine = machine_words()
        summary = {"command": COMMAND, **machine, "controls": [self._plain(one) for one in self.controls.values()]}
        (self.folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        (self.folder / "summary.md").write_text(table(list(self.controls.values()), machine), encoding="utf-8")

    @staticmethod
    def _plain(control: Control) -> dict[str, Any]:
        said = {name: {"dual_gpu_ok": ok, "reason": reason} for name, (ok, reason) in control.said.items()}
        return {
            "test": control.test,
            "outcome": control.outcome,
            "why": control.why,
            "must": control.must,
            "said": said,
            "facts": control.facts,
            "seconds": round(control.seconds, 1),
            "raw": [f"{name}.jsonl" for name in control.raw],
        }


def raw_lines(evidence: Evidence) -> str:
    """Return samples and heartbeats ordered by time, one JSON object per line, without the host name."""
    records = [(one.monotonic, {"kind": "sample", **asdict(one)}) for one in evidence.samples]
    for beat in evidence.beats:
        fields = asdict(beat)
        fields.pop("host")
        records.append((beat.monotonic, {"kind": "beat", **fields}))
    records.sort(key=lambda one: one[0])
    return "".join(json.dumps(record) + "\n" for _, record in records)


def machine_words() -> dict[str, Any]:
    """Return GPU names, driver and versions; None for unknown ones."""
    words: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "gpus": [],
        "driver": None,
        "torch": None,
        "python": platform.python_version(),
        "system": platform.system(),
    }
    with suppress(ImportError):
        import torch

        words["torch"] = torch.__version__
    with Nvml() as nvml:
        words["gpus"] = [device.name for device in nvml.devices]
        if nvml.devices:
            import pynvml

            with suppress(pynvml.NVMLError):
                words["driver"] = str(pynvml.nvmlSystemGetDriverVersion())
    return words


def table(controls: list[Control], machine: Mapping[str, Any]) -> str:
    """Return the summary as markdown."""
    gpus = ", ".join(machine["gpus"]) or "no GPU"
    lines = [
        "# Device evidence on real GPUs",
        "",
        f"`{COMMAND}`, {machine['date']}: {gpus}; driver {machine['driver']}, torch {machine['torch']}, "
        f"Python {machine['python']}.",
        "",
        "| control | test | must | judged | dual_gpu_ok | reason |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for control in controls:
        name = control.test.removeprefix("test_").replace("_", " ")
        outcome = f"{control.outcome}: {control.why}" if control.why else control.outcome
        rows = list(control.said.items()) or [("", (None, ""))]
        for judged, (ok, reason) in rows:
            verdict = "" if not judged else "unknown" if ok is None else str(ok)
            lines.append("| " + " | ".join(map(_cell, (name, outcome, control.must, judged, verdict, reason))) + " |")
    facts = [(control.test, key, value) for control in controls for key, value in control.facts.items()]
    if facts:
        lines += ["", "| fact | value | measured in |", "| --- | --- | --- |"]
        lines += [f"| {_cell(key)} | {_cell(value)} | {_cell(test)} |" for test, key, value in facts]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _last_line(text: str) -> str:
    """Return the line of the failed assertion, without file paths."""
    wrong = [line[1:].strip() for line in text.splitlines() if line.startswith("E ")]
    return re.sub(r"(?<![\w.])/[^\s'\",]+", "…", wrong[0])[:300] if wrong else "see the output of pytest"
