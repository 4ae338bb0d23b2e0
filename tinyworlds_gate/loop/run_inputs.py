"""Before each launch: check that settings files, frames and checkout are those that the run was started with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.config.run_copy import edited_sentence, edited_settings, require_copy
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.errors import CheckpointError, DataError
from tinyworlds_gate.run.journal import Event, events_of, last_event
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.targets.checkout import MAY_CHANGE
from tinyworlds_gate.targets.fingerprint import changed_files, describe_changes, fingerprint


def check_inputs(context: RunContext) -> None:
    """Report, once, which settings files were edited (the run reads its own copy); stop when the data changed.

    Raises:
        GateError: the run's folder is no longer in its place.
        ConfigError: the run's copy of its settings files is gone or was changed.
        LaunchError: the lock file was removed or replaced, so another run may have begun.
        DataError: the checkout, the frames file or the evaluation set is gone or was changed; the run would mix two
            versions of it.
    """
    context.journal.require_in_place()
    if context.lock is not None:
        context.lock.confirm()
    events, layout = context.journal.events(), context.layout
    if context.checkout is None:
        if context.target.config_dir == layout.configs:
            require_copy(context.settings, layout.configs, layout.run)
        edited = edited_settings(context.settings)
        if not _already_reported(events, edited):
            sentence = edited_sentence(edited, layout.configs, layout.project_root)
            context.journal.append("settings_edited", files=edited, sentence=sentence)
            context.say(sentence)
    else:
        require_same_checkout(context.target.root, context.checkout.tree, layout.run)
    ready = last_event(events, "dataset_ready")
    if ready is not None:
        require_same_data(layout, ready)


def require_same_data(layout: RunLayout, ready: Event) -> None:
    """Compare the frames files and the evaluation set with those of the ``dataset_ready`` event ``ready``.

    Raises:
        DataError: one is gone or was changed.
    """
    was = f"on {ready['frames']} frames"
    _require_same_file(layout, "frames file", was, ready["path"], ready["sha256"])
    if ready.get("training_path") not in (None, ready["path"]):
        was = f"on {ready['training_frames']} frames"
        _require_same_file(layout, "frames file", was, ready["training_path"], ready["training_sha256"])
    if (evaluation := ready.get("evaluation")) is not None:
        _require_same_file(layout, "evaluation set", "on one", evaluation["path"], evaluation["sha256"])


def require_same_checkout(root: Path, tree: Mapping[str, str], run: str) -> None:
    """Compare the files of the checkout at ``root`` with ``tree``, those before the run: one code made all weights.

    Raises:
        DataError: naming the files that were changed.
    """
    changes = changed_files(tree, fingerprint(root))
    if changes:
        raise DataError(
            f"The checkout {root} was changed during the run: {describe_changes(changes)}. Only "
            f"{', '.join(f'{name}/' for name in MAY_CHANGE)} may change, or the weights would not be of one code. "
            f"Put the old files back and go on with --resume-run results/{run}, or start a new run"
        )


def _already_reported(events: list[Event], edited: Iterable[str]) -> bool:
    return set(edited) <= {path for event in events_of(events, "settings_edited") for path in event["files"]}


def _require_same_file(layout: RunLayout, what: str, was: str, shown: str, sha256: str) -> None:
    path, name = layout.project_root / str(shown), f"The {what} {shown}"
    was = f"the run was started {was} with SHA-256 {str(sha256)[:12]}…"
    resume = f"go on with --resume-run results/{layout.run}"
    kept = "nothing that was trained is lost"
    if not path.is_file():
        raise DataError(f"{name} is gone: {was}. Put the file back and {resume}; {kept}")
    try:
        digest = sha256_of(path)
    except CheckpointError as error:
        raise DataError(f"The {what}: {error}; {was}. Mend that and {resume}; {kept}") from error
    if digest != sha256:
        raise DataError(
            f"{name} was changed during the run: {was}, now it has {digest[:12]}…. Put the old file back and {resume}, "
            f"or start a new run on the new one; {kept}"
        )
