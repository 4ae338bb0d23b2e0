"""Defects that change a run after its PASS."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tinyworlds_gate.checkpoints.layout import MANIFEST_FILE, STATE_FILE
from tinyworlds_gate.power.rows.build import DYNAMICS, OTHER_VERDICT, after, setting
from tinyworlds_gate.power.scene import healthy
from tinyworlds_gate.power.weight_changes import changed, noisy
from tinyworlds_gate.run.hash_chain import CHAIN, HEAD, chained_lines, head_bytes


def _measures(root: Path) -> Path:
    return next(path for path in (root / "results").glob("power_*/measures_01.json"))


def _edit_measures(root: Path) -> None:
    path = _measures(root)
    content = json.loads(path.read_text())
    for clip in content["clips"]:
        clip["rollout_mse"] = [value / 2 for value in clip["rollout_mse"]]
    path.write_text(json.dumps(content), encoding="utf-8")


def _edit_log(root: Path) -> None:
    path = _measures(root).parent / "logs" / "inference_01.log"
    lines = path.read_text().splitlines()
    kept = [
        "Mean Squared Error (GT vs Pred): 0.00010000" if line.startswith("Mean Squared Error (GT") else line
        for line in lines
    ]
    path.write_text("\n".join(kept) + "\n", encoding="utf-8")


def _remove_picture(root: Path) -> None:
    for path in (root / "inference_results").glob("inference_results_gt_vs_pred_*.png"):
        path.unlink()


def _other_frames(root: Path) -> None:
    from tinyworlds_gate.power.world import GAME, write_world

    write_world(root / "data" / f"{GAME.lower()}_frames.h5", seed=1)


def _journal(root: Path) -> Path:
    return _measures(root).parent / "journal.jsonl"


def _better_numbers(body: bytes) -> bytes:
    """Return a line of the journal with half the error, if it is a verdict of the gate."""
    event = json.loads(body)
    event.pop(CHAIN, None)
    if event["event"] == "gate_verdict":
        event["measures"]["mse"] /= 2
    return json.dumps(event, ensure_ascii=False).encode()


def _edit_verdict(root: Path) -> None:
    path = _journal(root)
    text = path.read_text(encoding="utf-8")
    event = next(json.loads(line) for line in text.splitlines() if '"event": "gate_verdict"' in line)
    mse = f'"mse": {event["measures"]["mse"]}'
    assert mse in text
    path.write_text(text.replace(mse, '"mse": 0.001'), encoding="utf-8")


def _edit_and_chain(root: Path) -> None:
    path = _journal(root)
    bodies = [_better_numbers(line) for line in path.read_bytes().splitlines()]
    content, chain = chained_lines(bodies)
    path.write_bytes(content)
    path.with_name(HEAD).write_bytes(head_bytes(len(bodies), chain))


def _lines(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    """Return a function that changes the lines of the journal."""

    def edit(root: Path) -> None:
        path = _journal(root)
        path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))

    return edit


def _without_a_row(lines: list[bytes]) -> list[bytes]:
    rows = [number for number, line in enumerate(lines) if b'"event": "requirement"' in line]
    return lines[: rows[0]] + lines[rows[0] + 1 :]


def _longer_log(root: Path) -> None:
    with (_measures(root).parent / "logs" / "inference_01.log").open("a", encoding="utf-8") as file:
        file.write("A line that changes nothing that is read.\n")


def _formatted_measures(root: Path) -> None:
    path = _measures(root)
    path.write_text(json.dumps(json.loads(path.read_text())), encoding="utf-8")


def _another_picture(root: Path) -> None:
    from PIL import Image

    path = next((root / "inference_results").glob("inference_results_gt_vs_pred_*.png"))
    with Image.open(path) as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)


def _noted_frames(root: Path) -> None:
    import h5py

    with h5py.File(_measures(root).with_name("measures_01_frames.h5"), "r+") as file:
        file.attrs["note"] = "changed afterwards"


def _other_state(root: Path) -> None:
    path = healthy(root, DYNAMICS) / STATE_FILE
    path.write_bytes(path.read_bytes() + b"0")


def _no_manifest(root: Path) -> None:
    (healthy(root, DYNAMICS) / MANIFEST_FILE).unlink()


HASH = "had SHA-256"
CHAIN_BREAKS = "expected [0-9]+: lines are missing|does not continue its hash chain"
EDITED = "give other numbers than the journal: mse was"
AFTERWARDS = (
    after(
        "threshold-raised",
        "max_mse is raised after the verdict",
        "binding",
        "thresholds.max_mse",
        setting("profile", thresholds={"max_mse": 0.3}),
    ),
    after(
        "threshold-dropped",
        "skill is no longer required",
        "binding",
        "require_skill",
        setting("profile", thresholds={"require_skill": False}),
    ),
    after(
        "steps-changed",
        "fewer generated frames are configured after the verdict",
        "binding",
        "generation_steps was 6",
        setting("inference", generation_steps=2),
    ),
    after(
        "retrained-since",
        "dynamics is trained further after the verdict",
        "binding",
        "the dynamics weights had SHA-256",
        changed(DYNAMICS, noisy(0.01)),
    ),
    after(
        "frames-changed-since",
        "the frames file changes after the verdict",
        "binding",
        "the frames file had SHA-256",
        _other_frames,
    ),
    after("measures-edited", "the measures are edited after the verdict", "files", OTHER_VERDICT, _edit_measures),
    after("log-edited", "the log is edited after the verdict", "files", OTHER_VERDICT, _edit_log),
    after(
        "picture-removed",
        "the picture is deleted after the verdict",
        "files",
        "the picture inference_results_gt_vs_pred_.* is gone",
        _remove_picture,
    ),
    after(
        "verdict-edited",
        "an error is lowered in the journal",
        "chain",
        "was changed after it was written",
        _edit_verdict,
    ),
    after("row-removed", "a line is removed from the journal", "chain", CHAIN_BREAKS, _lines(_without_a_row)),
    after(
        "journal-cut", "the last lines of the journal are removed", "chain", "was cut after", _lines(lambda a: a[:-3])
    ),
    after(
        "head-removed",
        "journal.head is deleted",
        "chain",
        "is gone",
        lambda root: _journal(root).with_name(HEAD).unlink(),
    ),
    after("edited-and-chained", "an error is lowered and the journal chained anew", "files", EDITED, _edit_and_chain),
    after("log-replaced", "a line is added to the log", "evidence", f"inference_01.log {HASH}", _longer_log),
    after(
        "measures-replaced",
        "the measures are written anew",
        "evidence",
        f"measures_01.json {HASH}",
        _formatted_measures,
    ),
    after("picture-replaced", "the picture is another one", "evidence", f".png {HASH}", _another_picture),
    after(
        "frames-replaced", "the file of generated frames is another one", "evidence", f"frames.h5 {HASH}", _noted_frames
    ),
    after("state-replaced", "the state of dynamics is another one", "binding", f"{STATE_FILE} {HASH}", _other_state),
    after(
        "manifest-removed", "the manifest of dynamics is deleted", "binding", f"{MANIFEST_FILE} {HASH}", _no_manifest
    ),
)
