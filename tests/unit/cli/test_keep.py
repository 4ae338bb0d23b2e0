"""The command `keep`: folder, table, refusals.

python -m pytest tests/unit/cli/test_keep.py
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commands import REPOSITORY
from tests.helpers.finished_runs import MEASURED, PAGE, add_picture, finish_run, finished_run, keep, prepare_run
from tests.helpers.journal_samples import STAMP, SampleRun
from tests.helpers.journals import lines_of, put_lines, rechain
from tests.unit.test_repository import MACHINE_PATH
from tinyworlds_gate.gate.evidence import check_picture
from tinyworlds_gate.keep.shrink import MAX_FILE_BYTES
from tinyworlds_gate.run import publish_folder
from tinyworlds_gate.run.journal import inspect_journal, read_journal
from tinyworlds_gate.run.lock import ProjectLock


@pytest.fixture(scope="module")
def kept_once(tmp_path_factory: pytest.TempPathFactory) -> SampleRun:
    """A kept run that nobody alters; its journal holds the project's real place, as a run's does."""
    root = tmp_path_factory.mktemp("kept") / "project"
    run = finished_run(root, project_root=str(root))
    assert keep(run)[::2] == (0, "")
    return run


def kept_folder(run: SampleRun) -> Path:
    return run.root / "docs/results/longrun/longrun-seed3"


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def entries(run: SampleRun) -> list[dict[str, Any]]:
    table: dict[str, Any] = json.loads((run.root / "docs/results/longrun.json").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = table["entries"]
    return found


def test_everything_of_a_run_is_kept(kept_once: SampleRun) -> None:
    there = names(kept_folder(kept_once))
    reports = {name for name in there if name.startswith("reports/")}
    assert len(reports) == 11, "five reports, each as markdown and JSON, and the page"
    assert f"reports/{Path(PAGE).name}" in reports
    assert {name for name in there if name.startswith("history/")} == {
        f"history/{stage}_history_longrun_sample.csv" for stage in ("video_tokenizer", "latent_actions", "dynamics")
    }
    assert {"README.md", "keep.json", "journal.jsonl", "settings/profile.yaml", "settings/training.yaml"} <= set(there)
    assert len([name for name in there if name.startswith("plots/")]) > 3
    assert [name for name in there if name.startswith("pictures/")] == [
        "pictures/film_strip_01_1_longrun_sample.png",
        "pictures/gate_verdict_01_1_longrun_sample.png",
        f"pictures/inference_results_gt_vs_pred_{STAMP}_1.png",
    ]


def test_kept_pictures_are_images_and_no_file_is_large(kept_once: SampleRun) -> None:
    folder = kept_folder(kept_once)
    assert all(check_picture(path).path for path in folder.rglob("*.png"))
    assert max((folder / name).stat().st_size for name in names(folder)) <= MAX_FILE_BYTES


def test_the_marker_lists_every_file_with_its_source_and_hash(kept_once: SampleRun) -> None:
    folder = kept_folder(kept_once)
    marker = json.loads((folder / "keep.json").read_text(encoding="utf-8"))
    assert sorted([*marker["files"], "README.md", "keep.json"]) == names(folder)
    assert marker["files"]["journal.jsonl"]["source"] == "results/longrun_sample/journal.jsonl"
    assert (marker["run"], marker["seed"], marker["left_out"]) == ("longrun_sample", 3, [])


def test_the_readme_says_run_command_verdict_numbers_and_files(kept_once: SampleRun) -> None:
    text = (kept_folder(kept_once) / "README.md").read_text(encoding="utf-8")
    assert "# Profile longrun, seed 3" in text
    assert "**Verdict: PASS** — The inference gate passed." in text
    assert "pytest validation/ -m smoke" in text
    assert "| `action_nmi` | 0.62 |" in text
    assert "Measured on attempt 1, draw 1: the held-out clips of the attempts" in text
    assert "[journal.jsonl](journal.jsonl) | everything that happened, in order |" in text
    assert text.endswith("Nothing is left out.\n")


def test_the_table_has_the_entry_and_leads_to_the_folder(kept_once: SampleRun) -> None:
    [entry] = entries(kept_once)
    assert (entry["profile"], entry["seed"], entry["strict_mse"]) == ("longrun", 3, 0.0187)
    assert (kept_once.root / "docs/results" / entry["folder"] / "journal.jsonl").is_file()


def test_no_kept_text_names_a_folder_of_the_machine(kept_once: SampleRun) -> None:
    folder = kept_folder(kept_once)
    texts = {name: (folder / name).read_bytes() for name in names(folder) if not name.endswith(".png")}
    texts["table"] = (kept_once.root / "docs/results/longrun.json").read_bytes()
    root = str(kept_once.root)
    assert [name for name, text in texts.items() if root in text.decode() or MACHINE_PATH.search(text.decode())] == []
    events = read_journal(folder / "journal.jsonl")
    assert events[0]["project_root"] == "."
    assert len(events) == len(kept_once.events)


def test_git_ignores_no_kept_file(kept_once: SampleRun) -> None:
    paths = [f"docs/results/longrun/longrun-seed3/{name}" for name in names(kept_folder(kept_once))]
    answer = subprocess.run(
        ["git", "check-ignore", "--no-index", *paths], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert answer.returncode in (1, 128), answer.stdout  # 1: none is ignored; 128: no git checkout


def test_a_second_keep_changes_no_byte(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    keep(run)
    before = {name: (kept_folder(run) / name).read_bytes() for name in names(kept_folder(run))}
    assert keep(run)[0] == 0
    assert {name: (kept_folder(run) / name).read_bytes() for name in names(kept_folder(run))} == before
    assert len(entries(run)) == 1
    assert [path.name for path in kept_folder(run).parent.iterdir()] == ["longrun-seed3"], "nothing is left beside it"


def test_a_run_of_the_same_profile_and_seed_replaces_entry_and_folder_and_others_stay(tmp_path: Path) -> None:
    first, other = finished_run(tmp_path, "first"), finished_run(tmp_path, "other", seed=2)
    again = finish_run(
        add_picture(prepare_run(tmp_path, "again").train().infer(1, 0.0171, strict_mse=0.0171).evidence())
    )
    for run in (first, other, again):
        assert keep(run)[0] == 0
    assert [(one["run"], one["seed"], one["strict_mse"]) for one in entries(again)] == [
        ("other", 2, 0.0187),
        ("again", 3, 0.0171),
    ]
    assert "history/dynamics_history_first.csv" not in names(kept_folder(again))
    assert "history/dynamics_history_again.csv" in names(kept_folder(again))


def test_folder_and_table_can_be_named(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "project")
    into, table = tmp_path / "elsewhere", tmp_path / "elsewhere.json"
    code, out, _ = keep(run, "--into", into, "--json", table)
    assert code == 0
    assert (into / "longrun-seed3" / "keep.json").is_file()
    [entry] = json.loads(table.read_text(encoding="utf-8"))["entries"]
    assert entry["folder"] == "elsewhere/longrun-seed3"
    assert out.startswith(f"{into / 'longrun-seed3'}: ")


def test_a_failed_run_is_kept_with_its_verdict_and_exit_code_0(tmp_path: Path) -> None:
    run = prepare_run(tmp_path).train().infer(1, 0.0412, **{**MEASURED, "strict_mse": 0.0412})
    code, out, _ = keep(finish_run(run.evidence(), "failed"))
    assert code == 0
    assert out.splitlines()[-1].startswith("FAIL: ")
    assert (entries(run)[0]["verdict"], entries(run)[0]["strict_mse"]) == ("FAIL", 0.0412)


def test_every_judged_attempt_keeps_its_picture(tmp_path: Path) -> None:
    run = add_picture(prepare_run(tmp_path).train().infer(1, 0.0341)).retrain(0, 5e-4).infer(2, 0.0262)
    run = add_picture(add_picture(run, 2).infer(2, 0.0271, draw=2, clip_digest="b2" * 32), 2, 2)
    keep(finish_run(run.evidence()))
    pictures = [name for name in names(kept_folder(run)) if name.startswith("pictures/")]
    assert len(pictures) == 9


def test_a_run_with_another_dataset_replaces_no_run_of_the_profile(tmp_path: Path) -> None:
    keep(finished_run(tmp_path))
    other = finished_run(tmp_path, "longrun_other", options={"dataset": "PONG"})
    assert keep(other)[0] == 0
    folders = [path.name for path in kept_folder(other).parent.iterdir()]
    assert sorted(folders) == ["longrun-pong-seed3", "longrun-seed3"]
    assert [(one["run"], one.get("dataset")) for one in entries(other)] == [
        ("longrun_sample", None),
        ("longrun_other", "PONG"),
    ]


def test_a_run_on_a_checkout_keeps_the_settings_of_both(tmp_path: Path) -> None:
    run = finished_run(tmp_path, target="tinyworlds-fork")
    shutil.copytree(run.folder / "configs", run.folder / "configs" / "checkout")
    keep(run)
    settings = [name for name in names(kept_folder(run)) if name.startswith("settings/")]
    assert settings == [
        "settings/checkout/profile.yaml",
        "settings/checkout/training.yaml",
        "settings/profile.yaml",
        "settings/training.yaml",
    ]


# Runs and folders that the command refuses.


def test_what_is_missing_too_large_or_outside_is_named_with_its_reason(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "project")
    (run.root / f"docs/action/auto-training-loop-report-{STAMP}.md").unlink()
    picture = run.root / f"inference_results/inference_results_gt_vs_pred_{STAMP}_1.png"
    picture.write_bytes(picture.read_bytes().ljust(MAX_FILE_BYTES + 1, b"\0"))
    (tmp_path / "page.html").write_text("<html></html>", encoding="utf-8")
    run.add("report_written", id="A8", path=str(tmp_path / "page.html"))
    code, out, _ = keep(run)
    assert code == 0
    reasons = {
        "training-loop report (A6)": "it cannot be read: No such file or directory",
        "attempt 1: true, predicted and error, as inference drew it": "the limit for one file is 2.0 MiB",
        "the page (A8), open this first": "it lies outside the project",
    }
    readme = (kept_folder(run) / "README.md").read_text(encoding="utf-8")
    marker = json.loads((kept_folder(run) / "keep.json").read_text(encoding="utf-8"))
    assert {one["what"] for one in marker["left_out"]} == set(reasons)
    for what, reason in reasons.items():
        assert any(what in line and reason in line for line in out.splitlines()), what
        assert any(what in line and reason in line for line in readme.partition("## Left out")[2].splitlines()), what
    assert "2.0 MiB | it has" in readme, "the size has its own column"
    assert str(tmp_path) not in readme


def test_a_run_without_a_page_and_without_plots_says_so(tmp_path: Path) -> None:
    run = prepare_run(tmp_path).infer(1, 0.0187, **MEASURED).evidence(stages=()).finish()
    run.add("report_written", id="A1", path="docs/action/a.md")
    keep(run)
    readme = (kept_folder(run) / "README.md").read_text(encoding="utf-8")
    assert "| the page (A8), open this first | — | — | the run left none |" in readme
    assert "| plots of the stages' metrics (A4) | — | — | the run left none |" in readme


def test_a_history_that_is_too_large_is_kept_compressed(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    history = run.root / "Logs/dynamics_history_longrun_sample.csv"
    history.write_text("".join(f"{step},0.123456789,0.000123\n" for step in range(120_000)), encoding="utf-8")
    keep(run)
    packed = kept_folder(run) / "history/dynamics_history_longrun_sample.csv.gz"
    assert gzip.decompress(packed.read_bytes()) == history.read_bytes()
    assert "history of dynamics, a row a logged update (compressed; " in (kept_folder(run) / "README.md").read_text()


def test_a_torn_last_line_of_the_journal_is_not_kept(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    with (run.folder / "journal.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"seq": 99, "ev')
    assert keep(run)[0] == 0
    assert len(read_journal(kept_folder(run) / "journal.jsonl")) == len(run.events)
    assert "99" not in (kept_folder(run) / "journal.jsonl").read_text().splitlines()[-1][:20]


# The hash chain of the journal


def chained_run(root: Path) -> SampleRun:
    run = finished_run(root)
    rechain(run.folder, lines_of(run.folder))
    return run


def test_a_chained_journal_is_chained_anew_and_the_entry_has_the_chain_of_the_run(tmp_path: Path) -> None:
    run = chained_run(tmp_path)
    assert keep(run)[0] == 0
    own, kept = (inspect_journal(one / "journal.jsonl") for one in (run.folder, kept_folder(run)))
    assert (kept.problem, kept.chained_from, len(kept.events)) == (None, 0, len(own.events))
    [entry] = entries(run)
    assert entry["journal"]["chain"] == own.chains[own.end]
    assert entry["journal"]["lines"] == own.end < len(own.events)
    assert own.chains[own.end] in (kept_folder(run) / "README.md").read_text(encoding="utf-8")


def test_a_verdict_that_cannot_be_judged_again_is_invalid_and_that_of_an_older_version_as_recorded(
    tmp_path: Path,
) -> None:
    run = chained_run(tmp_path / "new")
    assert "\nINVALID: The recorded verdict cannot be judged again: " in keep(run)[1]
    assert entries(run)[0]["judged_again"] is False
    old = finished_run(tmp_path / "old")
    assert "\nPASS: " in keep(old)[1]
    assert entries(old)[0]["journal"]["chain"] is None
    text = (kept_folder(old) / "README.md").read_text(encoding="utf-8")
    assert "The verdict is the recorded one; its files were not judged again: " in text
    assert "The journal has no hash chain: nothing shows whether it was edited." in text


# Refusals: one sentence, exit code 2, nothing written.


def refused(run: SampleRun, *words: str | Path) -> str:
    before = names(run.root)
    code, out, err = keep(run, *words)
    assert (code, out) == (2, "")
    assert err.startswith("tinyworlds-gate: ")
    assert err.count("\n") == 1
    assert names(run.root) == before
    return err


def test_a_folder_that_is_not_a_run_is_refused(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    shutil.rmtree(run.folder)
    assert "results/longrun_sample is not a run's folder: expected <project>/results/<run>" in refused(run)


def test_a_run_without_a_journal_is_refused(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    (run.folder / "journal.jsonl").unlink()
    assert "No journal at" in refused(run)


def test_a_damaged_journal_is_refused(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    journal = run.folder / "journal.jsonl"
    journal.write_text("no event\n" + journal.read_text(encoding="utf-8"), encoding="utf-8")
    assert "is damaged in line 1" in refused(run)


def test_a_journal_that_was_changed_is_refused_with_its_line(tmp_path: Path) -> None:
    run = chained_run(tmp_path)
    lines = lines_of(run.folder)
    put_lines(run.folder, [line.replace(b"0.0187", b"0.0087") for line in lines])
    assert "does not continue its hash chain" in refused(run)
    put_lines(run.folder, lines[:-1])
    assert f"was cut after line {len(lines) - 1}" in refused(run)
    put_lines(run.folder, lines)
    (run.folder / "journal.head").unlink()
    assert "journal.head is gone" in refused(run)


def test_a_run_that_was_not_judged_is_refused(tmp_path: Path) -> None:
    run = finish_run(prepare_run(tmp_path).train(), "partial")
    assert "has no verdict of the inference gate: nothing was measured" in refused(run)


def test_a_run_whose_journal_has_no_end_is_refused(tmp_path: Path) -> None:
    run = prepare_run(tmp_path).train().infer(1, 0.0187)
    output = refused(run)
    assert "did not come to its end: it was killed between two steps; nothing was kept" in output
    assert "pytest -m longrun --resume-run results/longrun_sample" in output


def test_an_interrupted_run_is_refused_although_it_was_judged(tmp_path: Path) -> None:
    run = prepare_run(tmp_path).train().infer(1, 0.0412).retrain(0, 5e-4)
    run.add("interrupted", signal="SIGINT", reason="keyboard interrupt")
    assert "it was interrupted (SIGINT)" in refused(run.finish("interrupted"))


def test_a_run_in_progress_is_refused(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    with ProjectLock(run.root, run=run.run):
        assert f"is still going on, in PID {os.getpid()}" in refused(run)
    with ProjectLock(run.root, run="another_run"):
        assert keep(run)[0] == 0


def test_a_folder_with_files_of_somebody_else_is_refused(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    kept_folder(run).mkdir(parents=True)
    (kept_folder(run) / "notes.md").write_text("mine")
    assert "holds files and no keep.json of this command" in refused(run)
    (kept_folder(run) / "keep.json").write_text("{}")
    assert "holds files and no keep.json of this command" in refused(run)
    assert (kept_folder(run) / "notes.md").read_text() == "mine"


def test_a_file_that_somebody_put_into_a_kept_folder_is_refused(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    keep(run)
    (kept_folder(run) / "notes.md").write_text("mine")
    assert "holds notes.md, which an earlier keep did not write" in refused(run)


def test_a_place_that_is_a_file_is_refused(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    kept_folder(run).parent.mkdir(parents=True)
    kept_folder(run).write_text("a file")
    assert "is no folder, so no run can be kept there" in refused(run)


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    (run.root / "a_file").write_text("mine")
    assert "Cannot write the kept run to" in refused(run, "--into", "a_file")


def test_a_keep_that_fails_leaves_the_earlier_copy_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished_run(tmp_path)
    keep(run)

    def no_room(one: Path, other: Path) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(publish_folder, "exchange", no_room)
    assert "No space left on device" in refused(run)


@pytest.mark.parametrize("text", ["{ half", "[]", '{"entries": {}}', '{"entries": [3]}', '{"rows": []}'])
def test_a_file_that_is_not_a_table_is_refused_before_anything_is_written(tmp_path: Path, text: str) -> None:
    run = finished_run(tmp_path)
    table = run.root / "docs/results/longrun.json"
    table.parent.mkdir(parents=True)
    table.write_text(text)
    assert "is no table of kept runs" in refused(run)
    assert table.read_text() == text


@pytest.mark.parametrize(("profile", "seed"), [("../up", 3), (None, 3), ("longrun", None), ("longrun", "3")])
def test_a_journal_without_a_usable_profile_and_seed_is_refused(
    tmp_path: Path, profile: str | None, seed: object
) -> None:
    run = finished_run(tmp_path, profile=profile, seed=seed)
    assert f"has profile {profile!r} and seed {seed!r}" in refused(run)
