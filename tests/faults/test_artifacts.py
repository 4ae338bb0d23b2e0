"""Checkpoints and histories that cannot be trusted: the rows of rows_artifacts.py.

pytest tests/faults/test_artifacts.py
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import BeginScene
from tests.faults.runs import faulty_project, reports_of
from tests.helpers.checkpoint_files import copy_foreign, optimizer_state, rewrite_pickle, write_ours
from tests.helpers.fake_stages import RUN, FakeProject
from tests.helpers.small_models import SMALL
from tests.helpers.tiny_project import make_project, no_checkpoint_in, run_pytest
from tests.hostile_files import pickles
from tinyworlds_gate.checkpoints.read import read_model_state
from tinyworlds_gate.checkpoints.write import write_checkpoint
from tinyworlds_gate.loop.stage_controller import StageController
from tinyworlds_gate.targets.embedded import embedded_target

STAGE = "video_tokenizer"
UPDATES, GOOD, BAD = 8, 5, 6
CANARY = "executed"


class Runs:
    """Pickles as a call of ``os.system``, which leaves the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch '{self.canary}'",)


def ours(stock: Path) -> Path:
    return write_ours(stock, STAGE, BAD, manifest={"run": RUN}).path


def theirs(stock: Path) -> Path:
    return copy_foreign(stock, STAGE, BAD)


def of_that_step(folder: Path) -> Path:
    """A TinyWorlds checkpoint whose state says the step of its name."""
    import torch

    torch.save({"step": BAD, "config": {}}, folder / "state.pt")
    return folder


def cut(folder: Path, size: int | None = None) -> None:
    model = folder / "model_state_dict.pt"
    content = model.read_bytes()
    model.write_bytes(content[: len(content) // 2 if size is None else size])


def truncated(stock: Path) -> None:
    cut(ours(stock))


def truncated_of_theirs(stock: Path) -> None:
    cut(of_that_step(theirs(stock)))


def empty(stock: Path) -> None:
    import torch

    torch.save({}, of_that_step(theirs(stock)) / "model_state_dict.pt")


def of_900_bytes(stock: Path) -> None:
    cut(ours(stock), 900)


def of_900_bytes_of_theirs(stock: Path) -> None:
    cut(of_that_step(theirs(stock)), 900)


def without_optimizer(stock: Path) -> None:
    (ours(stock) / "optim_state_dict.pt").unlink()


def with_nan(stock: Path) -> None:
    import torch

    weights = read_model_state(write_ours(stock.parent, STAGE, BAD).path, mmap=False)
    next(value for value in weights.values() if value.is_floating_point()).view(-1)[0] = torch.nan
    write_checkpoint(
        stock, STAGE, BAD, model_state=weights, optim_state=optimizer_state(), state={}, manifest={"run": RUN}
    )


def of_another_step(stock: Path) -> None:
    write_ours(stock, STAGE, 2, manifest={"run": RUN}).path.rename(stock / f"{STAGE}_step_{BAD}")


def of_another_step_of_theirs(stock: Path) -> None:
    theirs(stock)  # its state says 1099


def of_another_stage(stock: Path) -> None:
    write_ours(stock, "latent_actions", BAD, manifest={"run": RUN}).path.rename(stock / f"{STAGE}_step_{BAD}")


def of_another_run(stock: Path) -> None:
    write_ours(stock, STAGE, BAD, manifest={"run": "run_0"})


def of_another_config(stock: Path) -> None:
    import torch

    from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer

    folder = of_that_step(theirs(stock))
    torch.save(VideoTokenizer(SMALL).state_dict(), folder / "model_state_dict.pt")


def hostile_state(stock: Path) -> None:
    import torch

    torch.save({"step": BAD, "config": Runs(stock / CANARY)}, theirs(stock) / "state.pt")


def hostile_weights(stock: Path) -> None:
    import torch

    torch.save({"weight": Runs(stock / CANARY)}, of_that_step(theirs(stock)) / "model_state_dict.pt")


def hostile_state_with_a_forged_manifest(stock: Path) -> None:
    import torch

    folder = ours(stock)
    torch.save({"step": BAD, "config": Runs(stock / CANARY)}, folder / "state.pt")
    sign(folder)


def sign(folder: Path) -> None:
    """Make the manifest fit a changed state.pt."""
    manifest = json.loads((folder / "manifest.json").read_text())
    data = (folder / "state.pt").read_bytes()
    manifest["files"]["state.pt"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def crashing_weights(stock: Path) -> None:
    """Tuples inside tuples, whose hash needs more stack than there is."""
    key = pickles.positions(b")" + b"\x85" * 100_000)["model_state_dict.pt"][1][1]
    rewrite_pickle(of_that_step(theirs(stock)) / "model_state_dict.pt", lambda _: key)


def hanging_state(stock: Path) -> None:
    """Tuples that share their parts, whose hash takes for ever, under a manifest that fits."""
    folder = ours(stock)
    rewrite_pickle(folder / "state.pt", lambda _: pickles.positions(b")" + b"2\x86" * 200)["state.pt"][2][1])
    sign(folder)


@pytest.mark.requirement("S4", "H7", "T1", "C4")
@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        pytest.param(truncated, "it is truncated or replaced", marks=pytest.mark.fault("truncated-checkpoint")),
        pytest.param(truncated_of_theirs, "is no whole torch file", marks=pytest.mark.fault("truncated-checkpoint")),
        pytest.param(empty, "an empty state dictionary", marks=pytest.mark.fault("empty-state-checkpoint")),
        pytest.param(of_900_bytes, "has 900 bytes; manifest.json", marks=pytest.mark.fault("900-byte-checkpoint")),
        pytest.param(
            of_900_bytes_of_theirs,
            "is no whole torch file (900 bytes)",
            marks=pytest.mark.fault("900-byte-checkpoint"),
        ),
        pytest.param(
            without_optimizer, "has no optim_state_dict.pt", marks=pytest.mark.fault("checkpoint-without-optimizer")
        ),
        pytest.param(with_nan, "values that are not finite", marks=pytest.mark.fault("nan-weights-checkpoint")),
        pytest.param(
            of_another_step,
            "step 2; the folder was renamed or swapped",
            marks=pytest.mark.fault("wrong-step-checkpoint"),
        ),
        pytest.param(
            of_another_step_of_theirs,
            "is of step 1099, but the folder's name says 6",
            marks=pytest.mark.fault("wrong-step-checkpoint"),
        ),
        pytest.param(
            of_another_stage, "says latent_actions step 6; the folder", marks=pytest.mark.fault("swapped-checkpoint")
        ),
        pytest.param(
            of_another_run,
            f"was written by run run_0, not by {RUN}; only checkpoints of this run are continued",
            marks=pytest.mark.fault("foreign-run-checkpoint"),
        ),
        pytest.param(
            of_another_config,
            "it was trained with another configuration",
            marks=pytest.mark.fault("foreign-config-checkpoint"),
        ),
        pytest.param(hostile_state, "Nothing was executed", marks=pytest.mark.fault("hostile-checkpoint")),
        pytest.param(hostile_weights, "Nothing was executed", marks=pytest.mark.fault("hostile-checkpoint")),
        pytest.param(crashing_weights, "more than 64 deep", marks=pytest.mark.fault("crashing-checkpoint")),
        pytest.param(hanging_state, "shared ones counted each", marks=pytest.mark.fault("crashing-checkpoint")),
        pytest.param(
            hostile_state_with_a_forged_manifest,
            "Nothing was executed",
            marks=pytest.mark.fault("hostile-checkpoint"),
        ),
    ],
)
def test_the_newest_valid_checkpoint_is_used_where_a_newer_one_cannot_be_trusted(
    tmp_path: Path, scene: BeginScene, damaged: Callable[[Path], None], reason: str
) -> None:
    project = faulty_project(tmp_path, STAGE, scene, steps=[3, GOOD, UPDATES - 1])
    damaged(project.scripts / "stock")
    went_on_from_update_5(project, reason)
    assert not (project.scripts / "stock" / CANARY).exists()


def went_on_from_update_5(project: FakeProject, reason: str) -> None:
    """Trains two chunks; the second dies once it has saved updates 5 and 6, and 6 is refused with ``reason``."""
    project.plan(STAGE, {}, {"save_at": [GOOD, BAD], "die_at": 7, "last_words": "the stage dies"})
    assert StageController(project.context, STAGE, {}).train(UPDATES).verdict == "PASS"

    failed = project.events("chunk_finished")[1]
    assert failed["continue_from"]["path"].endswith(f"{STAGE}_step_{GOOD}")
    (refused,) = failed["refused"]
    assert reason in refused["reason"]
    assert [life.get("checkpoint", "").rpartition("/")[2] for life in project.lives(STAGE)] == [
        "",
        f"{STAGE}_step_3",
        f"{STAGE}_step_{GOOD}",
    ]
    assert [event["id"] for event in project.events("retune")] == ["T1"]
    assert any("was refused" in sentence and reason in sentence for sentence in project.said)

    folder = project.context.layout.checkpoints(STAGE)
    assert (folder / f".superseded-{STAGE}_step_{BAD}-1").exists(), "what is refused is kept under another name"
    reports = reports_of(project.context.layout)
    refusal = reports["A6"].partition("Refused as the start of the next try: ")[2]
    assert refusal.startswith(f"results/{RUN}/{STAGE}/checkpoints/{STAGE}_step_{BAD}: ")
    assert reason in refusal.partition("The next try starts from")[0]
    assert f"The next try starts from [results/{RUN}/{STAGE}/checkpoints/{STAGE}_step_{GOOD}]" in reports["A6"]
    assert "T1: runtime_error: it exited with code 1" in reports["A5"]


@pytest.mark.fault("foreign-run-checkpoint")
@pytest.mark.requirement("S4")
def test_a_link_to_a_checkpoint_outside_is_not_of_this_run(tmp_path: Path, scene: BeginScene) -> None:
    project = faulty_project(tmp_path, STAGE, scene, steps=[3, GOOD, UPDATES - 1])
    outside = write_ours(tmp_path / "outside", STAGE, BAD, manifest={"run": RUN}).path
    link = project.context.layout.checkpoint(STAGE, BAD)

    say = project.context.say

    def link_when_the_chunk_has_failed(sentence: str) -> None:
        say(sentence)
        if "chunk 2 does not count" in sentence:
            link.symlink_to(outside)

    project.context.say = link_when_the_chunk_has_failed
    project.plan(STAGE, {}, {"save_at": GOOD, "die_at": 7, "last_words": "the stage dies"})
    assert StageController(project.context, STAGE, {}).train(UPDATES).verdict == "PASS"
    (refused,) = project.events("chunk_finished")[1]["refused"]
    assert f"is a link to {outside}, which is no folder of run {RUN}" in refused["reason"]
    assert project.lives(STAGE)[2]["checkpoint"].endswith(f"{STAGE}_step_{GOOD}")
    assert f"is a link to {outside}" in reports_of(project.context.layout)["A6"]


@pytest.mark.fault("swapped-checkpoint")
@pytest.mark.requirement("S4")
def test_a_folder_of_another_stage_in_the_stage_s_folder_is_named(tmp_path: Path, scene: BeginScene) -> None:
    project = faulty_project(tmp_path, STAGE, scene, steps=[3, GOOD, UPDATES - 1])
    write_ours(project.context.layout.checkpoints(STAGE), "latent_actions", BAD, manifest={"run": RUN})
    project.plan(STAGE, {}, {"save_at": GOOD, "die_at": 7, "last_words": "the stage dies"})
    assert StageController(project.context, STAGE, {}).train(UPDATES).verdict == "PASS"
    (refused,) = project.events("chunk_finished")[1]["refused"]
    assert refused["reason"].endswith(f"in a folder of {STAGE}; the folder was swapped")
    assert "the folder was swapped" in reports_of(project.context.layout)["A6"]


@pytest.mark.fault("hostile-checkpoint-given")
@pytest.mark.requirement("S4", "C4")
@pytest.mark.parametrize("words", [["--train-stage", "video_tokenizer"], ["--train-stage", "none"]], ids=lambda w: w[1])
def test_a_hostile_checkpoint_that_a_person_gives_runs_nothing(
    tmp_path: Path, scene: BeginScene, words: list[str]
) -> None:
    project = make_project(tmp_path / "project")
    scene(project, embedded_target(project, Path("configs/profiles/smoke")).stage_script(STAGE))
    hostile_state(tmp_path)
    given = tmp_path / f"{STAGE}_step_{BAD}"
    options = ["--video-checkpoint", str(given)]
    if words[1] == "none":
        options += ["--latent-checkpoint", str(given), "--dynamics-checkpoint", str(given)]
    session = run_pytest(project, "validation", "-m", "smoke", *words, *options)
    assert session.exit_status in (1, 4), session.output
    assert f"{given}/state.pt is refused: its pickle names posix.system" in " ".join(session.output.split())
    assert "Nothing was executed" in session.output
    assert "Traceback" not in session.output
    assert not (tmp_path / CANARY).exists()
    assert no_checkpoint_in(project)


@pytest.mark.fault("history-torn")
@pytest.mark.requirement("M1", "H7", "T6")
def test_a_torn_row_is_dropped_and_each_update_stands_once_in_the_end(tmp_path: Path, scene: BeginScene) -> None:
    project = faulty_project(tmp_path, STAGE, scene, steps=[3, GOOD, UPDATES - 1])
    project.plan(STAGE, {}, {"save_at": GOOD, "kill_at": BAD, "tear": 9})
    history = project.context.layout.history(STAGE)
    seen: dict[str, str] = {}
    say = project.context.say

    def look(sentence: str) -> None:
        if "chunk 2 does not count" in sentence:
            seen["history"] = history.read_text()
        say(sentence)

    project.context.say = look
    assert StageController(project.context, STAGE, {}).train(UPDATES).verdict == "PASS"
    torn = seen["history"].rpartition("\n")[2]
    assert torn.startswith(f"{BAD},")
    assert torn.count(",") < 8
    failed = project.events("chunk_finished")[1]
    assert (failed["cause"], failed["history_rows"]) == ("killed", 2)
    assert project.lives(STAGE)[2]["checkpoint"].endswith(f"{STAGE}_step_{GOOD}")
    assert [event["id"] for event in project.events("retune")] == ["T6"]

    with history.open(newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    assert [row["_step"] for row in rows] == [str(update) for update in range(UPDATES)]
    assert all(None not in row.values() for row in rows)
    assert project.events("chunk_finished")[2]["channels"]["M1"]["verdict"] == "PASS"
    report = reports_of(project.context.layout)["A6"]
    assert "Missing or wrong: the history lacks 2 of the updates 4 to 7, the first is 6." in report
    assert "PASS PASS PASS" in report


def test_the_canary_would_sing_in_a_plain_unpickler(tmp_path: Path) -> None:
    import torch

    hostile_state(tmp_path)
    torch.load(tmp_path / f"{STAGE}_step_{BAD}" / "state.pt", weights_only=False)
    assert (tmp_path / CANARY).exists()
    shutil.rmtree(tmp_path / f"{STAGE}_step_{BAD}")
