"""Sentences of the retrospective (A5): events, changes with their effect, next steps and risks."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from tinyworlds_gate.config.requested import inference_requested, scope
from tinyworlds_gate.gate.verdict_words import verdict_word, without_word
from tinyworlds_gate.reports.causes import causes_first
from tinyworlds_gate.reports.checkout_views import chunk_notes
from tinyworlds_gate.reports.effective_time import effective_time, effective_time_text
from tinyworlds_gate.reports.markdown import clean, number
from tinyworlds_gate.reports.model import Attempt, Chunk, RunRecord
from tinyworlds_gate.reports.verdict_picture.captions import mse_text
from tinyworlds_gate.reports.views import cause_text, changes_text, dual_gpu_text
from tinyworlds_gate.run.attempts import attempt_of
from tinyworlds_gate.run.installation import loop_command, resume_command
from tinyworlds_gate.run.journal import Event, events_of

MOST_CAUSES = 5
FOLLOW_FROM_THE_MSE = ("G5", "L7", "L8", "H3")


@dataclass(frozen=True)
class Change:
    """One retune or retraining: where, why, what changed, and its effect."""

    where: str
    why: str
    change: str
    effect: str


def happened(record: RunRecord) -> list[str]:
    """Return the run in order, one sentence per step."""
    lines = []
    if record.dataset:
        data = record.dataset
        lines.append(
            f"Data: {data.get('name')}, {number(data.get('train_episodes'))} episodes to train on and "
            f"{number(data.get('held_out_episodes'))} held out for the gate."
        )
    failed = [check for check in record.config_checks if check.get("verdict") != "PASS"]
    lines += [f"Config check {check.get('id')}: {check.get('verdict')}. {check.get('reason')}" for check in failed]
    if record.ended_processes:
        lines.append(f"{len(record.ended_processes)} left-over or extra training process(es) were ended.")
    lines += [f"Settings: {event.get('sentence')}" for event in events_of(record.events, "settings_edited")]
    if not record.chunks:
        lines.append("Nothing was trained in this run.")
    for stage in dict.fromkeys(chunk.stage for chunk in record.chunks):
        lines.append(_stage_sentence(record, stage))
    effective = effective_time_text(effective_time(record.events))
    lines += [f"Effective training time: {effective}."] if effective else []
    lines += chunk_notes(record)
    if not record.attempts and inference_requested(record.options):
        lines.append("The inference gate was not reached.")
    elif not record.attempts:
        lines.append(f"The inference gate was not requested ({scope(record.options)}).")
    retries, expired = (_by_attempt(record, name) for name in ("inference_retry", "verdict_expired"))
    for attempt in record.attempts:
        key = (attempt.number, attempt.draw)
        lines += [f"Inference {attempt.name}: {event.get('reason')}." for event in retries[key]]
        sentence = str((attempt.verdict or {}).get("sentence") or "The attempt has no verdict.")
        word = verdict_word(attempt.verdict) if attempt.verdict else "INVALID"
        lines.append(f"Inference {attempt.name}: {word}: {without_word(sentence)}")
        if (attempt.verdict or {}).get("disagreement"):
            lines.append(str((attempt.verdict or {})["disagreement"]))
        if attempt.is_final:
            lines.append(_two_verdicts(record, attempt))
        lines += [f"On resume: {event.get('sentence')}." for event in expired[key]]
    if record.not_strict:
        lines.append(record.not_strict)
    for stage, cause in record.degraded_stages.items():
        lines.append(f"The run is degraded: {stage} had to fall to a batch of 1 per GPU. The cause: {cause}.")
    if record.finished is None:
        lines.append(record.verdict()[1])
    return lines


def _by_attempt(record: RunRecord, name: str) -> defaultdict[tuple[int, int], list[Event]]:
    found = defaultdict[tuple[int, int], list[Event]](list)
    for event in events_of(record.events, name):
        found[attempt_of(event)].append(event)
    return found


def _two_verdicts(record: RunRecord, final: Attempt) -> str:
    """Return a sentence with the last attempt's verdict, the final one, and which of them counts."""
    first = next(one for one in record.attempts if one.number == final.number)
    shown = [
        f"{verdict_word(one.verdict) if one.verdict else 'no verdict'}, MSE {mse_text(one.measures.get('mse'))}"
        for one in (first, final)
    ]
    if final.on_evaluation_set:
        return (
            f"Attempt {final.number} passed on held-out clips of the training data. The run's verdict is the one on "
            f"the fixed evaluation set, which no training and no retry has seen: {shown[1]} (on the attempts' clips: "
            f"{shown[0]})."
        )
    return (
        f"The run retrained until attempt {final.number} passed. Its verdict is the one on a second draw of clips, in "
        f"episodes that no attempt has measured: {shown[1]} (on the attempts' clips: {shown[0]})."
    )


def _stage_sentence(record: RunRecord, stage: str) -> str:
    chunks = [chunk for chunk in record.chunks if chunk.stage == stage]
    done = record.stages.get(stage)
    text = f"Stage {stage}: {len(chunks)} chunk{'s' if len(chunks) > 1 else ''}"
    if done is not None:
        return f"{text}, {number(done.get('updates'))} updates, {done.get('verdict')}. {done.get('reason')}"
    return f"{text}; the last one {cause_text(chunks[-1].finished)}, and the stage did not complete."


def changes(record: RunRecord) -> list[Change]:
    """Return every retune and every retraining of dynamics with its effect on the next chunk or attempt (H9)."""
    rows = []
    following, newest = dict[int, Chunk | None](), dict[str, Chunk]()  # per chunk, the next one of its stage
    for chunk in reversed(record.chunks):
        following[id(chunk)], newest[chunk.stage] = newest.get(chunk.stage), chunk
    for chunk in record.retunes:
        event = chunk.retune or {}
        why = f"{event.get('id')}: {event.get('cause')}"
        effect = _effect_of_retune(following[id(chunk)])
        rows.append(Change(f"{chunk.stage}, chunk {chunk.number}", why, changes_text(event), effect))
    for before, attempt in zip(record.attempts, record.attempts[1:], strict=False):
        if attempt.retrain is None:
            continue
        event = attempt.retrain
        change = (
            f"dynamics continued from update {number(event.get('from_update'))} to {number(event.get('to_update'))} "
            f"at learning rate {number(event.get('learning_rate'))}"
        )
        effect = _effect_on_mse(before.measures.get("mse"), attempt.measures.get("mse"))
        verdict = verdict_word(attempt.verdict) if attempt.verdict else "none"
        where = f"before inference attempt {attempt.number}"
        rows.append(Change(where, f"T5: {event.get('reason')}", change, f"{effect} The next verdict: {verdict}."))
    return rows


def _effect_of_retune(after: Chunk | None) -> str:
    if after is None:
        return "Unknown: no chunk of this stage followed."
    if after.gate is not None:
        loss = number((after.finished or {}).get("final_loss"))
        decision = str(after.gate.get("decision"))
        helped = {"continue": "It helped", "watch": "It helped in part"}.get(decision, "It did not help")
        return f"{helped}: the gate decision of chunk {after.number} is {decision}, final loss {loss}."
    return f"It did not help: chunk {after.number} {cause_text(after.finished)}."


def _effect_on_mse(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return "Unknown: one of the two attempts has no MSE."
    shown = f"MSE {mse_text(before)} → {mse_text(after)} ({_signed(after - before)})"
    if mse_text(before) == mse_text(after):
        return f"No visible effect: {shown}."
    return f"{'It helped' if after < before else 'It did not help'}: {shown}."


def _signed(change: float) -> str:
    return f"{change:+.2g}".replace("-", "−")


def next_steps(record: RunRecord) -> list[str]:
    """Return what to do next, the most useful step first."""
    verdict, _ = record.verdict()
    measures, limit = record.measures, record.max_mse
    floor, mse, skill = measures.get("tokenizer_recon_mse"), measures.get("mse"), measures.get("skill")
    if record.status in ("interrupted", "unfinished"):
        kind = str(record.started.get("kind"))
        return [
            f"Resume it: {clean(resume_command(kind, record.folder.name, record.started.get('options')))}. "
            "It has no verdict on the model yet. The newest log in the run's folder shows where it stopped."
        ]
    steps = []
    if verdict == "FAIL" and floor is not None and limit is not None and floor > limit:
        steps.append(
            f"Improve the video tokenizer first: its reconstruction error {mse_text(floor)} is above the limit "
            f"{number(limit)}, so no dynamics model can pass with it. Then retrain latent actions and dynamics on the "
            "new tokenizer."
        )
    elif verdict == "FAIL" and mse is not None and limit is not None and mse > limit:
        steps.append(
            "Train dynamics longer (--target-updates, --retry-chunk or --max-inference-retries): "
            f"the tokenizer's reconstruction error {mse_text(floor)} is within the limit {number(limit)}."
        )
    open_rows = [row for row in record.requirements() if row.verdict in ("FAIL", "INVALID")]
    open_rows = [row for row in open_rows if row.id not in FOLLOW_FROM_THE_MSE]
    if verdict != "PASS" and open_rows:
        steps += [
            f"Fix {id}: {reason}" + (f" This should also fix {', '.join(after)}." if after else "")
            for (id, reason), after in causes_first([(row.id, row.reason) for row in open_rows])[:MOST_CAUSES]
        ]
        steps.append("The requirement table of the main report lists every requirement that failed, with its evidence.")
    broken = [chunk for chunk in record.chunks if (chunk.finished or {}).get("cause") not in (None, "ok")]
    failed = broken[-1] if broken else None
    if verdict in ("FAIL", "INVALID") and failed is not None:
        steps.append(
            f"Read the log of chunk {failed.number} ({failed.started.get('log')}): it {cause_text(failed.finished)}."
        )
    if verdict in ("FAIL", "INVALID") and not record.attempts:
        steps += _curves(record)
    if record.degraded_stages:
        steps.append("For a full PASS, give the degraded stage more free GPU memory and run again.")
    if record.teacher_forced:
        steps.append("Run the gate again without --teacher-forced: only a strict rollout shows how errors accumulate.")
    elif record.not_strict:
        steps.append("Run the gate again with more --generation-steps: only fed-back frames show how errors add up.")
    if skill is not None and skill <= 0:
        steps.append("Train longer before using the model: copying the last frame is still as good or better.")
    elif (low := record.measures.get("skill_strongest_low")) is not None and low <= 0:
        against = record.measures.get("strongest_baseline")
        steps.append(f"Train longer before using the model: that it predicts better than the {against} is not shown.")
    if not steps and verdict not in ("PASS", "DEGRADED"):
        steps.append("Fix what the verdict sentence names, then run the same command again.")
    if not steps:
        steps.append(f"Nothing needs to be fixed. {_further(record)}")
    return steps


def _curves(record: RunRecord) -> list[str]:
    """Return a sentence that names the plots of the stage that did not pass; none where it has no plot."""
    failed = [stage for stage, event in record.stages.items() if event.get("verdict") not in ("PASS", "DEGRADED")]
    plots = [str(path) for path in (record.wandb or {}).get("plots") or []]
    shown = [path for path in plots if any(Path(path).name.startswith(f"{stage}_") for stage in failed)]
    return [f"Look at the curves of {', '.join(failed)}: {', '.join(shown)}."] if shown else []


def _further(record: RunRecord) -> str:
    if not record.attempts:
        return _next_stage(record)
    if record.started.get("kind") != "longrun":
        return f"For stronger evidence, run the long profile: {loop_command('longrun')}."
    return (
        "Run again with another --seed to see how much the result varies. Store the evidence for a commit with "
        f"tinyworlds-gate keep results/{record.folder.name}."
    )


def _next_stage(record: RunRecord) -> str:
    """Return what follows a stage that was trained by itself."""
    command, folder = loop_command(str(record.started.get("kind"))), f"results/{record.folder.name}"
    stage = str(record.options.get("train_stage"))
    if stage == "video_tokenizer":
        return (
            f"Train the latent actions next: {command} --only-stage latent_actions. Dynamics then takes this tokenizer "
            f"with --video-checkpoint {folder}/video_tokenizer/checkpoints."
        )
    tokenizer = record.options.get("video_checkpoint") or "results/RUN/video_tokenizer/checkpoints"
    return (
        f"Train dynamics next, on the tokenizer of its own run: {command} --only-stage dynamics "
        f"--video-checkpoint {tokenizer} --latent-checkpoint {folder}/latent_actions/checkpoints."
    )


def risks(record: RunRecord) -> list[str]:
    """Return what the verdict does not cover, or only narrowly."""
    m, limit = record.measures, record.max_mse
    lines = []
    if not m:
        lines.append("The model's quality is unknown: no attempt has a verdict.")
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
            f"The inferred actions are no better than random ones (ΔPSNR {number(m['delta_psnr_db'])} dB): "
            "the actions do not control the model."
        )
    if m.get("action_codes_used") is not None and m["action_codes_used"] < 2:
        lines.append(f"Only {number(m['action_codes_used'])} action code is in use.")
    if record.not_strict:
        lines.append(record.not_strict)
    watched = [chunk.number for chunk in record.chunks if (chunk.gate or {}).get("decision") == "watch"]
    if watched:
        lines.append(f"The stage gate decided only `watch` for chunk {', '.join(map(str, watched))}.")
    if record.chunks and all(dual_gpu_text(chunk) != "True" for chunk in record.chunks):
        reason = next((c.finished.get("dual_gpu_reason") for c in record.chunks if c.finished), None)
        lines.append(f"No evidence that two GPUs worked at the same time: {reason or 'no chunk finished'}.")
    not_run = [row for row in record.requirements() if row.verdict == "NOT-RUN"]
    if not_run:
        names = (
            ", ".join(row.id for row in not_run) if len(not_run) <= 8 else f"{len(not_run)} requirements of the table"
        )
        chosen = sum(row.reason.startswith("by choice") for row in not_run)
        lines.append(f"Not run: {names}{f', {chosen} of them by choice' if chosen else ''}.")
    if record.started.get("dirty"):
        lines.append("The source tree had uncommitted changes, so this run cannot be repeated exactly.")
    if record.started.get("kind") == "smoke":
        lines.append(
            "This is a smoke run: it shows that the loop works, on short clips. It does not show a good model."
        )
    return lines
