"""The record of mutation runs: docs/results/mutants.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.mutants.equivalent import Equivalent
from tests.mutants.sample import Mutant

RECORD = Path(__file__).resolve().parents[2] / "docs" / "results" / "mutants.json"
TIMED_OUT = "timeout"


@dataclass
class PackageRecord:
    """What came of a package's mutants."""

    seed: int
    sample: int
    positions: int
    """Places of the package that can be mutated; the sample was drawn from them."""
    killed: dict[str, str] = field(default_factory=dict)
    """Key of a mutant → the first test that failed, or ``timeout``."""
    survivors: list[dict[str, Any]] = field(default_factory=list)
    not_run: list[dict[str, Any]] = field(default_factory=list)

    def add_killed(self, mutant: Mutant, by: str) -> None:
        self.killed[mutant.key] = by

    def add_survivor(self, mutant: Mutant, tests: Sequence[str], entries: Sequence[Equivalent]) -> None:
        because = next((one.because for one in entries if one.matches(mutant)), None)
        reason = "not killed" if because is None else f"equivalent because {because}"
        self.survivors.append({**_shown(mutant), "reason": reason, "tests": list(tests)})

    def add_not_run(self, mutant: Mutant, reason: str) -> None:
        self.not_run.append({**_shown(mutant), "reason": reason})

    def counts(self) -> dict[str, Any]:
        equivalent = sum(1 for one in self.survivors if one["reason"] != "not killed")
        return {
            "killed": len(self.killed),
            "killed_by_timeout": sum(1 for by in self.killed.values() if by == TIMED_OUT),
            "survived": len(self.survivors) - equivalent,
            "equivalent": equivalent,
            "not_run": len(self.not_run),
        }

    def as_record(self) -> dict[str, Any]:
        counts = self.counts()
        return {
            "seed": self.seed,
            "sample": self.sample,
            "positions": self.positions,
            **counts,
            "killed_share": killed_share(counts),
            "survivors": sorted(self.survivors, key=lambda one: (one["module"], one["line"])),
            "not_run_mutants": self.not_run,
            "killed_by": dict(sorted(self.killed.items())),
        }


def killed_share(counts: Mapping[str, Any]) -> float | None:
    """Return killed / (killed + survived): equivalent mutants and those not run do not count; None for no mutant."""
    judged = counts["killed"] + counts["survived"]
    return round(counts["killed"] / judged, 4) if judged else None


def write_record(path: Path, packages: Mapping[str, PackageRecord], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write the record; packages that this run does not have stay as they were. Return what was written."""
    merged = read_packages(path) | {name: {**facts, **one.as_record()} for name, one in packages.items()}
    names = ("killed", "killed_by_timeout", "survived", "equivalent", "not_run")
    totals = {name: sum(one[name] for one in merged.values()) for name in names}
    record = {"killed_share": killed_share(totals), **totals, "packages": dict(sorted(merged.items()))}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.part")
    temporary.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)
    return record


def read_packages(path: Path) -> dict[str, Any]:
    """Return the packages of an earlier record, or none."""
    if not path.exists():
        return {}
    packages: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["packages"]
    return packages


def _shown(mutant: Mutant) -> dict[str, Any]:
    names = ("module", "line", "within", "operator", "before", "after")
    return {name: getattr(mutant, name) for name in names}
