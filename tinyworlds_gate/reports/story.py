"""The sentences of the retrospective (A5): what happened, what was changed, did it help, what next, what is at risk."""

from __future__ import annotations

from dataclasses import dataclass

from tinyworlds_gate.reports.causes import causes_first
from tinyworlds_gate.reports.checkout_views import chunk_notes
from tinyworlds_gate.reports.markdown import number
from tinyworlds_gate.reports.model import Attempt, Chunk, RunRecord
from tinyworlds_gate.reports.verdict_picture.captions import mse_text
from tinyworlds_gate.reports.views import cause_text, changes_text, dual_gpu_text
from tinyworlds_gate.run.attempts import attempt_of
from tinyworlds_gate.run.journal import events_of

NOT_STRICT = (
    "This is a teacher-forced result, not a strict one: every step started from true frames, "
    "so errors could not add up."
)


MOST_CAUSES = 5
FOLLOW_FROM_THE_MSE = ("G5", "L7", "L8", "H3")


@dataclass(frozen=True)
class Change:
    """One retune or retraining: where, why, what changed, and what came of it."""

    where: str
    why: str
    change: str
    effect: str


def happened(record: RunRecord) -> list[str]:
    """The run in order, a sentence a step."""
    lines = []
    if record.dataset:
        data = record.dataset
        lines.append(
            f"Data: {data.get('name')}, {number(data.get('train_episodes'))} episodes to train on and "
            f"{number(data.get('held_out_episodes'))} held out for the gate."
        )
    failed = [check for check in record.config_checks if check.get("verdict") != "PASS"]
    lines += [f"Config check {check.get('id')} said {check.get('verdict')}: {check.get('reason')}" for check in failed]
    if record.ended_processes:
        lines.append(f"{len(record.ended_processes)} left-over or extra training process(es) were ended.")
    lines += [f"Settings: {event.get('sentence')}" for event in events_of(record.events, "settings_edited")]
    if not record.chunks:
        lines.append("Nothing was trained in this run.")
    for stage in dict.fromkeys(chunk.stage for chunk in record.chunks):
        lines.append(_stage_sentence(record, stage))
    lines += chunk_notes(record)
    if not record.attempts:
        lines.append("The inference gate was not reached.")
    for attempt in record.attempts:
        lines += [
            f"Inference {attempt.name}: {event.get('reason')}."
            for event in events_of(record.events, "inference_retry")
            if attempt_of(event) == (attempt.number, attempt.draw)
        ]
        sentence = (attempt.verdict or {}).get("sentence") or "it was not judged."
        lines.append(f"Inference {attempt.name}: {(attempt.verdict or {}).get('verdict', 'INVALID')}. {sentence}")
        if (attempt.verdict or {}).get("disagreement"):
            lines.append(str((attempt.verdict or {})["disagreement"]))
        if attempt.is_final:
            lines.append(_two_verdicts(record, attempt))
        lines += [
            f"On resume: {event.get('sentence')}."
            for event in events_of(record.events, "verdict_expired")
            if attempt_of(event) == (attempt.number, attempt.draw)
        ]
    if record.teacher_forced:
        lines.append(NOT_STRICT)
    for stage, cause in record.degraded_stages.items():
        lines.append(f"The run is degraded: {stage} had to fall to a batch of 1 per GPU. The cause: {cause}.")
    if record.finished is None:
        lines.append(record.verdict()[1])
    return lines


def _two_verdicts(record: RunRecord, final: Attempt) -> str:
    """Both verdicts of a run with a final one, and which one counts."""
    first = next(one for one in record.attempts if one.number == final.number)
    told = [
        f"{(one.verdict or {}).get('verdict', 'no verdict')}, MSE {mse_text(one.measures.get('mse'))}"
        for one in (first, final)
    ]
    if final.on_evaluation_set:
        return (
            f"Attempt {final.number} passed on held-out clips of the training data, so the run's verdict is the one on "
            f"the fixed evaluation set, which no training and no retry has seen: {told[1]} (on the clips of the "
            f"attempts: {told[0]})."
        )
    return (
        f"The run retrained until attempt {final.number} passed, so its verdict is the one on a second draw of clips, "
        f"in episodes that no attempt has measured: {told[1]} (on the clips of the attempts: {told[0]})."
    )


def _stage_sentence(record: RunRecord, stage: str) -> str:
    chunks = [chunk for chunk in record.chunks if chunk.stage == stage]
    done = record.stages.get(stage)
    text = f"Stage {stage}: {len(chunks)} chunk{'s' if len(chunks) > 1 else ''}"
    if done is not None:
        return f"{text}, {number(done.get('updates'))} updates, {done.get('verdict')}. {done.get('reason')}"
    return f"{text}; the last one {cause_text(chunks[-1].finished)}, and the stage was not concluded."


def changes(record: RunRecord) -> list[Change]:
    """Every retune and every retraining of dynamics, with what the next chunk or attempt showed (H9)."""
    rows = []
    for chunk in record.retunes:
        event = chunk.retune or {}
        why = f"{event.get('id')}: {event.get('cause')}"
        rows.append(
            Change(f"{chunk.stage}, chunk {chunk.number}", why, changes_text(event), _effect_of_retune(record, chunk))
        )
    for before, attempt in zip(record.attempts, record.attempts[1:], strict=False):
        if attempt.retrain is None:
            continue
        event = attempt.retrain
        change = (
            f"dynamics trained on from update {number(event.get('from_update'))} to {number(event.get('to_update'))} "
            f"at learning rate {number(event.get('learning_rate'))}"
        )
        effect = _effect_on_mse(before.measures.get("mse"), attempt.measures.get("mse"))
        verdict = (attempt.verdict or {}).get("verdict", "not judged")
        where = f"before inference attempt {attempt.number}"
        rows.append(Change(where, f"T5: {event.get('reason')}", change, f"{effect} The gate then said {verdict}."))
    return rows


def _effect_of_retune(record: RunRecord, chunk: Chunk) -> str:
    later = [other for other in record.chunks[record.chunks.index(chunk) + 1 :] if other.stage == chunk.stage]
    if not later:
        return "Unknown: no chunk of this stage followed."
    after = later[0]
    if after.gate is not None:
        loss = number((after.finished or {}).get("final_loss"))
        helped = {"continue": "It helped", "watch": "It helped in part"}.get(
            str(after.gate.get("decision")), "It did not help"
        )
        return (
            f"{helped}: the gate of chunk {after.number} said {after.gate.get('decision')} at a final loss of {loss}."
        )
    return f"It did not help: chunk {after.number} {cause_text(after.finished)}."


def _effect_on_mse(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return "Unknown: one of the two attempts has no MSE."
    word = "It helped" if after < before else "It did not help"
    return f"{word}: MSE {mse_text(before)} → {mse_text(after)}."


def next_steps(record: RunRecord) -> list[str]:
    """What a person should do next, the most useful step first."""
    verdict, _ = record.verdict()
    measures, limit = record.measures, record.max_mse
    floor, mse, skill = measures.get("tokenizer_recon_mse"), measures.get("mse"), measures.get("skill")
    if record.status in ("interrupted", "unfinished"):
        return [
            f"Go on with it: pytest -m {record.started.get('kind')} --resume-run results/{record.folder.name}. This "
            "record holds no verdict on the model. "
            "The last lines of the newest log under the run's folder say where it stood."
        ]
    steps = []
    if verdict == "FAIL" and floor is not None and limit is not None and floor > limit:
        steps.append(
            f"Improve the video tokenizer first: its own error {mse_text(floor)} is above the limit {number(limit)}, "
            "so no dynamics can pass on it. Then retrain latent actions and dynamics on the new tokenizer."
        )
    elif verdict == "FAIL" and mse is not None and limit is not None and mse > limit:
        steps.append(
            "Train dynamics longer (--target-updates, --retry-chunk or --max-inference-retries): "
            f"the tokenizer's floor {mse_text(floor)} leaves room under the limit {number(limit)}."
        )
    open_rows = [row for row in record.requirements() if row.verdict in ("FAIL", "INVALID")]
    open_rows = [row for row in open_rows if row.id not in FOLLOW_FROM_THE_MSE]
    if verdict != "PASS" and open_rows:
        steps += [
            f"Mend {id}: {reason}" + (f" With it {', '.join(after)} should hold again." if after else "")
            for (id, reason), after in causes_first([(row.id, row.reason) for row in open_rows])[:MOST_CAUSES]
        ]
        steps.append("The requirement table of the main report shows all that did not hold, with its evidence.")
    broken = [chunk for chunk in record.chunks if (chunk.finished or {}).get("cause") not in (None, "ok")]
    failed = broken[-1] if broken else None
    if verdict in ("FAIL", "INVALID") and failed is not None:
        steps.append(
            f"Read the log of chunk {failed.number} ({failed.started.get('log')}): it {cause_text(failed.finished)}."
        )
    if record.degraded_stages:
        steps.append("Give the degraded stage more GPU memory (a larger or a freer GPU) and run again for a full pass.")
    if record.teacher_forced:
        steps.append(
            "Run the gate again without --teacher-forced: only a strict result tells how far the model can dream."
        )
    if skill is not None and skill <= 0:
        steps.append("Train longer before using the model: so far copying the last frame is as good or better.")
    if not steps and verdict not in ("PASS", "DEGRADED"):
        steps.append("Mend what the verdict sentence names, then start the same command again.")
    if not steps:
        steps.append(f"Nothing has to be mended. {_further(record)}")
    return steps


def _further(record: RunRecord) -> str:
    if record.started.get("kind") != "longrun":
        return "For a stronger statement run the long profile: pytest -m longrun."
    return (
        "Another --seed shows how much of it was chance; this keeps its evidence for a commit: "
        f"tinyworlds-gate keep results/{record.folder.name}."
    )


def risks(record: RunRecord) -> list[str]:
    """What the verdict does not cover, or only just."""
    m, limit = record.measures, record.max_mse
    lines = []
    if not m:
        lines.append("Nothing is known about the model's quality: no attempt was judged.")
    high, skill = m.get("mse_high"), m.get("skill")
    if high is not None and limit is not None and high > limit:
        lines.append(
            f"The upper end of the 95 % interval, {mse_text(high)}, is above the limit {number(limit)}: another draw "
            "of clips may fail."
        )
    if skill is not None and skill <= 0:
        lines.append(f"Skill is {number(skill)}: the model is not better than copying the last frame.")
    if m.get("delta_psnr_db") is not None and m["delta_psnr_db"] <= 0:
        lines.append(
            f"Right actions are not better than random ones (ΔPSNR {number(m['delta_psnr_db'])} dB): "
            "the model is not controllable."
        )
    if m.get("action_codes_used") is not None and m["action_codes_used"] < 2:
        lines.append(f"Only {number(m['action_codes_used'])} action code is in use.")
    if record.teacher_forced:
        lines.append(NOT_STRICT)
    watched = [chunk.number for chunk in record.chunks if (chunk.gate or {}).get("decision") == "watch"]
    if watched:
        lines.append(f"The stage gate only said `watch` for chunk {', '.join(map(str, watched))}.")
    if record.chunks and all(dual_gpu_text(chunk.finished) != "True" for chunk in record.chunks):
        reason = next((c.finished.get("dual_gpu_reason") for c in record.chunks if c.finished), None)
        lines.append(f"Work on two GPUs was not shown: {reason or 'no chunk finished'}.")
    missing = [row.id for row in record.requirements() if row.verdict == "NOT-RUN"]
    if missing:
        names = ", ".join(missing) if len(missing) <= 8 else f"{len(missing)} requirements of the table"
        lines.append(f"Not run: {names}.")
    if record.started.get("dirty"):
        lines.append("The source tree had changes that were not committed, so this run cannot be repeated exactly.")
    if record.started.get("kind") == "smoke":
        lines.append(
            "This is a smoke run: it shows that the loop works, on short clips. It does not show a good model."
        )
    return lines
