"""For each requirement: a run in which its row holds, and the same run with the thing itself broken.

`python -m tests.helpers.row_cases > docs/requirements.md` writes the page of requirements with both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from tests.helpers.journal_samples import STAMP
from tests.helpers.row_runs import HIGH, NOTHING_BROKEN, PAGE, Breaks, RowRun, log, measures
from tinyworlds_gate.evidence.git_audit.audit import audit
from tinyworlds_gate.evidence.metrics.analysis import analyse
from tinyworlds_gate.evidence.metrics.inputs import StageInput
from tinyworlds_gate.evidence.metrics.local import local_histories
from tinyworlds_gate.reference.training.schedule import Schedule
from tinyworlds_gate.reports.requirements import as_markdown
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.stages.chunk_artifacts import gather_evidence, pictures_in
from tinyworlds_gate.stages.retune import Retune

Change = Callable[[RowRun], None]


@dataclass(frozen=True)
class RowCase:
    """A requirement's run that holds, and the broken one; texts complete "holds when …" and "broken: …"."""

    holds: str
    broken: str
    after: Change | None = None
    """What is broken after the run was made."""
    breaks: Breaks = NOTHING_BROKEN
    """What goes wrong while the run is made."""
    whole: Breaks = NOTHING_BROKEN
    """The run in which the row holds."""
    verdict: str = "FAIL"
    held: str = "PASS"


def _set(name: str, newest: bool = True, where: dict[str, Any] | None = None, **fields: Any) -> Change:
    """Record other values in the newest (or oldest) event of a name."""

    def change(run: RowRun) -> None:
        (run.last if newest else run.first)(name, **(where or {})).update(fields)

    return change


def _drop(name: str) -> Change:
    return lambda run: run.drop(run.last(name))


def _delete(id: str, suffix: str = ".md") -> Change:
    return lambda run: run.report(id, suffix).unlink()


def _config(name: str, **values: Any) -> Breaks:
    """Set values in a file of configs/."""

    def edit(configs: Path) -> None:
        path = configs / name
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **values}))

    return Breaks(configs=edit)


def _tripled(plan: Retune) -> Retune:
    return replace(plan, params=replace(plan.params, learning_rate=plan.params.learning_rate * 3))


def _no_repository(run: RowRun) -> None:
    run.last("git_evidence").update(audit(run.root, 2025, "strict").event("git_evidence.json"))


def _no_histories(run: RowRun) -> None:
    histories = local_histories(run.root, run.run)
    for path in histories.values():
        path.unlink()
    inputs = [StageInput(stage, path) for stage, path in histories.items()]
    again = analyse(RunLayout(run.root, run.run), STAMP, "local_only", inputs)
    run.last("wandb_analysis").update(again.event(f"docs/action/wandb-analysis-{STAMP}.json"))


def _late_tokenizer(run: RowRun) -> None:
    run.first("stage_finished")["seq"] = run.last("chunk_started")["seq"]


def _untrained_actions(run: RowRun) -> None:
    for event in [one for one in run.events if one.get("stage") == "latent_actions"]:
        run.drop(event)


def _faster_retry(run: RowRun) -> None:
    retrain, chunk = run.last("dynamics_retrain"), run.last("chunk_started")
    retrain["learning_rate"] *= 3
    chunk["params"] = {**chunk["params"], "learning_rate": retrain["learning_rate"]}


def _faster_chunk(run: RowRun) -> None:
    chunk = run.last("chunk_started")
    chunk["params"] = {**chunk["params"], "learning_rate": chunk["params"]["learning_rate"] * 3}


def _channel(id: str) -> Change:
    """The newest chunk leaves nothing in a channel, as its evidence is gathered."""

    def change(run: RowRun) -> None:
        started, chunk = run.last("chunk_started"), run.last("chunk_finished")
        start, end = started["start_update"], started["end_update"]
        layout = RunLayout(run.root, run.run)
        pictures = pictures_in(layout.visualizations(chunk["stage"]))
        schedule = Schedule(started["params"]["learning_rate"], start, end)
        nothing = gather_evidence(
            layout, chunk["stage"], start_update=start, end_update=end, schedule=schedule, pictures_before=pictures
        )
        chunk["channels"] = {**chunk["channels"], id: nothing.channels[id]}

    return change


def _lost_watch(run: RowRun) -> None:
    (run.root / "Logs/monitor_4h_latest.info").write_text(
        f"run: results/{run.run}\nlog: Logs/monitor_4h_2026_11_23_09_00_00.log\n"
    )


def _one_plot_less(run: RowRun) -> None:
    (run.root / run.last("wandb_analysis")["plots"][0]).unlink()


def _cut_picture(run: RowRun) -> None:
    picture = run.root / run.last("inference_finished")["picture"]
    picture.write_bytes(picture.read_bytes()[:-20])


def _cut_page(run: RowRun) -> None:
    page = run.root / PAGE
    page.write_text(page.read_text(encoding="utf-8")[:-4000], encoding="utf-8")


STILL_THERE = [{"pid": 9, "age_s": 5.0, "cmdline": "train_dynamics.py", "signal": None, "outcome": "left alone"}]
OFF = "switched off with --enable-wandb-analysis false"
POOR = measures(mse=0.05)
OTHER = {"video_tokenizer": "a_step_9", "latent_actions": "b_step_9", "dynamics": "results/r/dynamics/dynamics_step_8"}
LADDER = Breaks(ladder=_tripled)
LADDER_TEXT = "the ladder also triples the learning rate"

ROW_CASES: dict[str, RowCase] = {
    "L1": RowCase(
        "the search before training found nothing",
        "a stale training process survives its SIGKILL",
        _set("stale_processes", ended=[{**STILL_THERE[0], "outcome": "still alive after SIGKILL"}]),
    ),
    "L2": RowCase(
        "each chunk had one launcher",
        "a second stage process runs beside the retry and is left alone",
        _set("chunk_finished", extra_launchers=STILL_THERE),
    ),
    "L3": RowCase(
        "every chunk has device samples", "a chunk has no device samples", _set("chunk_finished", device_samples=None)
    ),
    "L4": RowCase("the history was read", "the folder is no git repository", _no_repository, verdict="INVALID"),
    "L5": RowCase(
        "each stage began after the gate of the one before",
        "latent actions begin before that",
        _late_tokenizer,
    ),
    "L6": RowCase("every inference run finished", "the last inference run never ends", _drop("inference_finished")),
    "L7": RowCase("every inference run has a verdict", "the last inference run is not judged", _drop("gate_verdict")),
    "L8": RowCase(
        "the gate failed, dynamics was retrained and passed",
        "budget is left and nothing is retrained",
        breaks=Breaks(retrain=False),
    ),
    "L9": RowCase("the histories were read", "the histories are deleted", _no_histories, verdict="INVALID"),
    "L10": RowCase("all reports exist", "the train-to-inference report is deleted", _delete("A1")),
    "C1": RowCase(
        "no stage file sets a shared size",
        "`n_actions: 99` in configs/dynamics.yaml",
        breaks=_config("dynamics.yaml", n_actions=99),
    ),
    "C2": RowCase(
        "the backbone is set once",
        "`embed_dim: 999` in configs/dynamics.yaml",
        breaks=_config("dynamics.yaml", embed_dim=999),
    ),
    "C3": RowCase(
        "no stage file names a checkpoint",
        "an old checkpoint path in configs/dynamics.yaml",
        breaks=_config("dynamics.yaml", video_tokenizer_path="results/old/video_tokenizer_step_9"),
    ),
    "C4": RowCase(
        "three checkpoints of one run", "the configs have another `embed_dim`", breaks=Breaks(sizes={"embed_dim": 999})
    ),
    "P1": RowCase(
        "each chunk used the resolved values", "a chunk trains at three times the learning rate", _faster_chunk
    ),
    "P2": RowCase(
        "batch × accumulation × workers × nodes",
        "a chunk records the batch of one GPU",
        _set("chunk_started", effective_batch=4),
    ),
    "P3": RowCase(
        "configs/ and the run have the specified values",
        "the run resolved batch 15",
        breaks=Breaks(profile="baseline", batch=15),
        whole=Breaks(profile="baseline"),
    ),
    "P4": RowCase(
        "the long-run profile and the run have the specified values",
        "batch 5 in its dynamics.yaml",
        breaks=_config("profiles/longrun/dynamics.yaml", batch_size_per_gpu=5),
    ),
    "G1": RowCase("exit code 0", "inference ends with exit code 3", breaks=Breaks(inference={"exit_code": 3})),
    "G2": RowCase(
        "the log names the run's checkpoints",
        "the log names another dynamics checkpoint",
        breaks=Breaks(inference={"log": log(checkpoints=OTHER, mse=0.011)}),
    ),
    "G3": RowCase(
        "frames and statistics in the log",
        "the log ends before the statistics",
        breaks=Breaks(inference={"log": log(has_stats=False, mse=0.011)}),
    ),
    "G4": RowCase(
        "a new picture",
        "inference writes no picture",
        breaks=Breaks(inference={"picture": None, "picture_problem": "none"}),
    ),
    "G5": RowCase("an error of 0.011", "an error of 0.05", breaks=Breaks(inference={"measures": POOR})),
    "G6": RowCase(
        "97 % of the objects found",
        "half of the objects are missing",
        breaks=Breaks(inference={"measures": measures(mse=0.011, found=0.5)}),
    ),
    "G7": RowCase(
        "an error 2.4 times the own one with the context of another clip",
        "a model that ignores its context",
        breaks=Breaks(inference={"measures": measures(mse=0.011, past_ratio=1.0)}),
    ),
    "G8": RowCase(
        "skill 0.39 against the blend",
        "an error of 0.021, where the blend of last frame and context mean scores 0.02",
        breaks=Breaks(inference={"measures": measures(mse=0.021, copy_last=0.04, blend=0.02)}),
    ),
    "G9": RowCase(
        "the same as the baseline, with `--fail-on worse`",
        "worse than the baseline",
        _set("baseline_compared", verdict="WORSE", sentence="WORSE: error rose from 0.0080 to 0.0110"),
    ),
    **{
        id: RowCase(
            "low, flat losses after the retune",
            f"the last losses of {stage} are those of its failed gate",
            breaks=Breaks(losses={stage: HIGH[stage]}),
        )
        for id, stage in (("S1", "video_tokenizer"), ("S2", "latent_actions"), ("S3", "dynamics"))
    },
    "S4": RowCase(
        "each judged chunk left its artifacts", "a chunk that crashed is judged", _set("chunk_finished", exit_code=1)
    ),
    "S5": RowCase(
        "the gates used the profile's thresholds",
        "a gate uses a looser threshold",
        _set("stage_gate", thresholds={"continue_loss": 50.0}),
    ),
    "T1": RowCase("out of memory: batch 8 → 4", LADDER_TEXT, breaks=LADDER),
    "T2": RowCase("the tokenizer's gate failed: rate × 0.5", LADDER_TEXT, breaks=LADDER),
    "T3": RowCase("the gate of latent actions failed: rate × 0.8", LADDER_TEXT, breaks=LADDER),
    "T4": RowCase("the gate of dynamics failed: rate × 0.2", LADDER_TEXT, breaks=LADDER),
    "T5": RowCase("the retry trained at 5e-4 for 2000 updates", "the retry trains at 1.5e-3", _faster_retry),
    "T6": RowCase("a killed chunk was tried again unchanged", LADDER_TEXT, breaks=LADDER),
    "T7": RowCase(
        "the tokenizer's own error is 0.2: nothing was retrained",
        "dynamics is retrained with that tokenizer",
        breaks=Breaks(floor=0.2),
        whole=Breaks(floor=0.2, retrain=False),
    ),
    "M1": RowCase("new history rows", "the history does not grow", _channel("M1"), verdict="INVALID"),
    "M2": RowCase("a newer checkpoint", "no newer checkpoint appears", _channel("M2"), verdict="INVALID"),
    "M3": RowCase("a new picture of the stage", "no new picture appears", _channel("M3"), verdict="INVALID"),
    "M4": RowCase(
        "a watch saw the run working for an hour",
        "`monitor_4h_latest.info` names a log that is missing",
        _lost_watch,
        verdict="INVALID",
    ),
    "A1": RowCase("the file exists", "the file is deleted", _delete("A1")),
    "A2": RowCase("the file exists", "the file is deleted", _delete("A2")),
    "A3": RowCase("both files exist", "the JSON file is deleted", _delete("A3", ".json")),
    "A4": RowCase("all plots exist", "one plot is deleted", _one_plot_less),
    "A5": RowCase("the file exists", "the file is deleted", _delete("A5")),
    "A6": RowCase("the file exists", "the file is deleted", _delete("A6")),
    "A7": RowCase("the picture is a whole PNG", "the picture is cut off", _cut_picture),
    "A8": RowCase("the page opens with its pictures", "the page is cut off", _cut_page),
    "H1": RowCase(
        "all three stages trained", "inference runs although latent actions never trained", _untrained_actions
    ),
    "H2": RowCase(
        "the first chunks had new weights",
        "the first chunk resumes an old checkpoint",
        _set("chunk_started", newest=False, resumed_from="results/old/video_tokenizer_step_9"),
    ),
    "H3": RowCase("the gate passed", "an error of 0.05", breaks=Breaks(inference={"measures": POOR})),
    "H4": RowCase(
        "all reports exist",
        "the analysis is switched off",
        _set("wandb_analysis", verdict="NOT-RUN", reason=OFF, plots=[], json=None),
    ),
    "H5": RowCase("one launcher PID per chunk", "a chunk has no launcher", _set("chunk_finished", launcher_pid=None)),
    "H6": RowCase(
        "both GPUs worked in every chunk",
        "GPU 1 is idle in a chunk",
        _set("chunk_finished", dual_gpu_ok=False, dual_gpu_reason="GPU 1 was idle"),
    ),
    "H7": RowCase(
        "each chunk began where the one before ended",
        "the retry begins at update 0",
        _set("chunk_started", start_update=0, resumed_from=None),
    ),
    "H8": RowCase(
        "batch 2 → 1 is marked degraded with its cause",
        "batch 2 → 1 is not marked",
        _set("stage_finished", newest=False, degraded=False),
        breaks=Breaks(batch=2),
        whole=Breaks(batch=2),
        held="DEGRADED",
    ),
    "H9": RowCase(
        "each retune states the effective batch",
        "a retune does not state the effective batch",
        _set("retune", effective_batch=[]),
    ),
}


def row_texts() -> dict[str, tuple[str, str, str, str]]:
    """Requirement → (verdict, run that holds, verdict, broken run), for the page."""
    return {id: (case.held, case.holds, case.verdict, case.broken) for id, case in ROW_CASES.items()}


if __name__ == "__main__":
    print(as_markdown(row_texts()), end="")
