"""A finished run becomes the baseline, and later runs are compared with it (`accept`, `--baseline`, G9).

pytest tests/loop/test_baseline.py -m slow
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.journals import rewrite_journal
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.compare.baseline_file import Baseline, read_baseline
from tinyworlds_gate.gate.scorecard import Scorecard, read_scorecard
from tinyworlds_gate.loop.recheck import verdict_now
from tinyworlds_gate.loop.scorecards import scorecards_of_folder
from tinyworlds_gate.power.trial import finished_run, finished_scene
from tinyworlds_gate.run.journal import read_journal

pytestmark = pytest.mark.slow

STAGES = {"video": "video_tokenizer_step_399", "latent": "latent_actions_step_599", "dynamics": "dynamics_step_799"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one run that passed, and its baseline."""
    root = finished_scene(tmp_path_factory.mktemp("baseline") / "project")
    assert main(["accept", str(finished_run(root)), "--into", str(root / "docs/baseline.json")]) == 0
    return root


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))


def session(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    given = [
        f"--{short}-checkpoint=results/healthy/{name.rpartition('_step_')[0]}/checkpoints/{name}"
        for short, name in STAGES.items()
    ]
    base = ["-m", "smoke", "--profile", "./settings", "--train-stage", "none", *given, "-p", "no:cacheprovider"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "validation", *base, *words],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def changed_baseline(root: Path, change: Callable[[Scorecard], Scorecard]) -> Path:
    """Another baseline, of a model with other numbers."""
    baseline = read_baseline(root / "docs/baseline.json")
    runs = tuple(replace(one, cards=tuple(map(change, one.cards))) for one in baseline.accepted)
    path = root / "docs/other.json"
    path.write_text(Baseline(runs).as_text(), encoding="utf-8")
    return path


def of_another_model(card: Scorecard, factor: float) -> Scorecard:
    clips = tuple(replace(one, error=float(f"{one.error * factor:.5e}")) for one in card.clips)
    return replace(card, source="run other 1.1", weights=dict.fromkeys(card.weights, "a" * 64), clips=clips)


def compared(root: Path) -> dict[str, Any]:
    events = read_journal(finished_run(root) / "journal.jsonl")
    return [event for event in events if event["event"] == "baseline_compared"][-1]


def test_the_scorecard_of_the_attempt_is_bound_to_its_verdict(project: Path) -> None:
    run = finished_run(project)
    path = run / "measures_01_scorecard.json"
    assert read_scorecard(path).trained["profile"] == "power"
    path.write_text(path.read_text(encoding="utf-8").replace("0.000", "0.009", 1), encoding="utf-8")
    changes = verdict_now(run).changes
    assert any("measures_01_scorecard.json had SHA-256" in change for change in changes)
    assert any("states something else than the files" in change for change in changes)


def test_a_run_that_does_not_hold_is_not_accepted(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(project)
    (run / "measures_01_frames.h5").unlink()
    before = (project / "docs/baseline.json").read_bytes()
    assert main(["accept", str(run), "--into", str(project / "docs/baseline.json")]) == 2
    assert "does not hold for the files on the disk" in capsys.readouterr().err
    assert (project / "docs/baseline.json").read_bytes() == before


def test_nothing_else_is_replaced(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(finished_run(project))
    for name, content in (("notes.json", '{"a": 1}'), ("text.json", "hello")):
        (project / name).write_text(content, encoding="utf-8")
        assert main(["accept", run, "--into", str(project / name)]) == 2
        assert "it is no baseline, so it is not replaced" in capsys.readouterr().err
        assert (project / name).read_text(encoding="utf-8") == content
    (project / "new.png").write_bytes(b"a picture of somebody")
    assert main(["accept", run, "--into", str(project / "new.json")]) == 2
    assert "no earlier baseline wrote this picture" in capsys.readouterr().err
    assert main(["accept", run, run, "--into", str(project / "docs/baseline.json")]) == 2
    assert "have the same weights" in capsys.readouterr().err


def test_the_same_weights_are_the_same_and_pass(project: Path) -> None:
    done = session(project, "--baseline", "docs/baseline.json", "--fail-on", "worse")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "Against the baseline: SAME: both sides have the same weights" in done.stdout
    event = compared(project)
    assert (event["verdict"], event["required"], event["schema"]) == ("SAME", "not worse", 1)
    assert event["baseline"]["path"] == "docs/baseline.json"
    run = finished_run(project)
    assert verdict_now(run).holds, verdict_now(run).changes

    def better(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**one, "verdict": "BETTER"} if one["event"] == "baseline_compared" else one for one in events]

    rewrite_journal(run, better)
    assert any("the comparison with the baseline now says: SAME" in one for one in verdict_now(run).changes)


def test_a_run_that_is_worse_fails_and_says_so(project: Path) -> None:
    path = changed_baseline(project, lambda card: of_another_model(card, 0.3))
    done = session(project, "--baseline", str(path.relative_to(project)), "--fail-on", "worse")
    assert done.returncode == 1
    assert "G9 FAIL: not worse than the baseline was required; WORSE: error rose" in done.stdout
    assert "FAIL: the gate passed, but not everything around it: G9" in done.stdout
    report = next((project / "docs/action").glob("train-to-inference-report-*.md"))
    assert any("WORSE: error rose" in one.read_text(encoding="utf-8") for one in report.parent.glob("*.md"))


def test_a_release_needs_a_better_model(project: Path) -> None:
    path = changed_baseline(project, lambda card: of_another_model(card, 1.0))
    done = session(project, "--baseline", str(path.relative_to(project)), "--require-better")
    assert done.returncode == 1
    assert "G9 FAIL: better than the baseline was required; SAME: error went" in done.stdout


def test_a_baseline_on_other_clips_stops_the_run_before_anything_starts(project: Path) -> None:
    def elsewhere(card: Scorecard) -> Scorecard:
        clips = tuple(replace(one, digest=one.digest[::-1]) for one in card.clips)
        return replace(card, clips=clips)

    path = changed_baseline(project, elsewhere)
    done = session(project, "--baseline", str(path.relative_to(project)), "--fail-on", "worse")
    assert done.returncode == 1
    assert "it cannot be compared with this run: other clips" in done.stdout
    assert "rolling out" not in done.stdout


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--baseline", "none.json"], "none.json: the baseline cannot be read"),
        (["--baseline", "docs/edited.json"], "docs/edited.json: the baseline was edited"),
        (["--baseline", "docs/longer.json"], "generated frames 9 in the baseline and 6 here"),
        (["--fail-on", "worse"], "--fail-on worse judges the run against a baseline; name one"),
        (["--require-better"], "--require-better true judges the run against a baseline; name one"),
        (["--baseline", "docs/baseline.json", "--fail-on", "better"], "worse"),
        (["--baseline", "docs/baseline.json", "--fail-on", "worse", "-k", "preparation"], "needs the test of G9"),
    ],
)
def test_a_bad_baseline_is_a_usage_error(project: Path, words: list[str], reason: str) -> None:
    text = (project / "docs/baseline.json").read_text(encoding="utf-8")
    (project / "docs/edited.json").write_text(text.replace('"PASS"', '"DEGRADED"', 1), encoding="utf-8")
    changed_baseline(project, lambda card: replace(card, settings={**card.settings, "generation_steps": 9})).rename(
        project / "docs/longer.json"
    )
    runs = sorted((project / "results").glob("power_*"))
    done = session(project, *words)
    assert done.returncode == 4, done.stdout[-2000:]
    assert reason in done.stdout + done.stderr
    assert sorted((project / "results").glob("power_*")) == runs


def test_a_kept_run_can_be_compared(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(project)
    assert main(["keep", f"results/{run.name}", "--project-root", str(project)]) == 0
    capsys.readouterr()
    kept = next((project / "docs/results/longrun").iterdir())
    assert (kept / "scorecards/measures_01_scorecard.json").read_bytes() == (
        run / "measures_01_scorecard.json"
    ).read_bytes()
    path = changed_baseline(project, lambda card: of_another_model(card, 0.3))
    assert main(["compare", str(path), str(kept), "--question", "models"]) == 1
    assert capsys.readouterr().out.startswith("WORSE: error rose")
    assert main(["compare", str(kept), str(run)]) == 3
    assert "both sides are the same" in capsys.readouterr().out


def test_a_run_without_a_scorecard_is_measured_again(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As runs of older versions are."""
    run = finished_run(project)
    before = read_scorecard(run / "measures_01_scorecard.json")
    (run / "measures_01_scorecard.json").unlink()

    def unbound(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for event in events:
            if event["event"] == "gate_verdict":
                files = event["binding"]["evidence"]
                event["binding"]["evidence"] = {name: one for name, one in files.items() if "scorecard" not in name}
        return events

    rewrite_journal(run, unbound)
    assert scorecards_of_folder(run) == [before]
