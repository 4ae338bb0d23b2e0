"""The requirements of the closed loop, one short sentence each; docs/requirements.md is written from this table.

Write the page again with: `python -m tinyworlds_gate.reports.requirements > docs/requirements.md`
"""

from __future__ import annotations

GROUPS = {
    "L": "The loop, in this order",
    "C": "Config alignment, before anything starts",
    "P": "Parameters",
    "G": "The inference gate",
    "S": "The gate of each stage",
    "T": "Retuning",
    "M": "Monitoring",
    "A": "Files that a run leaves",
    "H": "Hard rules",
}

REQUIREMENTS: dict[str, str] = {
    "L1": "Training processes that an earlier run of this project left behind are stopped.",
    "L2": "Only one training launcher is alive; any other stage process is ended before, during and after a chunk.",
    "L3": "The GPUs are watched while a chunk trains.",
    "L4": "The project's git history of the asked year is audited for ZELDA evidence.",
    "L5": "The stages train in order, each behind its gate: video tokenizer, latent actions, dynamics.",
    "L6": "The standard inference run takes place on the trained checkpoints.",
    "L7": "The inference output and its metric are checked by the gate.",
    "L8": "When the gate fails, dynamics is retrained and inference runs again, until a pass or the end of the budget.",
    "L9": "The metrics of each stage are analysed, from W&B or from the local history.",
    "L10": "The reports are written under docs/action/.",
    "C1": "Sizes that the stages share come from configs/training.yaml; a stage file may not say otherwise.",
    "C2": "The three stages have the same backbone sizes.",
    "C3": "configs/dynamics.yaml holds no checkpoint path; paths are given at run time.",
    "C4": "Checkpoints used together agree with the configs and with each other, as read from the checkpoints.",
    "P1": "Every parameter has one resolved value and a known origin, and training really used it.",
    "P2": "The effective batch of every chunk is tracked, and its changes are reported.",
    "P3": "The standard configs carry the baseline values of TinyWorlds.",
    "P4": "The long-run profile carries the safe starting values.",
    "G1": "The inference command ends with exit code 0.",
    "G2": "The inference log names the checkpoints of all three models, and they are the ones of this run.",
    "G3": "The inference log shows its frames and its statistics.",
    "G4": "Inference leaves a new picture that opens as an image.",
    "G5": "The mean squared error of the generated frames is a finite number and within the limit.",
    "S1": "The video tokenizer's loss is low enough and no longer rising.",
    "S2": "The latent actions reach a low loss and use several codes.",
    "S3": "The loss of dynamics is low enough and no longer rising.",
    "S4": "A chunk counts only when it left a whole checkpoint at the right step, finite losses and a new picture.",
    "S5": "The thresholds come from the profile, and the report names them.",
    "T1": "After a crash or a lack of memory the batch per GPU is halved, down to 1.",
    "T2": "A tokenizer that fails its gate gets half the learning rate and one more accumulation step.",
    "T3": "Latent actions that fail their gate get 0.8 of the learning rate.",
    "T4": "Dynamics that fails its gate gets a fifth of the learning rate and one accumulation step less.",
    "T5": "After a failed inference gate, dynamics continues from its newest checkpoint with a lower learning rate.",
    "T6": "A guard that failed, or a kill from outside, is answered by a retry with the same training parameters.",
    "T7": "When the tokenizer alone is worse than the limit, dynamics is not retrained: the tokenizer comes first.",
    "M1": "The metric history moved during the chunk.",
    "M2": "Checkpoints moved on during the chunk.",
    "M3": "The pictures of the stage are new.",
    "M4": "A long run can be watched for hours from another terminal.",
    "A1": "The train-to-inference report is written.",
    "A2": "The git evidence report is written.",
    "A3": "The stage analysis is written, as text and as JSON.",
    "A4": "The plots of the stage analysis are drawn.",
    "A5": "The retrospective is written.",
    "A6": "The training-loop report is written, with a launcher and a GPU statement for every chunk.",
    "A7": "The inference pictures are in inference_results/.",
    "A8": "The HTML report is written and holds its pictures.",
    "H1": "Without other options the whole pipeline runs.",
    "H2": "Without other options training starts from fresh weights.",
    "H3": "Training is not complete before the inference gate passes.",
    "H4": "A pass needs all of its reports.",
    "H5": "Each chunk has exactly one launcher.",
    "H6": "With two GPUs, both were at work at the same time for this run's own workers.",
    "H7": "A resumed chunk continues at its absolute step; progress is never counted from zero again.",
    "H8": "A stage that had to fall to a batch of 1 marks the run as degraded, and the cause is told.",
    "H9": "Changes of parameters and of the effective batch are always reported.",
}


def as_markdown() -> str:
    """The page docs/requirements.md."""
    lines = [
        "# Requirements",
        "",
        "What a run of the closed loop must show, in our own short words. Tests carry these IDs with",
        '`@pytest.mark.requirement("H3")`; every report has a row for each. This page is written by',
        "`python -m tinyworlds_gate.reports.requirements`; a test holds it to the table in the code.",
    ]
    for letter, title in GROUPS.items():
        lines += ["", f"## {title}", "", "| ID | what must hold |", "| --- | --- |"]
        lines += [f"| {key} | {text} |" for key, text in REQUIREMENTS.items() if key[0] == letter]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(as_markdown(), end="")
