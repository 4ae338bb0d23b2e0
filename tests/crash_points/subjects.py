"""Everything that the product writes and must not lose: the subjects of the sweep."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import h5py
import torch

from tests.crash_points.subject import Acknowledge, State, Subject, contents, nothing
from tests.helpers.data_files import numbered_frames, write_h5
from tests.helpers.finished_runs import finish_run, prepare_run
from tinyworlds_gate.checkpoints.integrity import verify_checkpoint
from tinyworlds_gate.checkpoints.layout import list_checkpoints
from tinyworlds_gate.checkpoints.retention import Retention, gated_checkpoints, mark_gated
from tinyworlds_gate.checkpoints.write import write_checkpoint
from tinyworlds_gate.errors import CheckpointError, DataError, GateError
from tinyworlds_gate.keep.collect import Collected, KeptFile
from tinyworlds_gate.keep.folder import require_own_folder, write_folder
from tinyworlds_gate.keep.shrink import ShrunkFile
from tinyworlds_gate.keep.table import read_table, with_entry, write_table
from tinyworlds_gate.reference.data.cut_held_out import hold_out
from tinyworlds_gate.reference.data.frames_file import check_frames_file
from tinyworlds_gate.reference.data.frames_writer import new_frames_file, write_lock
from tinyworlds_gate.reports.render import write_reports
from tinyworlds_gate.run import publish_folder
from tinyworlds_gate.run.journal import Journal, inspect_journal
from tinyworlds_gate.run.lock import ProjectLock

STAGE, OLD, NEW = "dynamics", 3, 7


# Checkpoints and their manifests: write, prune, mark as gated, as at the end of a chunk.


def _weights(step: int) -> dict[str, torch.Tensor]:
    return {"output_mlp.weight": torch.full((8, 8), float(step))}


def _write(parent: Path, step: int) -> None:
    optimizer = {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    write_checkpoint(
        parent, STAGE, step, model_state=_weights(step), optim_state=optimizer, state={"config": {"step": step}}
    )


def _make_checkpoints(folder: Path) -> None:
    _write(folder / "checkpoints", OLD)
    mark_gated(folder / "checkpoints" / f"{STAGE}_step_{OLD}", "inference-1")


def _valid(folder: Path) -> dict[int, Path]:
    found = {}
    for step, path in list_checkpoints(folder / "checkpoints", STAGE):
        try:
            verify_checkpoint(path)
            found[step] = path
        except CheckpointError:
            continue
    return found


def _write_and_prune(folder: Path, acknowledge: Acknowledge) -> None:
    parent, final = folder / "checkpoints", folder / "checkpoints" / f"{STAGE}_step_{NEW}"
    if NEW not in _valid(folder):
        _write(parent, NEW)
    acknowledge("written")
    mark_gated(final, "stage")
    acknowledge("gated")
    Retention(parent, STAGE, 1).prune()


def _check_checkpoints(folder: Path, acknowledged: Sequence[str], state: State) -> list[str]:
    valid, problems = _valid(folder), []
    for step, path in valid.items():
        weights = torch.load(path / "model_state_dict.pt", weights_only=True)
        if not torch.equal(weights["output_mlp.weight"], _weights(step)["output_mlp.weight"]):
            problems.append(f"torn file accepted: {path.name}")
    gated = gated_checkpoints(folder / "checkpoints")
    if OLD not in valid or gated.get("inference-1") != folder / "checkpoints" / f"{STAGE}_step_{OLD}":
        problems.append("the earlier checkpoint, or its mark, is lost")
    if ("written" in acknowledged or state != "broken off") and NEW not in valid:
        problems.append("the new checkpoint is lost")
    if "gated" in acknowledged and gated.get("stage", folder).name != f"{STAGE}_step_{NEW}":
        problems.append("the mark of the gate is lost")
    return problems


# The journal.

EVENTS = 8


def _append(folder: Path, acknowledge: Acknowledge) -> None:
    with Journal(folder / "journal.jsonl") as journal:
        for number in range(len(journal.events()), EVENTS):
            event = journal.append("chunk_started", number=number, text="ü" * 40)
            acknowledge(json.dumps([event["seq"], event["number"]]))


def _check_journal(folder: Path, acknowledged: Sequence[str], state: State) -> list[str]:
    path = folder / "journal.jsonl"
    if not path.exists():
        return ["journal lines lost"] if acknowledged else []
    try:
        found = inspect_journal(path)
    except GateError as error:
        return [f"the journal is refused: {error}"]
    lines = [[event["seq"], event["number"]] for event in found.events]
    problems = [f"the journal is refused: {found.problem}"] if found.problem else []
    if any(json.loads(one) not in lines for one in acknowledged):
        problems.append("journal lines lost")
    if lines != [[number, number] for number in range(len(lines))]:
        problems.append("journal lines doubled or moved")
    if any(event["text"] != "ü" * 40 for event in found.events):
        problems.append("torn file accepted: a journal line")
    return problems + (["journal lines lost"] if state != "broken off" and len(lines) != EVENTS else [])


# Reports.


def _make_run(folder: Path) -> None:
    finish_run(prepare_run(folder))


def _report(folder: Path, acknowledge: Acknowledge) -> None:
    write_reports(folder, folder / "results" / "longrun_sample")
    acknowledge("written")


def _check_reports(folder: Path, acknowledged: Sequence[str], state: State) -> list[str]:
    problems = []
    found = contents(folder / "docs" / "action")
    for name, content in found.items():
        if name.endswith(".json"):
            try:
                json.loads(content)
            except ValueError:
                problems.append(f"torn file accepted: {name}")
        elif name.endswith(".md") and _digest(content) != _REPORTS.setdefault(name, _digest(content)):
            problems.append(f"torn file accepted: {name}")
    missing = _REPORTS.keys() - found.keys()
    return problems + [f"{name} is lost" for name in sorted(missing)]


_REPORTS: dict[str, str] = {}
"""Reports as they were made first: they differ in the line `Rendered …` only."""


def _digest(content: bytes) -> str:
    return re.sub(r"(?m)^.*Rendered .*$", "", content.decode("utf-8", "replace"))


# Kept runs.


def _collected(text: str) -> Collected:
    files = [ShrunkFile(f"{name}.md", text.encode() * 50) for name in ("a", "below/b")]
    return Collected([KeptFile(file, "a report", f"docs/{file.name}") for file in files])


def _keep(folder: Path, text: str) -> None:
    kept, table = folder / "kept" / "longrun-seed3", folder / "kept.json"
    require_own_folder(kept)
    write_folder(kept, _collected(text), f"# {text}\n", {"run": text})
    entry = {"profile": "longrun", "seed": 3, "run": text}
    write_table(table, with_entry(read_table(table), entry))


def _check_kept(folder: Path, acknowledged: Sequence[str], state: State, *, earlier: bool) -> list[str]:
    kept = folder / "kept" / "longrun-seed3"
    found = {name: content for name, content in contents(kept).items() if name != "keep.json"}
    wanted = {text: {"a.md": text.encode() * 50, "below/b.md": text.encode() * 50} for text in ("old", "new")}
    whole = [text for text, files in wanted.items() if found == {**files, "README.md": f"# {text}\n".encode()}]
    problems = []
    if kept.exists() and (not whole or json.loads((kept / "keep.json").read_bytes())["run"] != whole[0]):
        problems.append("torn folder under the final name")
    aside = kept.with_name(f".{kept.name}.earlier")
    if earlier and not kept.exists() and not aside.exists():
        problems.append("the earlier folder is lost")
    entries = read_table(folder / "kept.json")["entries"]
    if state != "broken off" and (whole != ["new"] or [one["run"] for one in entries] != ["new"]):
        problems.append("the new folder is lost")
    if state == "settled" and (left := [one.name for one in kept.parent.iterdir() if one != kept]):
        problems.append(f"leftovers stay: {left}")
    return problems


def _keep_again(folder: Path, acknowledge: Acknowledge) -> None:
    _keep(folder, "new")


def _keep_by_two_renames(folder: Path, acknowledge: Acknowledge) -> None:
    setattr(publish_folder, "exchange", lambda one, other: False)  # noqa: B010
    _keep(folder, "new")


def _check_kept_again(folder: Path, acknowledged: Sequence[str], state: State) -> list[str]:
    return _check_kept(folder, acknowledged, state, earlier=True)


def _check_kept_first(folder: Path, acknowledged: Sequence[str], state: State) -> list[str]:
    return _check_kept(folder, acknowledged, state, earlier=False)


# Data files.


def _make_frames(folder: Path) -> None:
    write_h5(folder / "all_frames.h5", frames=numbered_frames(48), episode=[number // 6 for number in range(48)])


def _outputs(folder: Path) -> list[Path]:
    return [folder / "train_frames.h5", folder / "held_out_frames.h5"]


def _hold_out(folder: Path, acknowledge: Acknowledge) -> None:
    train, held_out = _outputs(folder)
    if not (train.exists() and held_out.exists() and not (folder / f".{train.name}.together.json").exists()):
        hold_out(folder / "all_frames.h5", train, held_out, fraction=0.25)


def _check_frames(folder: Path, acknowledged: Sequence[str], state: State) -> list[str]:
    problems, seen = [], []
    for path in _outputs(folder):
        if path.exists():
            try:
                check_frames_file(path)
                with h5py.File(path) as file:
                    seen.append(file["frames"][:].tobytes())
            except (DataError, OSError, KeyError) as error:
                problems.append(f"torn file accepted: {path.name}: {error}")
        elif state != "broken off":
            problems.append(f"{path.name} is lost")
    frames = numbered_frames(48)
    if state != "broken off" and sum(map(len, seen)) != frames.nbytes:
        problems.append("frames lost")
    if state == "settled" and (
        left := [one.name for one in folder.iterdir() if one.suffix in (".ready", ".part", ".json")]
    ):
        problems.append(f"leftovers stay: {left}")
    return problems


def _make_data(folder: Path, acknowledge: Acknowledge) -> None:
    path = folder / "new_frames.h5"
    with write_lock(path):
        if not path.exists():
            with new_frames_file(path) as writer:
                writer.set_attrs({"source": "sweep"})
                for _ in range(3):
                    writer.append(numbered_frames(16))


def _check_data(folder: Path, acknowledged: Sequence[str], state: State) -> list[str]:
    path = folder / "new_frames.h5"
    if not path.exists():
        return ["new_frames.h5 is lost"] if state != "broken off" else []
    with h5py.File(path) as file:
        whole = file["frames"][:].tobytes() == numbered_frames(16).tobytes() * 3
    return [] if whole else ["torn file accepted: new_frames.h5"]


# The project's lock.


def _lock(folder: Path, acknowledge: Acknowledge) -> None:
    with ProjectLock(folder, run="sweep") as lock:
        with suppress(OSError):
            lock.path.unlink()
        lock.confirm()
        acknowledge("held")


def _check_lock(folder: Path, acknowledged: Sequence[str], state: State) -> list[str]:
    if state == "settled":
        with ProjectLock(folder, run="after") as lock:
            return ["a released lock names a holder"] if lock.taken_over is not None else []
    return []


SUBJECTS = (
    Subject(
        "checkpoint",
        _make_checkpoints,
        _write_and_prune,
        _check_checkpoints,
        lambda name: "manifest" if name == "manifest.json" else "checkpoint",
    ),
    Subject("journal", nothing, _append, _check_journal),
    Subject("reports", _make_run, _report, _check_reports, resumes=1),
    Subject("keep, first", nothing, _keep_again, _check_kept_first),
    Subject("keep, again", lambda folder: _keep(folder, "old"), _keep_again, _check_kept_again),
    Subject("keep, two renames", lambda folder: _keep(folder, "old"), _keep_by_two_renames, _check_kept_again),
    Subject("data make", nothing, _make_data, _check_data, resumes=8),
    Subject("data hold-out", _make_frames, _hold_out, _check_frames, resumes=2),
    Subject("lock", nothing, _lock, _check_lock),
)
