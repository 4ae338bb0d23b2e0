"""Faults of checkpoints and other artifacts."""

from __future__ import annotations

from tests.faults.fault import Fault

_WRITER = "The stage's process sends itself SIGKILL inside the real writer, "
_EVERY = "; in other tests, strace or the writer itself kills a stand-alone writer at every boundary of this part"
_FROM_5 = (
    "The chunk is resumed from update 5, which it had saved before (T6: no parameter changes). The next write removes "
)
_KILLED = "A6: `It was killed from outside the harness`. A5: T6 with the signal."
_REFUSED = "A6: `Refused as the start of the next try`, with the folder and "
_AGAIN = "the updates since the checkpoint that is resumed; they are trained again"


def _refused(id: str, title: str, injected: str, reason: str, *requirements: str) -> Fault:
    """Return the fault of a chunk that leaves a valid checkpoint of update 5 and an unusable one of update 6."""
    return Fault(
        id=id,
        title=title,
        injected="A chunk saves update 5, leaves a checkpoint of update 6 and dies. The checkpoint of update 6 "
        f"{injected}.",
        loop="Update 6 is refused and renamed, and the next try starts from update 5.",
        report=f"{_REFUSED}`{reason}`. A5: the retune.",
        requirements=("S4", *requirements),
        lost=_AGAIN,
    )


ROWS: tuple[Fault, ...] = (
    Fault(
        id="kill-writing-files",
        title="The process is killed while it writes the weights, the optimizer or the state.",
        injected=f"{_WRITER}in the middle of writing the optimizer{_EVERY}.",
        loop=f"{_FROM_5}the temporary folder.",
        report=_KILLED,
        requirements=("S4", "T6", "H7"),
        lost=_AGAIN,
    ),
    Fault(
        id="kill-before-manifest",
        title="The process is killed after it wrote the files and before it wrote the manifest.",
        injected=f"{_WRITER}before the manifest's fsync{_EVERY}.",
        loop=f"{_FROM_5}the temporary folder.",
        report=_KILLED,
        requirements=("S4", "T6", "H7"),
        lost=_AGAIN,
    ),
    Fault(
        id="kill-before-rename",
        title="The process is killed when the complete checkpoint still has its temporary name.",
        injected=f"{_WRITER}before the rename{_EVERY}.",
        loop=f"{_FROM_5}the temporary folder.",
        report=_KILLED,
        requirements=("S4", "T6", "H7"),
        lost=_AGAIN,
    ),
    Fault(
        id="kill-before-parent-sync",
        title="The process is killed between the rename and the fsync of the parent folder.",
        injected=f"{_WRITER}before the fsync that follows the rename{_EVERY}.",
        loop="The new checkpoint is complete and verified: the chunk is resumed from update 6 (T6).",
        report=_KILLED,
        requirements=("S4", "T6", "H7"),
    ),
    Fault(
        id="kill-pruning",
        title="The process is killed while it removes an old checkpoint.",
        injected=f"{_WRITER}in the removal of an old checkpoint's files{_EVERY}.",
        loop="The new checkpoint is verified, and the partly removed one no longer has a checkpoint's name: the chunk "
        "is "
        "resumed from update 6 (T6), and the next write removes the rest. The checkpoint that the chunk started from "
        "stays.",
        report=_KILLED,
        requirements=("S4", "T6", "H7"),
    ),
    _refused("truncated-checkpoint", "A checkpoint is truncated.", "lacks the second half of its weights", "bytes"),
    _refused(
        "empty-state-checkpoint",
        "A checkpoint has an empty state dictionary, as a rank other than 0 writes it.",
        "is a TinyWorlds checkpoint whose weights are `{}`",
        "holds no tensors: an empty state dictionary",
    ),
    _refused(
        "900-byte-checkpoint",
        "A checkpoint's weights are a file of 900 bytes.",
        "is truncated to 900 bytes, with and without a manifest",
        "is no whole torch file (900 bytes)",
    ),
    _refused(
        "checkpoint-without-optimizer",
        "A checkpoint has no optimizer.",
        "has no `optim_state_dict.pt`",
        "has no optim_state_dict.pt",
    ),
    _refused(
        "nan-weights-checkpoint",
        "A checkpoint's weights are NaN.",
        "has one NaN among its weights, and matching hashes",
        "values that are not finite",
    ),
    _refused(
        "wrong-step-checkpoint",
        "A checkpoint's step differs from its folder's name.",
        "is the checkpoint of update 2, with and without a manifest",
        "the folder was renamed or swapped",
        "H7",
    ),
    _refused(
        "swapped-checkpoint",
        "The checkpoints of two stages are swapped.",
        "is a checkpoint of latent_actions, under its own name and under the stage's",
        "the folder was swapped",
    ),
    _refused(
        "foreign-run-checkpoint",
        "A checkpoint of another run is in this run's folder.",
        "is valid, but was written by another run; in a second test it is a link to a folder outside",
        "only checkpoints of this run are continued",
    ),
    _refused(
        "foreign-config-checkpoint",
        "A checkpoint of a model of other sizes is in this run's folder.",
        "is a complete TinyWorlds checkpoint of a smaller model; it has no manifest that names its run",
        "it was trained with another configuration",
        "C4",
    ),
    _refused(
        "crashing-checkpoint",
        "A checkpoint's pickle would crash its reader, or keep it busy for ever.",
        "has 100,000 tuples inside each other as the name of a tensor; in a second test, a key of its state is made of "
        "tuples that share their parts, 2^200 in all, and the hashes match",
        "its pickle nests objects more than 64 deep",
    ),
    _refused(
        "hostile-checkpoint",
        "A checkpoint's pickle would run code.",
        "calls `os.system` when it is unpickled: from its weights, from its state, and from a state whose forged "
        "manifest has the right hashes",
        "Nothing was executed",
    ),
    Fault(
        id="hostile-checkpoint-given",
        title="An option names a checkpoint whose pickle would run code.",
        injected="`--video-checkpoint` names a folder whose state calls `os.system` when it is unpickled, once for a "
        "stage that is trained and once for one that is not.",
        loop="The run is refused before anything starts; the file that the call would create never appears.",
        report="On the terminal: `its pickle names posix.system … Nothing was executed`.",
        requirements=("S4", "C4"),
    ),
    Fault(
        id="history-torn",
        title="The history's last row is torn.",
        injected="A stage gets SIGKILL, and its history file ends inside a row, as after a power failure.",
        loop="The next try drops the torn row and the rows after its checkpoint and writes them again: each update has "
        "exactly one row.",
        report="A6, under the chunk: `the history lacks …`. M1 is PASS for the next try.",
        requirements=("M1", "H7", "T6"),
        lost=_AGAIN,
    ),
)
