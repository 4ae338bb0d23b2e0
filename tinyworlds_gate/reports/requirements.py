"""The requirements of the closed loop, one short sentence each; docs/requirements.md is generated from them."""

from __future__ import annotations

from collections.abc import Mapping

GROUPS = {
    "L": "The loop, in order",
    "C": "Config alignment, before training",
    "P": "Parameters",
    "G": "Inference gate",
    "S": "Stage gates",
    "T": "Retuning",
    "M": "Monitoring",
    "A": "Artifacts",
    "H": "Hard rules",
}

REQUIREMENTS: dict[str, str] = {
    "L1": "Stale training processes of this project are stopped.",
    "L2": "Exactly one training launcher runs; extra stage processes are ended before, during and after a chunk.",
    "L3": "The GPUs are monitored while a chunk trains.",
    "L4": "The project's git history of the configured year is audited for ZELDA evidence.",
    "L5": "The stages train in order, each followed by its gate: video tokenizer, latent actions, dynamics.",
    "L6": "The standard inference run uses the trained checkpoints.",
    "L7": "The gate checks the inference output and its metric.",
    "L8": "After a failed gate, dynamics is retrained and inference repeated until it passes or the budget is used up.",
    "L9": "The metrics of each stage are analysed, from W&B or from the local history.",
    "L10": "The reports are written under docs/action/.",
    "C1": "Shared sizes come from configs/training.yaml; a stage file must not set other values.",
    "C2": "The three stages have the same backbone sizes.",
    "C3": "configs/dynamics.yaml has no checkpoint path; paths are injected at run time.",
    "C4": "Checkpoints used together agree with the configs and with each other; the values are read from them.",
    "P1": "Every parameter has one resolved value and a recorded origin, and training used that value.",
    "P2": "The effective batch of every chunk is tracked, and its changes are reported.",
    "P3": "The baseline profile (configs/) and a run of it have the specified baseline values.",
    "P4": "The long-run profile and a run of it have the specified safe starting values.",
    "G1": "The inference command ends with exit code 0.",
    "G2": "The inference log names the checkpoints of all three models, and they are this run's.",
    "G3": "The inference log shows the generated frames and the statistics.",
    "G4": "Inference writes a new picture that decodes as an image.",
    "G5": "The mean squared error of the generated frames is a finite number and within the limit.",
    "G6": "The small moving objects of the true frames are generated: found in their place, of their kind, no others.",
    "G7": "The past matters: with the context of another clip the error grows.",
    "G8": "The model is better than the best of the predictions that need no model.",
    "G9": "With --baseline, the model is compared with the accepted one, and no worse where that is required.",
    "S1": "The video tokenizer's loss is low enough and not rising.",
    "S2": "The latent actions reach a low loss and use several codes.",
    "S3": "The loss of dynamics is low enough and not rising.",
    "S4": "A chunk counts only with a complete checkpoint at the right step, finite losses and a new picture.",
    "S5": "The thresholds come from the profile, and the report names them.",
    "T1": "After a crash or out of memory, the batch per GPU is halved, down to 1.",
    "T2": "A tokenizer that fails its gate gets 0.5 of the learning rate and one more accumulation step.",
    "T3": "Latent actions that fail their gate get 0.8 of the learning rate.",
    "T4": "Dynamics that fails its gate gets 0.2 of the learning rate and one accumulation step less.",
    "T5": "After a failed inference gate, dynamics continues from its newest checkpoint with a lower learning rate.",
    "T6": "After a failed guard or an external kill, the chunk is retried with the same training parameters.",
    "T7": "When the tokenizer's own error exceeds the limit, dynamics is not retrained: the tokenizer comes first.",
    "M1": "The metric history grew during the chunk.",
    "M2": "A newer checkpoint was written during the chunk.",
    "M3": "The pictures of the stage were written during the chunk.",
    "M4": "A long run can be watched for hours from another terminal.",
    "A1": "The train-to-inference report is written.",
    "A2": "The git evidence report is written.",
    "A3": "The stage analysis is written, as text and as JSON.",
    "A4": "The plots of the stage analysis are drawn.",
    "A5": "The retrospective is written.",
    "A6": "The training-loop report is written, with launcher PID and GPU evidence for every chunk.",
    "A7": "The inference pictures are in inference_results/.",
    "A8": "The HTML report is written and embeds its pictures.",
    "H1": "By default the whole pipeline runs.",
    "H2": "By default training starts from fresh weights.",
    "H3": "Training is complete only when the inference gate passes.",
    "H4": "A PASS requires all reports; NOT-RUN if there was nothing to analyse.",
    "H5": "Each chunk has exactly one launcher.",
    "H6": "With two GPUs, both worked at the same time for this launcher's own workers.",
    "H7": "A resumed chunk continues at its absolute step; progress is never reset.",
    "H8": "A run is marked degraded, with the cause, when a stage fell to a batch of 1.",
    "H9": "Changes of parameters and of the effective batch are always reported.",
}

ADDED = ("G6", "G7", "G8", "G9")
"""Requirements that older journals do not know."""

OWN = ("G9",)
"""Requirements of this program, beyond those of the specification that it was built from."""


def as_markdown(cases: Mapping[str, tuple[str, str, str, str]]) -> str:
    """Return the page docs/requirements.md.

    Args:
        cases: requirement → (verdict, the run in which it has it, verdict, the broken run in which it has that one).
    """
    lines = [
        "# Requirements",
        "",
        'What a run of the closed loop must show. Tests name these IDs: `@pytest.mark.requirement("H3")`.',
        "Every report has a row for each. A requirement that applies to nothing in a run is NOT-RUN (`no occasion: …`)",
        "and fails no run.",
        "",
        "`python -m tests.helpers.row_cases > docs/requirements.md` generates this page.",
    ]
    for letter, title in GROUPS.items():
        lines += ["", f"## {title}", "", "| ID | what must hold |", "| --- | --- |"]
        lines += [f"| {key} | {text} |" for key, text in REQUIREMENTS.items() if key[0] == letter]
    lines += [
        "",
        "## When a row holds and when it does not",
        "",
        "`tests/unit/findings/test_all_rows.py` judges every row twice: in a run in which it holds, and in the same",
        "run with the thing itself broken. `tests/helpers/row_runs.py` makes the run, a long run on two GPUs, with the",
        "loop's own decisions: the tokenizer runs out of memory, fails its gate and is killed; latent actions and",
        "dynamics fail their gates once; the inference gate fails once and passes after a retraining. T7, H8 and P3",
        "have no occasion in it; for T7 the tokenizer is too poor to go on, for H8 the tokenizer begins with a batch",
        "of 2, and for P3 the run has the baseline profile.",
        "",
        "| ID | the run in which it holds | the broken run in which it does not |",
        "| --- | --- | --- |",
    ]
    for key in REQUIREMENTS:
        held, holds, verdict, broken = cases[key]
        lines.append(f"| {key} | {held}: {holds} | {verdict}: {broken} |")
    return "\n".join(lines) + "\n"
