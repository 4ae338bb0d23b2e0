"""Before each launch: are the settings files and the frames still those that the run was started with?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.config.run_copy import edited_sentence, edited_settings
from tinyworlds_gate.context import CheckoutRun, RunContext
from tinyworlds_gate.errors import CheckpointError, DataError
from tinyworlds_gate.run.journal import Event, events_of, last_event
from tinyworlds_gate.targets.checkout import MAY_CHANGE
from tinyworlds_gate.targets.tree import changed_files, fingerprint, told_changes


def check_inputs(context: RunContext) -> None:
    """Tell, once, which settings files were edited (the run reads its own copy), and stop when the frames are others.

    Raises:
        DataError: the frames file is gone or was changed; training on or measuring with it would mix two datasets.
    """
    events = context.journal.events()
    if context.checkout is None:
        _tell_edited_settings(context, events)
    else:
        require_same_checkout(context, context.checkout)
    ready = last_event(events, "dataset_ready")
    if ready is not None:
        _require_same_frames(context, ready["path"], ready["sha256"], ready["frames"])
        if ready.get("training_path") not in (None, ready["path"]):
            _require_same_frames(context, ready["training_path"], ready["training_sha256"], ready["training_frames"])
        if ready.get("evaluation") is not None:
            _require_same_evaluation(context, ready["evaluation"])


def require_same_checkout(context: RunContext, checkout: CheckoutRun) -> None:
    """Stop when a file of the checkout is not what it was before the run: its chunks would not be of one code.

    Raises:
        DataError: naming the files.
    """
    changes = changed_files(checkout.tree, fingerprint(context.target.root))
    if changes:
        raise DataError(
            f"The checkout {context.target.root} was changed during the run: {told_changes(changes)}. Only "
            f"{', '.join(f'{name}/' for name in MAY_CHANGE)} may change, or the weights would not be of one code. "
            f"Put the old files back and go on with --resume-run results/{context.layout.run}, or start a new run"
        )


def _tell_edited_settings(context: RunContext, events: list[Event]) -> None:
    edited = edited_settings(context.settings)
    told = {path for event in events_of(events, "settings_edited") for path in event["files"]}
    if set(edited) <= told:
        return
    sentence = edited_sentence(edited, context.layout.configs, context.layout.project_root)
    context.journal.append("settings_edited", files=edited, sentence=sentence)
    context.say(sentence)


def _require_same_evaluation(context: RunContext, ready: Mapping[str, Any]) -> None:
    path, run = context.layout.project_root / str(ready["path"]), context.layout.run
    was = f"the run was started on one with SHA-256 {str(ready['sha256'])[:12]}…"
    if not path.is_file():
        raise DataError(
            f"The evaluation set {ready['path']} is gone: {was}, and its final verdict is to be taken there. Put the "
            f"file back and go on with --resume-run results/{run}; nothing that was trained is lost"
        )
    digest = sha256_of(path)
    if digest != ready["sha256"]:
        raise DataError(
            f"The evaluation set {ready['path']} was changed during the run: {was}, now it has {digest[:12]}…. Put the "
            f"old file back and go on with --resume-run results/{run}, or start a new run on the new one; nothing that "
            "was trained is lost"
        )


def _require_same_frames(context: RunContext, shown: str, sha256: str, frames: int) -> None:
    path = context.layout.project_root / str(shown)
    was = f"the run was started on {frames} frames with SHA-256 {str(sha256)[:12]}…"
    if not path.is_file():
        raise DataError(
            f"The frames file {shown} is gone: {was}. Put the file back and go on with --resume-run "
            f"results/{context.layout.run}; nothing that was trained is lost"
        )
    try:
        digest = sha256_of(path)
    except CheckpointError as error:
        raise DataError(
            f"The frames file: {error}; {was}. Mend that and go on with --resume-run results/{context.layout.run}; "
            "nothing that was trained is lost"
        ) from error
    if digest != sha256:
        raise DataError(
            f"The frames file {shown} was changed during the run: {was}, now it has {digest[:12]}…. Put the "
            f"old file back and go on with --resume-run results/{context.layout.run}, or start a new run on the new "
            "frames; nothing that was trained is lost"
        )
