"""The parts of `tinyworlds-gate budget` without a whole try: time, copies, leaderboard, judge's program, table.

pytest tests/unit/budget/test_pieces.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tinyworlds_gate.budget import confine, judge_code, run_command
from tinyworlds_gate.budget.confine import beside, can_leave_network, landlock_version
from tinyworlds_gate.budget.contract import LEADERBOARD, TryFolder, command_environment, warning_after
from tinyworlds_gate.budget.copy_output import copy_checkpoints, copy_file
from tinyworlds_gate.budget.judge_code import JudgeCode, judge_environment
from tinyworlds_gate.budget.leaderboard import Leaderboard, read_tries, same_weights
from tinyworlds_gate.budget.settings import FrameSettings, JudgeSettings, TrySettings
from tinyworlds_gate.budget.table import UNFINISHED, ranked, table_text
from tinyworlds_gate.budget.watched_file import WatchedFile
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.errors import CheckpointError, ConfigError, GateError
from tinyworlds_gate.names import STAGES

linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
RUN = """
import json, os, sys
from dataclasses import asdict
from pathlib import Path
from tinyworlds_gate.budget.confine import guard_own_process
from tinyworlds_gate.budget import run_command
guard_own_process()
folder, seconds, reserve, *command = sys.argv[1:]
run_command.DISK_RESERVE = int(reserve)
limits = run_command.Limits(float(seconds), 1 << 20)
ended = run_command.run_command(
    command, cwd=Path(folder), env=dict(os.environ), log=Path(folder, "log"), limits=limits, disk=Path(folder)
)
print(json.dumps(asdict(ended)))
"""
"""The harness of a command, in a process of its own: it adopts orphans."""


def run(folder: Path, command: list[str], *, seconds: float = 20.0, reserve: int = 0) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(folder), str(seconds), str(reserve), *command],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@linux
def test_no_process_of_a_command_survives_it(tmp_path: Path) -> None:
    """Not one that left the session, changed its name and environment, and ignores SIGTERM."""
    daemon = (
        "import os, signal\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork(): os._exit(0)\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    open('pid', 'w').write(str(os.getpid()))\n"
        "    os.execve('/bin/sleep', ['vim', '1000'], {})\n"
        "import time\n"
        "while not os.path.exists('pid') or not open('pid').read(): time.sleep(0.01)\n"
    )
    ended = run(tmp_path, [sys.executable, "-c", daemon])
    assert (ended["exit_code"], ended["ended_by"], ended["problem"]) == (0, "itself", None)
    assert ended["left_behind"] >= 1
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text()}").exists()


def test_a_command_is_ended_at_its_deadline_and_is_warned_before(tmp_path: Path) -> None:
    words = "import signal, sys, time\n"
    words += "signal.signal(signal.SIGTERM, lambda *_: open('warned', 'w').close())\nwhile True: time.sleep(0.05)"
    ended = run(tmp_path, [sys.executable, "-c", words], seconds=2.0)
    assert (ended["signal"], ended["ended_by"], ended["problem"]) == ("SIGKILL", "the deadline", None)
    assert (tmp_path / "warned").exists()
    assert ended["used_s"] >= 2.0


def test_a_command_that_fills_the_disk_is_ended(tmp_path: Path) -> None:
    ended = run(tmp_path, ["sleep", "60"], reserve=1 << 60)
    assert "nearly full" in ended["problem"]


def test_a_command_that_does_not_exist_says_so(tmp_path: Path) -> None:
    ended = run(tmp_path, ["no-such-program"])
    assert ended["exit_code"] == 127
    assert "no-such-program: No such file or directory" in (tmp_path / "log").read_text()


def test_a_file_of_a_command_has_a_largest_size(tmp_path: Path) -> None:
    ended = run(tmp_path, [sys.executable, "-c", "open('large', 'wb').write(bytes(2 << 20))"])
    assert ended["exit_code"] != 0
    assert (tmp_path / "large").stat().st_size <= 1 << 20


def test_the_warning_comes_ten_seconds_or_a_tenth_before_the_end() -> None:
    assert (warning_after(1000.0), warning_after(20.0)) == (990.0, 18.0)


@pytest.mark.skipif(landlock_version() == 0, reason="this kernel has no Landlock")
def test_a_confined_command_writes_in_its_folder_only_and_cannot_read_what_is_hidden(tmp_path: Path) -> None:
    for name in ("own", "other", "secret"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    asked = {"landlock": True, "alone": False, "file_bytes": 1 << 20, "writable": [str(tmp_path / "own")]}
    asked["hidden"] = [str(tmp_path / "secret")]
    script = (
        "for name in own other secret; do cat $name/file; echo x > $name/new && echo wrote $name; done 2>/dev/null;"
        "kill -0 $PPID 2>/dev/null && echo signalled; true"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", confine.__file__, json.dumps(asked), "--", "sh", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (
        done.stdout.split() == ["own", "wrote", "own", "other"] or done.stdout.replace("\n", "") == "ownwrote ownother"
    )


@pytest.mark.skipif(not can_leave_network(), reason="no network namespaces here")
def test_a_command_apart_has_the_loopback_device_only_and_a_memory_folder_of_its_own(tmp_path: Path) -> None:
    asked = {"landlock": False, "alone": True, "file_bytes": 1 << 20, "writable": [], "hidden": []}
    name = f"budget_test_{tmp_path.name}"
    script = (
        "import os, socket\n"
        "one = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(one.getsockname()).close()\n"
        f"open('/dev/shm/{name}', 'w').close()\n"
        "print([line.split(':')[0].strip() for line in open('/proc/net/dev')][2:], os.listdir('/dev/shm'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", confine.__file__, json.dumps(asked), "--", sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == f"['lo'] ['{name}']"
    assert not Path("/dev/shm", name).exists()


def test_what_lies_beside_a_hidden_file_covers_all_but_that_file(tmp_path: Path) -> None:
    for name in ("a/b/hidden", "a/b/near", "a/far", "other"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = set(beside([tmp_path / "a/b/hidden"]))
    assert {tmp_path / name for name in ("a/b/near", "a/far", "other")} <= found
    assert not any((tmp_path / "a/b/hidden").is_relative_to(one) for one in found)


@linux
def test_a_watched_file_notices_a_reader_by_any_name(tmp_path: Path) -> None:
    path = tmp_path / "frames.h5"
    path.write_text("x")
    os.link(path, tmp_path / "link")
    with WatchedFile(path) as watched:
        assert watched.touched() is False
        (tmp_path / "link").read_text()
        assert watched.touched() is True
    with WatchedFile(None) as nothing:
        assert nothing.touched() is None


def checkpoints(root: Path) -> Path:
    for stage in STAGES:
        for step in (0, 4, 9):
            folder = root / stage / "checkpoints" / f"{stage}_step_{step}"
            folder.mkdir(parents=True)
            (folder / "weights").write_text(f"{stage} {step}")
    return root


def test_the_newest_checkpoints_of_each_stage_are_copied_and_hashed(tmp_path: Path) -> None:
    output = checkpoints(tmp_path / "output")
    (output / "dynamics_step_11").mkdir()
    (output / "dynamics_step_11/weights").write_text("beside the stages")
    digests = copy_checkpoints(output, tmp_path / "weights", 1 << 20)
    copied = sorted(str(path.relative_to(tmp_path / "weights")) for path in (tmp_path / "weights").rglob("weights"))
    assert copied == [
        "dynamics/dynamics_step_11/weights",
        "dynamics/dynamics_step_9/weights",
        *(f"latent_actions/latent_actions_step_{step}/weights" for step in (4, 9)),
        *(f"video_tokenizer/video_tokenizer_step_{step}/weights" for step in (4, 9)),
    ]
    (output / "dynamics_step_11/weights").write_text("beside the stageS")
    again = copy_checkpoints(output, tmp_path / "again", 1 << 20)
    assert {stage for stage in STAGES if again[stage] != digests[stage]} == {"dynamics"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: (path / "link").symlink_to("weights"), "symbolic link"),
        (lambda path: os.mkfifo(path / "pipe"), "no regular file"),
        (lambda path: (path / "inner").mkdir(), "is a folder"),
        (lambda path: [(path / f"{number}").touch() for number in range(70)], "71 files"),
        (lambda path: (path / "weights").write_bytes(bytes(5000)), "more than 4.0 KiB"),
    ],
)
def test_only_plain_files_within_a_size_are_copied(change: Any, reason: str, tmp_path: Path) -> None:
    output = checkpoints(tmp_path / "output")
    change(output / "dynamics/checkpoints/dynamics_step_9")
    with pytest.raises(CheckpointError, match=reason):
        copy_checkpoints(output, tmp_path / "weights", 4096)


def test_an_output_folder_that_is_gone_or_a_link_is_refused(tmp_path: Path) -> None:
    checkpoints(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name, reason in (("gone", "is gone"), ("link", "replaced by a link")):
        with pytest.raises(CheckpointError, match=reason):
            copy_file(tmp_path / name, "generated.h5", tmp_path / "copy", 10)


def test_the_leaderboard_puts_back_what_a_command_changed(tmp_path: Path) -> None:
    path = tmp_path / LEADERBOARD
    board = Leaderboard(tmp_path)
    assert board.next_number == 1
    board.start({"try": 1, "command": "first"})
    assert board.undo_changes() is None
    path.write_bytes(path.read_bytes().replace(b"first", b"worst"))
    assert "was changed" in str(board.undo_changes())
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    assert "was removed" in str(board.undo_changes())
    board.finish({"try": 1, "status": "INVALID", "reason": "it cheated"})
    chain = board.chain
    board.close()
    assert [(event["event"], event.get("command")) for event in read_tries(tmp_path)] == [
        ("try_started", "first"),
        ("try_finished", None),
    ]
    assert json.loads(path.read_text().splitlines()[-1])["chain"] == chain
    assert (tmp_path / f"{LEADERBOARD}.changed").is_symlink()


def test_a_leaderboard_that_was_edited_between_two_tries_is_refused(tmp_path: Path) -> None:
    board = Leaderboard(tmp_path)
    for number in (1, 2):
        board.start({"try": number, "command": "c"})
        board.finish({"try": number, "status": "INVALID", "reason": "r"})
    board.close()
    path = tmp_path / LEADERBOARD
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"reason": "r"', b'"reason": "s"', 1))
    with pytest.raises(GateError, match="line 2 does not continue its hash chain"):
        Leaderboard(tmp_path)
    path.write_bytes(b"".join(content.splitlines(keepends=True)[:-1]))
    with pytest.raises(GateError, match="was cut after line 3"):
        read_tries(tmp_path)


def test_two_tries_of_a_folder_do_not_run_at_once(tmp_path: Path) -> None:
    board = Leaderboard(tmp_path)
    with pytest.raises(GateError, match="another process"):
        Leaderboard(tmp_path)
    board.close()


CODE = JudgeCode(("/a",), "0" * 64, {"/a/b.py": (1, 2, 3, 4, 5), "/a/__pycache__/b.pyc": (1, 2, 3, 4, 5)})


def test_a_changed_file_of_the_judge_is_named() -> None:
    def changed_to(files: dict[str, tuple[int, ...]]) -> str | None:
        return CODE.changed_to(replace(CODE, files=files))

    source, compiled = CODE.files
    assert changed_to({**CODE.files, source: (1, 2, 3, 4, 6)}) == "/a/b.py was changed"
    assert changed_to({compiled: CODE.files[compiled]}) == "/a/b.py was removed"
    assert changed_to({**CODE.files, "/a/evil.pth": (1,)}) == "/a/evil.pth was added"
    assert changed_to({**CODE.files, compiled: (9,)}) == "/a/__pycache__/b.pyc was changed"
    assert CODE.changed_to(replace(CODE, package_sha256="1" * 64)) is not None
    assert CODE.sha256 != replace(CODE, package_sha256="1" * 64).sha256
    assert CODE.changed_to(CODE) is None


def test_the_files_of_the_judge_include_startup_files_beside_installed_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "installed").mkdir()
    monkeypatch.setattr(sys, "path", ["", str(tmp_path / "installed")])
    before = judge_code.read_judge_code()
    (tmp_path / "installed/evil.pth").write_text("import os")
    assert before.changed_to(judge_code.read_judge_code()) == f"{tmp_path}/installed/evil.pth was added"


def test_modules_beside_the_package_count_and_results_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tinyworlds_gate").mkdir()
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(judge_code, "PACKAGE", tmp_path / "tinyworlds_gate")
    before = judge_code.read_judge_code()
    (tmp_path / "results").mkdir()
    (tmp_path / "results/plot.py").touch()
    (tmp_path / "frames.h5").touch()
    assert before.changed_to(judge_code.read_judge_code()) is None
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy/__init__.py").touch()
    assert before.changed_to(judge_code.read_judge_code()) == f"{tmp_path}/numpy/__init__.py was added"


def test_the_environment_of_the_judge_has_nothing_of_the_command(tmp_path: Path) -> None:
    theirs = {"LD_PRELOAD": "evil.so", "PYTHONSTARTUP": "x", "PYTHONPATH": "/evil", "TINYWORLDS_GATE_OWNER": "x"}
    env = judge_environment({**theirs, "CUDA_VISIBLE_DEVICES": "1", "HOME": "/theirs"}, tmp_path, ("/judge",))
    assert not theirs.keys() - {"PYTHONPATH"} & env.keys()
    assert (env["PYTHONPATH"], env["HOME"], env["CUDA_VISIBLE_DEVICES"]) == ("/judge", str(tmp_path), "1")


def test_the_command_gets_its_contract(tmp_path: Path) -> None:
    env = command_environment({"HOME": "/home", "TMPDIR": "/else"}, TryFolder(tmp_path), 300.0)
    assert env["TINYWORLDS_BUDGET_FRAMES"] == f"{tmp_path}/frames.h5"
    assert env["TINYWORLDS_BUDGET_OUTPUT"] == f"{tmp_path}/work/output"
    assert (env["TINYWORLDS_BUDGET_SECONDS"], env["TMPDIR"], env["HOME"]) == ("300", f"{tmp_path}/work/tmp", "/home")
    assert "TINYWORLDS_BUDGET_CONTEXTS" not in env


def finished(number: int, low: float | None, **changes: Any) -> dict[str, Any]:
    score = dict.fromkeys(("mse", "mse_low", "mse_high", "skill_strongest", "skill_strongest_high"), 0.25)
    return {
        "seq": 2 * number,
        "event": "try_finished",
        "try": number,
        "status": "SCORED",
        "verdict": "FAIL",
        "command": f"train {number}",
        "score": {**score, "skill_strongest_low": low},
        "baseline": {"strongest_baseline_mse": 0.5},
        "seconds": {"train": {"used": 3.0}},
        "hashes": {"weights": {"dynamics": f"{number}"}},
        **changes,
    }


def test_the_table_ranks_scores_and_lists_every_other_try() -> None:
    rows = [
        finished(1, 0.1),
        finished(2, 0.4),
        finished(3, None),
        finished(4, 0.9, status="INVALID", reason="it cheated"),
    ]
    started = [
        {"seq": 0, "event": "try_started", "try": number, "command": f"train {number}"} for number in range(1, 6)
    ]
    events = [*started, *rows]
    assert [row["try"] for row in ranked(events)] == [2, 1, 3, 4, 5]
    text = table_text(events)
    assert "try 4: it cheated" in text
    assert f"try 5: {UNFINISHED}" in text
    assert same_weights(events, {"dynamics": "2"}) == 2
    assert same_weights(events, {}) is None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--seconds", "5", "--game", "pong"], "a command are needed"),
        (["--game", "pong", "--", "true"], "--seconds N and"),
        (["--seconds", "5", "--", "true"], "--data FILE.h5 or --game NAME is needed"),
        (["--seconds", "5", "--game", "pong", "--data", "x.h5", "--", "true"], "only one of them"),
        (["--seconds", "5", "--game", "pong", "--episode-length", "9", "--", "true"], "a clip has 15 frames"),
        (["--seconds", "5", "--data", "missing.h5", "--", "true"], "there is no such file"),
        (["--seconds", "5", "--game", "pong", "--writable", ".", "--", "true"], "where the leaderboard is"),
        (["--seconds", "5", "--game", "pong", "--predict", "'", "--", "true"], "quote it as for a shell"),
        (["--table"], "there is no leaderboard"),
    ],
)
def test_a_mistake_is_one_sentence(
    words: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tinyworlds_gate.budget.one_try.guard_own_process", lambda: False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert main(["budget", *words]) == 2
    capsys.readouterr()
    assert main(["budget", *words]) == 2, "the first call left something behind"
    printed = capsys.readouterr().err
    assert sentence in printed
    assert len([line for line in printed.splitlines() if line.startswith("tinyworlds-gate: ")]) == 1


def test_settings_are_part_of_the_result_without_the_path_of_the_frames() -> None:
    settings = TrySettings(
        folder=Path("budget"),
        command=("true",),
        seconds=5.0,
        frames=FrameSettings(data=Path("elsewhere/frames.h5")),
        judge=JudgeSettings(),
    )
    settings.require_possible()
    record = settings.as_record()
    assert record["frames"] == {"data": "frames.h5", "held_out_fraction": 0.2}
    assert record["judge"]["steps"] == 12
    with pytest.raises(ConfigError, match="--game NAME"):
        replace(settings, frames=FrameSettings()).require_possible()
    assert run_command.LATE_S < 5
