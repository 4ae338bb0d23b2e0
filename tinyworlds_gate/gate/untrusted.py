"""An attempt on a checkout without the trusted gate: its own inference was run, and nothing passes (docs/gate.md)."""

from __future__ import annotations

from tinyworlds_gate.gate.binding import bind
from tinyworlds_gate.gate.evidence_files import dataset_sha256
from tinyworlds_gate.gate.subject import InferenceAttempt, Subject, gate_thresholds
from tinyworlds_gate.gate.target_gate import both_gates, gates_event, of_one_code
from tinyworlds_gate.gate.verdict import GateVerdict
from tinyworlds_gate.run.journal import last_event
from tinyworlds_gate.stages.chunk_evidence import checkpoint_event
from tinyworlds_gate.stages.context import RunContext
from tinyworlds_gate.targets.tree import changed_files, fingerprint


def same_checkout(context: RunContext, verdict: GateVerdict) -> GateVerdict:
    """The verdict with ``G2.checkout``: the checkout's tree is looked at once more."""
    assert context.checkout is not None
    tree = context.checkout.tree
    return of_one_code(verdict, changed_files(tree, fingerprint(context.target.root)), len(tree))


def attempt_without_trusted_gate(context: RunContext, subject: Subject) -> InferenceAttempt:
    """Only the checkout's own inference was run: the journal's attempt is that one, and it cannot pass."""
    assert subject.own is not None
    thresholds = gate_thresholds(context.settings.profile.thresholds)
    verdict = same_checkout(context, both_gates(subject.own, None, subject.no_trusted_gate, thresholds))
    events = context.journal.events()
    started, finished = (last_event(events, f"target_inference_{word}") or {} for word in ("started", "finished"))
    checkpoints = {stage: checkpoint_event(context.layout, one) for stage, one in subject.checkpoints.items()}
    shared = {"attempt": subject.number, "draw": subject.draw, "log": finished.get("log")}
    context.journal.append(
        "inference_started",
        **shared,
        batch_size=1,
        command=started.get("command"),
        checkpoints={stage: reference.path for stage, reference in subject.checkpoints.items()},
    )
    names = ("exit_code", "signal", "cause", "wall_s", "picture", "extra_launchers", "ended", "log_tail")
    context.journal.append(
        "inference_finished",
        **shared,
        **{name: finished.get(name) for name in names},
        measures_file=None,
        checkpoints=checkpoints,
    )
    binding = bind(
        context.settings,
        subject.draw,
        {stage: reference.model_sha256 for stage, reference in subject.checkpoints.items()},
        clip_digest=None,
        dataset_sha256=dataset_sha256(events),
        source=subject.source,
    ).as_event()
    context.journal.append(
        "gate_verdict",
        attempt=subject.number,
        draw=subject.draw,
        measures=None,
        binding=binding,
        **verdict.as_event(),
        **gates_event(subject.own, None, subject.no_trusted_gate),
    )
    root = context.layout.project_root
    picture = finished.get("picture")
    return InferenceAttempt(
        number=subject.number,
        verdict=verdict,
        measures=None,
        checkpoints=subject.checkpoints,
        log=root / str(finished.get("log")),
        picture=root / picture if picture else None,
        log_tail=tuple(finished.get("log_tail") or ()),
        draw=subject.draw,
        binding=binding,
    )
