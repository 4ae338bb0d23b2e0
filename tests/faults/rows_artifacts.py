"""Rows of the fault matrix: artifacts."""

from __future__ import annotations

from tests.faults.fault import Fault

_WRITER = "The stage's process kills itself (SIGKILL) inside the real writer, "
_EVERY = "; and a writer alone is killed by strace and by its own hand at every boundary of this part"
_FROM_5 = "The chunk goes on from update 5, which it had saved before (T6: nothing is retuned); the next write removes "
_KILLED = "A6: `It was ended from outside`; A5: T6 with the signal."
_REFUSED = "A6: `Refused as a start of the next try`, with the folder and "
_AGAIN = "the updates since the checkpoint that is used, which are trained again"


def _refused(id: str, title: str, injected: str, reason: str, *requirements: str) -> Fault:
    """A chunk dies and leaves, newer than its valid checkpoint of update 5, one of update 6 that cannot be trusted."""
    return Fault(
        id=id,
        title=title,
        injected=f"A chunk saves update 5, leaves a checkpoint of update 6 and dies. The one of update 6 {injected}.",
        loop="Update 6 is refused and set aside under another name, and the next try starts from update 5.",
        report=f"{_REFUSED}`{reason}`; A5: the retune.",
        requirements=("S4", *requirements),
        lost=_AGAIN,
    )


ROWS: tuple[Fault, ...] = (
    Fault(
        id="kill-writing-files",
        title="Killed while the weights, the optimizer or the state are written.",
        injected=f"{_WRITER}in the middle of writing the optimizer{_EVERY}.",
        loop=f"{_FROM_5}the temporary folder.",
        report=_KILLED,
        requirements=("S4", "T6", "H7"),
        lost=_AGAIN,
    ),
    Fault(
        id="kill-before-manifest",
        title="Killed when the files are on the disk and the manifest is not.",
        injected=f"{_WRITER}before the manifest's fsync{_EVERY}.",
        loop=f"{_FROM_5}the temporary folder.",
        report=_KILLED,
        requirements=("S4", "T6", "H7"),
        lost=_AGAIN,
    ),
    Fault(
        id="kill-before-rename",
        title="Killed when the whole checkpoint stands under its temporary name.",
        injected=f"{_WRITER}before the rename{_EVERY}.",
        loop=f"{_FROM_5}the temporary folder.",
        report=_KILLED,
        requirements=("S4", "T6", "H7"),
        lost=_AGAIN,
    ),
    Fault(
        id="kill-before-parent-sync",
        title="Killed between the rename and the fsync of the parent.",
        injected=f"{_WRITER}before the fsync that follows the rename{_EVERY}.",
        loop="The new checkpoint is whole and verified: the chunk goes on from update 6 (T6).",
        report=_KILLED,
        requirements=("S4", "T6", "H7"),
    ),
    Fault(
        id="kill-pruning",
        title="Killed while an old checkpoint is removed.",
        injected=f"{_WRITER}in the removal of an old checkpoint's files{_EVERY}.",
        loop="The new checkpoint stands verified and the half-removed one has no checkpoint's name any more: the chunk "
        "goes on from update 6 (T6), and the next write removes the rest. Where the chunk began stays.",
        report=_KILLED,
        requirements=("S4", "T6", "H7"),
    ),
    _refused("truncated-checkpoint", "A checkpoint is truncated.", "has lost the second half of its weights", "bytes"),
    _refused(
        "empty-state-checkpoint",
        "A checkpoint holds an empty state dictionary, as a rank other than 0 writes it.",
        "is a TinyWorlds checkpoint whose weights are `{}`",
        "holds no tensors: an empty state dictionary",
    ),
    _refused(
        "900-byte-checkpoint",
        "A checkpoint's weights are a file of 900 bytes.",
        "is cut to 900 bytes, with and without a manifest",
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
        "has one NaN among its weights, and hashes that hold",
        "values that are not finite",
    ),
    _refused(
        "wrong-step-checkpoint",
        "A checkpoint is of another step than its folder's name.",
        "is the checkpoint of update 2 under the name of update 6, with and without a manifest",
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
        "A checkpoint of another run lies in this run's folder.",
        "is valid and was written by another run; another one is a link to a folder outside",
        "only checkpoints of this run are continued",
    ),
    _refused(
        "foreign-config-checkpoint",
        "A checkpoint of a model of other sizes lies in this run's folder.",
        "is a whole TinyWorlds checkpoint (no manifest tells its run) of a smaller model",
        "it was trained with another configuration",
        "C4",
    ),
    _refused(
        "hostile-checkpoint",
        "A checkpoint's pickle would run code.",
        "calls `os.system` when it is unpickled: in its weights, in its state, and in a state whose forged manifest "
        "has the right hashes",
        "Nothing was executed",
    ),
    Fault(
        id="hostile-checkpoint-given",
        title="A person gives a checkpoint whose pickle would run code.",
        injected="`--video-checkpoint` names a folder whose state calls `os.system` when it is unpickled, once for a "
        "stage that is trained and once for one that is not.",
        loop="Refused before anything starts; the file that the call would make never appears.",
        report="On the terminal: `its pickle names posix.system … Nothing was executed`.",
        requirements=("S4", "C4"),
    ),
    Fault(
        id="history-torn",
        title="The history's last row is torn.",
        injected="A stage is killed (SIGKILL), and its history's file ends inside a row, as a power cut leaves it.",
        loop="The next try drops the torn row and the rows after its checkpoint and writes them again: each update "
        "stands once.",
        report="A6, under the chunk: `the history lacks …`; for the next try M1 is PASS.",
        requirements=("M1", "H7", "T6"),
        lost=_AGAIN,
    ),
)
