"""Whether the verdict of a finished run holds: for what lies on the disk (`tinyworlds-gate verdict`), and on resume.

Each test works on its own copy of the retrained run; what is changed are its files, never what reads them.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import pytest
from matplotlib.image import imread

from tests.helpers.journals import last_line, lines_of, put_lines, rewrite_journal, unchained
from tests.helpers.tiny_project import GAME, PASSED, STAGES, Session, environment, read_journal
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.findings.inference import gate_passed
from tinyworlds_gate.findings.retraining import retraining
from tinyworlds_gate.loop.closed_loop import ClosedLoop
from tinyworlds_gate.loop.recheck import verdict_now
from tinyworlds_gate.loop.resume import find_run
from tinyworlds_gate.loop.start import resolve_run, resume_run
from tinyworlds_gate.reports.render import write_reports
from tinyworlds_gate.reports.verdict_picture.draw import draw_verdicts
from tinyworlds_gate.run import source_state
from tinyworlds_gate.run.journal import Journal
from tinyworlds_gate.run.layout import RunLayout

Event = dict[str, Any]


@pytest.fixture
def run(retrained: Session, tmp_path: Path) -> Path:
    """The run's folder in a copy of its project."""
    project = tmp_path / "project"
    shutil.copytree(retrained.project, project, symlinks=True)
    return project / "results" / retrained.run.name


def project_of(run: Path) -> Path:
    return run.parent.parent


def git(run: Path, *words: str) -> None:
    name = ["-c", "user.name=Tiny", "-c", "user.email=tiny@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *name, *words], cwd=project_of(run), check=True, env=environment(), capture_output=True)


def final_of(events: list[Event]) -> Event:
    return [event for event in events if event["event"] == "gate_verdict"][-1]


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.requirement("H3")
def test_an_untouched_run_holds_with_exit_status_0(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verdict", str(run)]) == 0
    output = capsys.readouterr().out
    assert re.match(rf"{PASSED} 0\.0", output)
    assert "the verdict holds for the files on disk" in output
    assert main(["verdict", str(run), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["verdict"], answer["holds"], answer["changes"]) == ("PASS", True, [])
    assert answer["recorded"]["attempt"] == "attempt 2, final draw"


def other_weights(run: Path) -> None:
    folder = run / "dynamics" / "checkpoints"
    shutil.rmtree(folder / "dynamics_step_123")
    shutil.copytree(folder / "dynamics_step_3", folder / "dynamics_step_123")


def a_threshold_raised_in_the_profile(run: Path) -> None:
    replaced(project_of(run) / "configs/profiles/smoke/profile.yaml", "max_mse: 0.03", "max_mse: 0.05")


def a_threshold_raised_in_the_journal(run: Path) -> None:
    def raise_it(events: list[Event]) -> list[Event]:
        final_of(events)["thresholds"]["max_mse"] = 0.05
        return events

    rewrite_journal(run, raise_it)


def another_library(run: Path) -> None:
    def age(events: list[Event]) -> list[Event]:
        final_of(events)["binding"]["versions"]["torch"] = "0.1"
        return events

    rewrite_journal(run, age)


def a_frame(run: Path) -> None:
    with h5py.File(project_of(run) / "data" / f"{GAME.lower()}_frames.h5", "r+") as file:
        file["frames"][0, 0, 0, 0] ^= 1


def the_measures(run: Path) -> None:
    path = run / "measures_02_final.json"
    raw = json.loads(path.read_text())
    raw["clips"][0]["rollout_mse"] = [0.0 for _ in raw["clips"][0]["rollout_mse"]]
    path.write_text(json.dumps(raw))


def edited(pattern: bytes, new: bytes, event: str = "gate_verdict") -> Callable[[Path], None]:
    """Edit the newest line of an event; its hash stays."""

    def edit(run: Path) -> None:
        lines, number = lines_of(run), last_line(run, event)
        assert pattern in lines[number]
        lines[number] = lines[number].replace(pattern, new, 1)
        put_lines(run, lines)

    return edit


def rewritten(change: Callable[[Event], object], event: str = "gate_verdict") -> Callable[[Path], None]:
    """Change the newest event of a name; the whole journal gets a new hash chain."""

    def rewrite(run: Path) -> None:
        def edit(events: list[Event]) -> list[Event]:
            change([one for one in events if one["event"] == event][-1])
            return events

        rewrite_journal(run, edit)

    return rewrite


def checkpoint_file(run: Path, name: str) -> Path:
    finished = read_journal(run, "inference_finished")[-1]
    return project_of(run) / finished["checkpoints"]["dynamics"]["path"] / name


def appended(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def a_manifest_that_is_gone(run: Path) -> None:
    """Also the word in the state that says who wrote it, so that it looks like a checkpoint of TinyWorlds."""
    import torch

    state = torch.load(checkpoint_file(run, "state.pt"), weights_only=False)
    del state["written_by"]
    torch.save(state, checkpoint_file(run, "state.pt"))
    checkpoint_file(run, "manifest.json").unlink()


def strip_every_hash(run: Path) -> None:
    put_lines(run, map(unchained, lines_of(run)))
    (run / "journal.head").unlink()


CHANGES: list[tuple[Callable[[Path], object], str]] = [
    (edited(b'"skill": 0.', b'"skill": 1.'), " does not continue its hash chain"),
    (strip_every_hash, "line 1 does not continue its hash chain"),
    (lambda run: put_lines(run, lines_of(run)[:-2]), "was cut after line "),
    (
        rewritten(lambda event: event["measures"].update(skill=0.5)),
        "give other numbers than the journal: skill was 0.5",
    ),
    (rewritten(lambda event: event.update(verdict="FAIL")), "now give another verdict: PASS"),
    (
        rewritten(lambda event: event.update(sentence=event["sentence"].replace("0.0", "0.9", 1)), "run_finished"),
        "the sentence of run_finished is not that of the gate's verdict",
    ),
    (lambda run: appended(run / "measures_02_final.json"), "measures_02_final.json had SHA-256 "),
    (lambda run: appended(run / "measures_02_final_frames.h5"), "measures_02_final_frames.h5 had SHA-256 "),
    (lambda run: appended(run / "logs/inference_02_final.log"), "logs/inference_02_final.log had SHA-256 "),
    (
        lambda run: appended(project_of(run) / read_journal(run, "inference_finished")[-1]["picture"]),
        "png had SHA-256 ",
    ),
    (lambda run: appended(checkpoint_file(run, "state.pt")), "state.pt had SHA-256 "),
    (lambda run: appended(checkpoint_file(run, "manifest.json")), "manifest.json had SHA-256 "),
    (a_manifest_that_is_gone, "has no manifest.json, so what it was trained on is unknown"),
    (other_weights, "dynamics_step_123"),
    (a_threshold_raised_in_the_profile, "thresholds.max_mse was 0.03 and is now 0.05"),
    (a_threshold_raised_in_the_journal, "the thresholds that stand beside the verdict are not those that it is bound"),
    (another_library, "torch was 0.1 and is now "),
    (a_frame, "the frames file had SHA-256 "),
    (the_measures, "now give another verdict: INVALID: "),
    (lambda run: (run / "measures_02_final.json").unlink(), "the inference run left no measures"),
    (lambda run: (run / "logs/inference_02_final.log").write_text("nothing"), "now give another verdict: FAIL: "),
    (lambda run: shutil.rmtree(project_of(run) / "inference_results"), "is gone"),
    (lambda run: shutil.rmtree(project_of(run) / "data"), "the frames file bars_frames.h5 is gone"),
    (lambda run: shutil.rmtree(run / "latent_actions"), "does not exist"),
    (lambda run: git(run, "commit", "--allow-empty", "-m", "Another"), "the code was at commit "),
    (
        lambda run: (project_of(run) / "tests/test_nothing.py").write_text("x = 1\n"),
        "the code was as committed and is now changed since its commit",
    ),
]

QUICK = ("the frames file had SHA-256 ", "now give another verdict: INVALID: ", "the code was at commit ")
"""Each row judges a run again, which takes 6 s."""


@pytest.mark.requirement("H3", "S5")
@pytest.mark.parametrize(
    ("change", "said"),
    [pytest.param(*one, id=one[1][:40], marks=() if one[1] in QUICK else pytest.mark.slow) for one in CHANGES],
)
def test_a_verdict_does_not_hold_once_anything_that_it_is_bound_to_is_another(
    run: Path, change: Callable[[Path], object], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change(run)
    assert main(["verdict", str(run)]) == 1
    output = capsys.readouterr().out
    assert output.startswith(f"INVALID: the verdict of {run.name} does not hold for the files on disk:\n  - ")
    assert any(said in one for one in verdict_now(run).changes), output


def test_a_folder_that_is_not_a_run_gives_exit_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verdict", str(tmp_path)]) == 2
    assert "is not a run's folder" in capsys.readouterr().err


def test_a_run_without_a_verdict_is_not_a_pass(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [event["event"] for event in read_journal(run)]
    rewrite_journal(run, lambda events: events[: names.index("gate_verdict")])
    assert main(["verdict", str(run)]) == 1
    assert "the journal holds no verdict of the gate" in capsys.readouterr().out


# --resume-run


def resumed(run: Path, once_prepared: Callable[[ClosedLoop], object] = lambda _: None) -> tuple[ClosedLoop, list[str]]:
    """Resume a run up to its inference; return the loop and its messages."""
    said: list[str] = []
    found = find_run(project_of(run), run.name, run)
    settings, gpus = resolve_run(found.profile, found.options, project_of(run))
    context = resume_run(settings, gpus, found, command=["pytest"], say=said.append, show_progress=lambda *_: None)
    loop = ClosedLoop(context, str(found.started["timestamp"]), found.so_far)
    try:
        assert loop.prepare() is None
        once_prepared(loop)
        loop.inference()
    finally:
        loop.close()
    return loop, said


def cut_after(run: Path, attempt: int, draw: int) -> None:
    def cut(events: list[Event]) -> list[Event]:
        stop = next(
            event["seq"]
            for event in events
            if event["event"] == "gate_verdict" and (event["attempt"], event["draw"]) == (attempt, draw)
        )
        return events[: stop + 1]

    rewrite_journal(run, cut)


def verdicts(run: Path) -> list[tuple[int, int, str]]:
    return [(one["attempt"], one["draw"], one["verdict"]) for one in read_journal(run, "gate_verdict")]


WHOLE = [(1, 1, "FAIL"), (2, 1, "PASS"), (2, 2, "PASS")]


@pytest.mark.requirement("L8", "H7")
def test_a_run_killed_before_its_final_verdict_takes_it_on_resume(retrained: Session, run: Path) -> None:
    cut_after(run, 2, 1)
    loop, _ = resumed(run)
    assert verdicts(run) == WHOLE
    assert [attempt.name for attempt in loop.attempts] == ["attempt 1", "attempt 2", "attempt 2, final draw"]
    now, before = (final_of(read_journal(one))["measures"] for one in (run, retrained.run))
    other = {"seconds": 0, "past": None, "played": None}  # the probe draws its clips at random
    assert {**now, **other} == {**before, **other}


def inference_that_fails(loop: ClosedLoop) -> None:
    script = loop.context.layout.root / "fails.py"
    script.write_text("raise SystemExit(3)\n", encoding="utf-8")
    loop.context.target = replace(loop.context.target, inference_script=script)


@pytest.mark.requirement("L8", "H3", "T5")
def test_a_final_verdict_that_fails_is_the_verdict_of_the_run_and_ends_its_retries(run: Path) -> None:
    cut_after(run, 2, 1)
    loop, _ = resumed(run, inference_that_fails)
    assert verdicts(run) == [*WHOLE[:2], (2, 2, "FAIL")]
    assert loop.attempts[-1].verdict.sentence.startswith(
        "FAIL: on held-out clips of a second draw, which no retry has seen, the inference command ended with exit code"
    )
    assert len(read_journal(run, "dynamics_retrain")) == 1 < loop.context.settings.profile.retry.max
    assert not loop.may_retrain().allowed
    events = read_journal(run)
    found = {one.id: one for one in retraining(events, loop.context.settings.profile.retry, 0.03)}
    assert (found["L8"].verdict, found["T5"].verdict, gate_passed(events).verdict) == ("FAIL", "PASS", "FAIL")


@pytest.mark.requirement("L8", "H7")
def test_a_resumed_run_whose_verdicts_hold_makes_no_further_attempt(run: Path) -> None:
    cut_after(run, 2, 2)
    loop, said = resumed(run)
    assert verdicts(run) == WHOLE
    assert read_journal(run, "verdict_expired") == []
    assert not [line for line in said if "does not hold" in line]
    assert loop.final_problem is None
    answer = loop.may_retrain()
    assert not answer.allowed
    assert "its clips have been seen now" in answer.reason


@pytest.mark.requirement("H3", "H7")
@pytest.mark.slow
def test_a_resumed_run_takes_a_verdict_again_that_its_new_state_does_not_bear(run: Path) -> None:
    cut_after(run, 2, 2)
    git(run, "commit", "--allow-empty", "-m", "Another state of the code")
    _, said = resumed(run)
    assert verdicts(run) == [*WHOLE, (3, 1, "PASS"), (3, 2, "PASS")]
    (expired,) = read_journal(run, "verdict_expired")
    assert (expired["attempt"], expired["draw"]) == (2, 2)
    (change,) = expired["changes"]
    assert change.startswith("the code was at commit ")
    assert expired["sentence"] in said
    written = write_reports(project_of(run), run)
    for id in ("A1", "A5"):
        assert "On resume: the verdict of attempt 2, final draw does not hold any more" in written[id].read_text(
            "utf-8"
        )
    before, after = (read_journal(run, "gate_verdict")[number]["binding"] for number in (2, 4))
    assert before["commit"] != after["commit"]
    assert {stage: before["checkpoints"][stage] for stage in STAGES} == after["checkpoints"]


@pytest.mark.requirement("T5", "H7")
def test_a_run_killed_before_it_retrained_does_not_measure_its_failed_attempt_again(run: Path) -> None:
    cut_after(run, 1, 1)
    loop, _ = resumed(run)
    assert verdicts(run) == WHOLE[:1]
    assert loop.may_retrain().allowed


def the_final_verdict(change: Callable[[Event], object]) -> Callable[[Path], None]:
    def edit(run: Path) -> None:
        cut_after(run, 2, 2)
        rewritten(change)(run)

    return edit


def lowered(event: Event) -> None:
    event["measures"]["mse"] /= 2


@pytest.mark.requirement("H3", "H7")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            edited(b'"verdict": "PASS", "sentence"', b'"verdict": "FAIL", "sentence"'),
            "does not continue its hash chain",
        ),
        (lambda run: put_lines(run, lines_of(run)[:-1]), "was cut after line"),
        (lambda run: (run / "journal.head").unlink(), "journal.head is gone"),
        (the_final_verdict(lambda event: event.update(verdict="FAIL")), "so it was edited"),
        (the_final_verdict(lowered), "give other numbers than the journal: mse was"),
    ],
)
def test_a_run_whose_verdict_was_edited_is_not_resumed(run: Path, change: Callable[[Path], object], said: str) -> None:
    cut_after(run, 2, 2)
    change(run)
    before = (run / "journal.jsonl").read_bytes()
    with pytest.raises(GateError, match=said):
        resumed(run)
    assert (run / "journal.jsonl").read_bytes() == before


@pytest.mark.parametrize("command", [pytest.param("keep", marks=pytest.mark.slow), "report"])
@pytest.mark.parametrize(
    ("change", "codes", "said"),
    [
        (edited(b'"skill": 0.', b'"skill": 1.'), (2, 1), "does not continue its hash chain"),
        (rewritten(lambda event: event.update(verdict="FAIL")), (0, 1), "INVALID: The recorded verdict does not hold"),
        (rewritten(lowered), (0, 1), "give other numbers than the journal: mse was"),
        (lambda run: appended(checkpoint_file(run, "state.pt")), (0, 1), "state.pt had SHA-256"),
        (lambda run: appended(run / "measures_02_final.json"), (0, 1), "measures_02_final.json had SHA-256"),
    ],
)
def test_keep_and_report_do_not_repeat_an_edited_verdict(
    run: Path,
    change: Callable[[Path], object],
    codes: tuple[int, int],
    said: str,
    command: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change(run)
    words = ["--project-root", str(project_of(run))] if command == "keep" else []
    assert main([command, str(run), *words]) == codes[command == "report"]
    output = "".join(capsys.readouterr())
    assert said in output
    assert "\nPASS" not in output


def test_keep_and_report_say_what_could_not_be_judged_again(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "measures_02_final_frames.h5").unlink()
    assert main(["keep", str(run), "--project-root", str(project_of(run))]) == 0
    assert "\nINVALID: The recorded verdict cannot be judged again: " in capsys.readouterr().out
    main(["report", str(run)])
    assert " The verdict is the recorded one; its files were not judged again: " in capsys.readouterr().out


def test_the_harness_s_code_is_part_of_what_a_verdict_is_bound_to(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(source_state.PACKAGE / "gate", tmp_path / "tinyworlds_gate")
    (copy / "verdict.py").write_text("PASS = True\n", encoding="utf-8")
    monkeypatch.setattr(source_state, "PACKAGE", copy)
    assert main(["verdict", str(run)]) == 1
    assert "  - the harness's code had SHA-256 " in capsys.readouterr().out
    assert main(["keep", str(run), "--project-root", str(project_of(run))]) == 0, "its code was that of the run"
    assert "\nPASS" in capsys.readouterr().out


# The picture of a verdict, drawn on resume where the harness was killed before


def last_picture(run: Path) -> Event:
    *_, picture = read_journal(run, "verdict_picture")
    assert (picture["attempt"], picture["draw"], verdicts(run)) == (2, 2, WHOLE)
    return picture


@pytest.mark.requirement("H7", "A7")
def test_a_run_killed_between_verdict_and_picture_gets_the_picture_on_resume(run: Path) -> None:
    cut_after(run, 2, 2)
    for path in [
        *project_of(run).glob("inference_results/gate_verdict_*"),
        *project_of(run).glob("inference_results/film_*"),
    ]:
        path.unlink()
    _, said = resumed(run)
    picture = last_picture(run)
    assert (picture["left_out"], picture["problem"]) == ([], None)
    assert (project_of(run) / picture["picture"]).is_file()
    assert (project_of(run) / picture["film_strip"]).is_file()
    assert f"picture of the verdict of attempt 2, final draw: {picture['picture']}" in said


def test_without_the_generated_frames_the_picture_has_no_strips_and_says_why(run: Path) -> None:
    whole = imread(project_of(run) / last_picture(run)["picture"])
    cut_after(run, 2, 2)
    (run / "measures_02_final_frames.h5").unlink()
    layout = RunLayout(project_of(run), run.name)
    with Journal(layout.journal, project_root=layout.project_root) as journal:
        draw_verdicts(layout, journal, "smoke", lambda _: None)
    (note,) = last_picture(run)["left_out"]
    assert note.startswith(
        f"No film strips: results/{run.name}/measures_02_final_frames.h5: the inference run wrote no"
    )
    assert 500 < imread(project_of(run) / last_picture(run)["picture"]).shape[0] < whole.shape[0] / 2


def test_a_picture_that_cannot_be_drawn_is_reported_and_the_verdict_still_holds(run: Path) -> None:
    path = project_of(run) / last_picture(run)["picture"]
    cut_after(run, 2, 2)
    path.unlink()
    path.mkdir()
    loop, said = resumed(run)
    picture = last_picture(run)
    assert picture["picture"] is None
    assert picture["problem"].startswith("IsADirectoryError: ")
    assert loop.attempts[-1].verdict.verdict == "PASS"
    (message,) = [line for line in said if "could not be drawn" in line]
    assert message.endswith("the verdict is unchanged")
    report = write_reports(project_of(run), run)["A1"].read_text(encoding="utf-8")
    assert "The picture of this verdict could not be drawn: IsADirectoryError" in report
    assert list(path.parent.glob("*.part")) == []
