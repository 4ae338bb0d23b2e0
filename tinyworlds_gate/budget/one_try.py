"""One try: frames, the command within its time, the end of all its processes, the judge, and two leaderboard lines."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from tinyworlds_gate.budget.confine import can_leave_network, guard_own_process, landlock_version
from tinyworlds_gate.budget.contract import GENERATED, TryFolder, command_environment
from tinyworlds_gate.budget.copy_output import copy_checkpoints, copy_file
from tinyworlds_gate.budget.held_out import Clips, HeldOut, choose_clips, make_training_frames, play_held_out
from tinyworlds_gate.budget.judge_code import Judge, JudgeCode, read_judge_code
from tinyworlds_gate.budget.judgement import RejectedTry, Score, judge_checkpoints, judge_frames, write_contexts
from tinyworlds_gate.budget.leaderboard import Leaderboard, same_weights
from tinyworlds_gate.budget.run_command import CommandEnd, Limits, run_command
from tinyworlds_gate.budget.settings import TrySettings
from tinyworlds_gate.budget.watched_file import WatchedFile
from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.errors import CheckpointError, GateError
from tinyworlds_gate.names import INVALID
from tinyworlds_gate.run.redact import redact, redact_command
from tinyworlds_gate.run.timestamps import timestamp

SCHEMA = 1
SCORED = "SCORED"
Say = Callable[[str], None]


@dataclass
class _Try:
    """A try while it goes on."""

    settings: TrySettings
    folder: TryFolder
    number: int
    judge: Judge
    env: Mapping[str, str]
    record: dict[str, Any]
    training_sha256: str
    held_out: HeldOut | None
    say: Say

    def run(self, command: Sequence[str], seconds: float, name: str, contexts: Path | None = None) -> CommandEnd:
        """Run a command of the user, confined; record how it ended.

        Raises:
            RejectedTry: it ran too long or filled the disk.
            LaunchError: it cannot be started or ended.
        """
        limits = Limits(
            seconds,
            self.settings.most_output_bytes,
            (self.folder.work, *self.settings.writable),
            tuple(self._hidden()),
            self.settings.landlock,
            not self.settings.network,
        )
        env = command_environment(self.env, self.folder, seconds, contexts)
        log = self.folder.log(name)
        with WatchedFile(self.settings.frames.data) as watched:
            ended = run_command(command, cwd=Path.cwd(), env=env, log=log, limits=limits, disk=self.folder.path)
            touched = watched.touched()
        self.record["seconds"][name] = {"budget": seconds, "used": ended.used_s}
        self.record["ended"][name] = {
            "by": ended.ended_by,
            "exit_code": ended.exit_code,
            "signal": ended.signal,
            "left_behind": ended.left_behind,
        }
        if ended.problem is not None:
            raise RejectedTry(ended.problem)
        if touched:
            raise RejectedTry(
                f"{self.settings.frames.data} was opened, changed or linked while the command ran; it holds the "
                "held-out episodes: train on the frames that the command gets, and let nothing else read that file"
            )
        return ended

    def _hidden(self) -> list[Path]:
        """What no command may read: the file with the held-out frames, and the weights of other tries."""
        data = self.settings.frames.data
        others = [one for one in self.settings.folder.glob("try-*") if one != self.folder.path]
        return [one.absolute() for one in (*others, *([] if data is None else [data]))]


def run_try(settings: TrySettings, env: Mapping[str, str], say: Say) -> dict[str, Any]:
    """Run and judge a command; return the result line, which the leaderboard holds too.

    Args:
        env: the environment of the user, for the command.
        say: shows progress.

    Raises:
        GateError: nothing was started: a setting, the frames or the leaderboard is wrong.
    """
    settings.require_possible()
    # Of this process and those that it starts: a compiled file that appears is then the command's.
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    guarded = guard_own_process()
    landlock = settings.landlock and landlock_version() > 0
    network = settings.network or not can_leave_network()
    settings = replace(settings, folder=settings.folder.absolute(), landlock=landlock, network=network)
    settings.folder.mkdir(parents=True, exist_ok=True)
    board = Leaderboard(settings.folder)
    try:
        number = board.next_number
        folder = TryFolder(settings.folder / f"try-{number:04d}")
        _remove(folder.path)  # of a call that ended before its try began
        for made in (folder.output, folder.temporary):
            made.mkdir(parents=True)
        say(f"try {number}: frames for training")
        held_out = make_training_frames(settings.frames, folder.frames)
        say("hashes of the judge's program")
        code = read_judge_code()
        training_sha256 = sha256_of(folder.frames)
        record = _opening(settings, number, code, training_sha256, guarded)
        board.start({key: value for key, value in record.items() if key not in ("seconds", "ended")})
        judge = Judge(code, folder.judge, dict(os.environ))
        one = _Try(settings, folder, number, judge, env, record, training_sha256, held_out, say)
        try:
            result = _judged(one, board)
        except GateError as error:
            result = _invalid(record, str(error))
        except OSError as error:
            result = _invalid(record, f"{error.filename or folder.path}: {error.strerror or error}")
        except BaseException:
            _finish(board, folder, _invalid(record, "it was interrupted"))
            raise
        return _finish(board, folder, result)
    finally:
        board.close()


def _judged(one: _Try, board: Leaderboard) -> dict[str, Any]:
    settings, folder = one.settings, one.folder
    one.say(f"training for at most {settings.seconds:g} s; its output: {folder.log('train')}")
    ended = one.run(settings.command, settings.seconds, "train")
    _require_untouched(one, board)
    if settings.predict is None:
        try:
            digests = copy_checkpoints(folder.output, folder.weights, settings.most_output_bytes)
        except CheckpointError as error:
            failed = ended.exit_code not in (0, None)
            raise RejectedTry(f"{error}{_failed(ended.exit_code, folder) if failed else ''}") from error
        one.record["hashes"]["files"] = digests
        score = _score_checkpoints(one)
    else:
        if ended.exit_code not in (0, None):
            raise RejectedTry(
                f"the command ended with exit code {ended.exit_code}, so there is nothing to predict with"
            )
        score = _score_predicted(one, board)
    return _scored(one.record, score, same_weights(board.events, score.weights))


def _failed(exit_code: int | None, folder: TryFolder) -> str:
    log = folder.log("train")
    return f"; the command ended with exit code {exit_code} (its output: {log.parent.name}/{log.name})"


def _score_checkpoints(one: _Try) -> Score:
    held_out, clips = _clips(one)
    one.record["clips"] = {"seed": held_out.seed, "made": held_out.made}
    path = held_out.write(one.folder.judge / "held_out_frames.h5")
    one.record["hashes"]["held_out"] = sha256(held_out.content).hexdigest()
    one.say(f"the judge measures {len(clips.starts)} clips")
    return judge_checkpoints(one.judge, one.settings.judge, one.folder.weights, path, clips)


def _score_predicted(one: _Try, board: Leaderboard) -> Score:
    """The true frames stay in the memory of this process while the second command runs."""
    settings, folder = one.settings, one.folder
    assert settings.predict is not None
    held_out, clips = _clips(one)
    write_contexts(folder.contexts, clips, settings.judge.context)
    one.say(f"predicting {len(clips.starts)} clips for at most {settings.predict_seconds:g} s")
    one.run(settings.predict, settings.predict_seconds, "predict", folder.contexts)
    _require_untouched(one, board)
    one.record["clips"] = {"seed": held_out.seed, "made": held_out.made}
    one.record["hashes"]["held_out"] = sha256(held_out.content).hexdigest()
    path = folder.judge / GENERATED
    one.record["hashes"]["generated"] = copy_file(folder.output, GENERATED, path, settings.most_output_bytes)
    one.say("the judge measures the frames")
    return judge_frames(one.judge, settings.judge, path, clips, folder.judge)


def _clips(one: _Try) -> tuple[HeldOut, Clips]:
    """Return the held-out frames, which are on the disk only within this function, and the clips."""
    path = one.folder.judge / "held_out_frames.h5"
    held_out = one.held_out
    if held_out is None:
        one.say("the game is played again, for frames that nobody has seen")
        held_out = play_held_out(one.settings.frames, one.judge, path, one.settings.judge.timeout_s)
    held_out.write(path)
    try:
        judge = one.settings.judge
        clips = choose_clips(path, one.folder.frames, judge.clips, judge.length, held_out.seed)
    finally:
        _remove(one.folder.judge)
    return held_out, clips


def _require_untouched(one: _Try, board: Leaderboard) -> None:
    """Refuse the try if the leaderboard, the judge's program or the training frames changed while the command ran.

    Raises:
        RejectedTry: one of them did.
    """
    undone = board.undo_changes()
    changed = one.judge.code.changed_to(read_judge_code())
    if undone is not None:
        raise RejectedTry(undone)
    if changed is not None:
        raise RejectedTry(
            f"the judge's program changed while the command ran: {changed}; install and edit nothing meanwhile, and "
            "install it anew if the command did that: every later try would run the changed file"
        )
    if os.path.lexists(one.folder.judge):
        raise RejectedTry(f"{one.folder.judge} appeared while the command ran; only the judge makes that folder")
    if one.folder.frames.is_symlink() or sha256_of(one.folder.frames) != one.training_sha256:
        raise RejectedTry(f"{one.folder.frames.name}, the training frames, was changed; leave it as it is")


def _opening(
    settings: TrySettings, number: int, code: JudgeCode, training_sha256: str, guarded: bool
) -> dict[str, Any]:
    commands = [settings.command, *([] if settings.predict is None else [settings.predict])]
    files = {word: sha256_of(Path(word)) for one in commands for word in one if Path(word).is_file()}
    watched = settings.frames.data is not None and sys.platform == "linux"
    return {
        "schema": SCHEMA,
        "try": number,
        "began": timestamp(),
        "command": redact_command(settings.command),
        **({} if settings.predict is None else {"predict": redact_command(settings.predict)}),
        "settings": settings.as_record(),
        "hashes": {
            "judge": code.sha256,
            "training_frames": training_sha256,
            "command": sha256(json.dumps([redact_command(one) for one in commands]).encode()).hexdigest(),
            "command_files": files,
        },
        "protection": {
            "landlock": settings.landlock,
            "no_network": not settings.network,
            "memory_and_orphans": guarded,
            "held_out_file_watched": watched if settings.frames.data is not None else None,
            "writable": [str(one) for one in settings.writable],
        },
        "seconds": {},
        "ended": {},
    }


def _invalid(record: Mapping[str, Any], reason: str) -> dict[str, Any]:
    return {**record, "status": INVALID, "reason": redact(reason)}


def _scored(record: Mapping[str, Any], score: Score, repeats: int | None) -> dict[str, Any]:
    hashes = {**record["hashes"], **({"weights": score.weights} if score.weights else {})}
    return {
        **record,
        "status": SCORED,
        "verdict": score.verdict,
        "sentence": score.sentence,
        "score": score.score,
        "baseline": score.baseline,
        "clips": {**record["clips"], **score.clips},
        "hashes": hashes,
        "notes": list(score.notes),
        **({} if repeats is None else {"same_weights_as_try": repeats}),
    }


def _finish(board: Leaderboard, folder: TryFolder, result: dict[str, Any]) -> dict[str, Any]:
    """Write the result's line, and remove all but the weights, the logs and the result."""
    undone = board.undo_changes()
    if undone is not None and result["status"] == SCORED:
        result = _invalid(result, undone)
    board.finish(result)
    result = {**result, "leaderboard": {"chain": board.chain}}
    for unneeded in (folder.work, folder.judge):
        _remove(unneeded)
    for file in (folder.frames, folder.contexts):
        file.unlink(missing_ok=True)
    with suppress(OSError):
        folder.result.write_text(json.dumps(result, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    return result


def _remove(folder: Path) -> None:
    """Remove a folder that a command wrote, also read-only ones in it; links are not followed."""
    if not folder.is_dir() or folder.is_symlink():
        folder.unlink(missing_ok=True)
        return
    for below, folders, _ in os.walk(folder):
        for name in folders:
            path = os.path.join(below, name)
            if not os.path.islink(path):
                with suppress(OSError):
                    os.chmod(path, 0o700)
    shutil.rmtree(folder, ignore_errors=True)
