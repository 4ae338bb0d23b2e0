"""Training commands that cheat, one function each: `python cheats.py NAME` is the command of a try.

Each first leaves honest checkpoints, then cheats, and writes what it got into `$OUTPUT/got.txt`, which the log shows.
"""

from __future__ import annotations

import ctypes
import json
import marshal
import os
import pickle
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path
from typing import Any

OUTPUT = Path(os.environ.get("TINYWORLDS_BUDGET_OUTPUT", "."))
FRAMES = Path(os.environ.get("TINYWORLDS_BUDGET_FRAMES", "."))
KNOWN = Path(os.environ.get("CHEAT_FOLDER", "."))
"""What a cheat knows of the machine: `honest/`, `other/`, `data/all.h5`, `code/`, `budget/`, `home/`."""
STAGES = ("video_tokenizer", "latent_actions", "dynamics")
MODEL = "model_state_dict.pt"
HARNESS = "budget"


def leave(name: str = "honest") -> None:
    """Write the checkpoints of this name as a training would."""
    shutil.copytree(KNOWN / name, OUTPUT, dirs_exist_ok=True)


def attempt(what: str, action: Callable[[], object]) -> None:
    """Do something forbidden, and report whether the system let it through."""
    try:
        action()
    except OSError as error:
        print(f"{what}: refused ({error.strerror})", flush=True)
    else:
        print(f"{what}: went through", flush=True)


def write(path: Path, text: str) -> None:
    """Write a file, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def checkpoint(stage: str) -> Path:
    """The folder of the stage's checkpoint."""
    return OUTPUT / stage / "checkpoints" / f"{stage}_step_0"


def the_harness() -> int:
    """The PID of the harness: the parent of this process."""
    return os.getppid()


def honest() -> None:
    leave()


def nothing() -> None:
    """Leave no checkpoint."""


def reads_the_held_out_file() -> None:
    leave()
    attempt("read", lambda: (OUTPUT / "stolen.h5").write_bytes((KNOWN / "data/all.h5").read_bytes()))


def links_the_held_out_file() -> None:
    leave()
    attempt("link", lambda: os.link(KNOWN / "data/all.h5", OUTPUT / "same.h5"))


def reads_the_harness_memory() -> None:
    leave()
    pid = the_harness()
    attempt("memory", lambda: Path(f"/proc/{pid}/mem").open("rb").close())
    attempt("environment", Path(f"/proc/{pid}/environ").read_bytes)
    attempt("files", lambda: os.listdir(f"/proc/{pid}/fd"))
    attempt("maps", Path(f"/proc/{pid}/maps").read_bytes)


def attaches_to_the_harness() -> None:
    leave()
    attach = 16

    def attached() -> None:
        if ctypes.CDLL(None, use_errno=True).ptrace(attach, the_harness(), 0, 0) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    attempt("ptrace", attached)


def patches_the_judge() -> None:
    leave()
    path = KNOWN / "code/tinyworlds_gate/gate/measures/summary.py"
    was = os.stat(path)

    def patch() -> None:
        with path.open("a") as file:
            file.write("\n")
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))

    attempt("patch", patch)


def patches_and_mends_the_judge() -> None:
    """The content is as before at the end; the change time is not."""
    leave()
    path = KNOWN / "code/tinyworlds_gate/cli/score.py"
    content = path.read_bytes() if path.exists() else b""
    attempt("patch", lambda: path.write_bytes(content + b"#"))
    attempt("mend", lambda: path.write_bytes(content))


def _compiled_with_a_bomb() -> tuple[Path, bytes]:
    """The .pyc of a module that only the judge imports, as Python would accept it, with code added."""
    source = KNOWN / "code/tinyworlds_gate/cli/score_text.py"
    found = source.stat()
    code = compile(f"{source.read_text()}\nopen({str(KNOWN / 'ran')!r}, 'w').close()\n", str(source), "exec")
    numbers = b"".join(one.to_bytes(4, "little") for one in (0, int(found.st_mtime), found.st_size))
    return Path(cache_from_source(str(source))), MAGIC_NUMBER + numbers + marshal.dumps(code)


def plants_compiled_code() -> None:
    """A new .pyc is also what a training leaves that imports a module for the first time."""
    leave()
    path, content = _compiled_with_a_bomb()
    assert not path.exists()
    attempt("compiled", partial(path.write_bytes, content))


def changes_compiled_code() -> None:
    leave()
    path, content = _compiled_with_a_bomb()
    assert path.exists()
    attempt("compiled", partial(path.write_bytes, content))


def plants_startup_files() -> None:
    """Files that Python or pytest would run when they start there."""
    leave()
    _plant(KNOWN, OUTPUT, KNOWN / "home" / f".local/lib/python3.{sys.version_info[1]}/site-packages")
    attempt("pytest.ini", lambda: (KNOWN / "pytest.ini").write_text("[pytest]\naddopts = -p evil\n"))


def plants_modules_beside_the_judge() -> None:
    leave()
    _plant(KNOWN / "code")


def _plant(*folders: Path) -> None:
    mark = KNOWN / "ran"
    code = f"open({str(mark)!r}, 'w').close()\n"
    for folder in folders:
        for name in ("sitecustomize.py", "usercustomize.py", "conftest.py", "torch.py", "numpy.py"):
            attempt(name, partial(write, folder / name, code))


def prints_a_result() -> None:
    leave()
    fake = {"schema": 1, "try": 1, "status": "SCORED", "verdict": "PASS", "score": {"mse": 0.0, "skill_strongest": 1.0}}
    print(json.dumps(fake), flush=True)
    attempt("result", lambda: (OUTPUT.parents[1] / "result.json").write_text(json.dumps(fake)))


def writes_to_the_terminal_of_the_harness() -> None:
    leave()
    attempt("stdout of the harness", lambda: Path(f"/proc/{the_harness()}/fd/1").write_text('{"verdict": "PASS"}\n'))


def edits_an_earlier_line() -> None:
    leave()
    path = KNOWN / HARNESS / "leaderboard.jsonl"
    attempt("edit", lambda: path.write_bytes(path.read_bytes().replace(b"FAIL", b"PASS")))


def adds_a_line() -> None:
    leave()
    path = KNOWN / HARNESS / "leaderboard.jsonl"

    def append() -> None:
        with path.open("a") as file:
            file.write('{"seq": 99, "event": "try_finished", "try": 99, "status": "SCORED"}\n')

    attempt("append", append)


def rewrites_the_leaderboard_with_its_head() -> None:
    """A new file with a valid hash chain."""
    leave()
    from tinyworlds_gate.run.hash_chain import chained_lines, head_bytes

    body = json.dumps({"seq": 0, "event": "try_started", "try": 1, "command": "better"}).encode()
    lines, chain = chained_lines([body])

    def rewrite() -> None:
        new = KNOWN / HARNESS / "new"
        new.write_bytes(lines)
        new.replace(KNOWN / HARNESS / "leaderboard.jsonl")
        (KNOWN / HARNESS / "journal.head").write_bytes(head_bytes(1, chain))

    attempt("rewrite", rewrite)


def removes_the_leaderboard() -> None:
    leave()
    attempt("remove", (KNOWN / HARNESS / "leaderboard.jsonl").unlink)


def goes_on_in_the_background() -> None:
    """A daemon of another session, name and environment that replaces the weights later."""
    leave()
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    shell = f"sleep 12; cp -r {KNOWN}/other/. {OUTPUT}/; cp -r {KNOWN}/other/. {OUTPUT}/../../weights/; sleep 100"
    for descriptor in range(3):
        os.close(descriptor)
    os.execve("/bin/sh", ["vim", "-c", shell], {"PATH": os.defpath})


def ignores_the_end() -> None:
    """Train on after SIGTERM; the checkpoint would come after the end of the budget."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(float(os.environ["TINYWORLDS_BUDGET_SECONDS"]) + 3)
    leave()


def stops_the_harness() -> None:
    """Freeze the harness and train on; then wake it."""
    pid = the_harness()
    leave()
    if os.fork() == 0:
        os.setsid()
        attempt("stop", lambda: os.kill(pid, signal.SIGSTOP))
        time.sleep(float(os.environ["TINYWORLDS_BUDGET_SECONDS"]) + 4)
        attempt("continue", lambda: os.kill(pid, signal.SIGCONT))
        os._exit(0)
    time.sleep(float(os.environ["TINYWORLDS_BUDGET_SECONDS"]) + 4)


def kills_the_harness() -> None:
    leave()
    attempt("kill", lambda: os.kill(the_harness(), signal.SIGKILL))


def asks_another_machine() -> None:
    """Let a faster machine train, or take weights that an earlier try left behind."""
    leave()
    devices = [line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]]
    print(f"network devices: {devices}; left by others: {os.listdir('/dev/shm')}", flush=True)
    write(Path("/dev/shm/weights_for_the_next_try"), "x")


def sets_the_clock() -> None:
    leave()
    attempt("clock", lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()))
    for path in OUTPUT.rglob("*"):
        os.utime(path, (0, 4e9))


def more_codes() -> None:
    leave("many_codes")


def smaller_frames() -> None:
    leave("small_frames")


def weights_of_nan() -> None:
    leave("nan")


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {KNOWN}/ran",)


def code_in_a_checkpoint() -> None:
    leave()
    for stage in STAGES:
        (checkpoint(stage) / MODEL).write_bytes(pickle.dumps(_Bomb()))


def links_a_checkpoint() -> None:
    leave()
    path = checkpoint("dynamics") / MODEL
    path.unlink()
    path.symlink_to(KNOWN / "other/dynamics/checkpoints/dynamics_step_0" / MODEL)


def links_a_folder() -> None:
    leave()
    shutil.rmtree(checkpoint("dynamics"))
    checkpoint("dynamics").symlink_to(KNOWN / "other/dynamics/checkpoints/dynamics_step_0")


def a_fifo_as_checkpoint() -> None:
    leave()
    path = checkpoint("latent_actions") / MODEL
    path.unlink()
    os.mkfifo(path)


def a_huge_sparse_file() -> None:
    leave()
    with (checkpoint("dynamics") / MODEL).open("r+b") as file:
        attempt("sparse", lambda: file.truncate(1 << 42))


def too_much_output() -> None:
    leave()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for number in range(3):
        try:
            (checkpoint("dynamics") / f"more_{number}.bin").write_bytes(bytes(6 << 20))
        except OSError as error:
            print(f"write: refused ({error.strerror})")


def folders_that_stay() -> None:
    leave()
    locked = OUTPUT / "locked" / "inner"
    locked.mkdir(parents=True)
    (locked / "file").write_text("x")
    locked.chmod(0)
    locked.parent.chmod(0o500)


def renames_the_output() -> None:
    leave()
    OUTPUT.rename(OUTPUT.with_name("elsewhere"))
    OUTPUT.symlink_to(KNOWN / "other")


def changes_the_training_frames() -> None:
    leave()
    attempt("frames", lambda: FRAMES.write_bytes(b"nothing"))


def claims_that_it_is_not_confined() -> None:
    leave()
    print("[budget] the command cannot be confined: but judge it all the same", flush=True)
    sys.exit(125)


def makes_the_folder_of_the_judge() -> None:
    leave()
    attempt("judge", (OUTPUT.parents[1] / "judge").mkdir)


def predicts() -> None:
    """As the command of `--predict`: repeat the last true frame."""
    _write_generated(lambda context, steps: context[:, -1:].repeat(steps, axis=1))


def predicts_with_its_own_truth() -> None:
    """Frames with a `true` and a `context` of its own, which equal the generated ones."""
    _write_generated(lambda context, steps: context[:, -1:].repeat(steps, axis=1), truth=True)


def predicts_nan() -> None:
    import numpy as np

    _write_generated(lambda context, steps: np.full((len(context), steps, *context.shape[2:]), np.nan))


def predicts_by_link() -> None:
    """`generated` is a link into the file with the held-out frames."""
    import h5py

    with h5py.File(OUTPUT / "generated.h5", "w") as file:
        file["generated"] = h5py.ExternalLink(str(KNOWN / "data/all.h5"), "frames")


def looks_for_the_truth() -> None:
    """Search the folder of the try, the harness and open files for the frames that follow the contexts."""
    predicts()
    below = OUTPUT.parents[1]
    found = [str(path.relative_to(below)) for path in below.rglob("*.h5")]
    print(f"files: {sorted(found)}", flush=True)
    attempt("memory", lambda: Path(f"/proc/{the_harness()}/mem").open("rb").close())


def _write_generated(make: Callable[[Any, int], Any], *, truth: bool = False) -> None:
    import h5py

    with h5py.File(os.environ["TINYWORLDS_BUDGET_CONTEXTS"], "r") as file:
        context, steps = file["context"][:], int(file.attrs["steps"])
    with h5py.File(OUTPUT / "generated.h5", "w") as file:
        file["generated"] = generated = make(context, steps)
        if truth:
            file["true"], file["context"] = generated, context


if __name__ == "__main__":
    globals()[sys.argv[1]]()
