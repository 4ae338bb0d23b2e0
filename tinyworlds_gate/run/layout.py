"""Paths of a run: its folder ``results/<run>/`` and the shared folders of the project."""

from __future__ import annotations

import errno
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.run.disk import DISK_FULL_ERRNOS, write_error
from tinyworlds_gate.run.owned import link_out_of, owned_folder

TRAINING_FRAMES = "training_frames.h5"
"""Codes of the frames that the models of a run were trained on, in its folder."""

_RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def check_stage(stage: str) -> str:
    """Return ``stage``; raises ``GateError`` when it is not one of the three stages."""
    if stage not in STAGES:
        raise GateError(f"Unknown stage {stage!r}: allowed are {', '.join(STAGES)}.")
    return stage


def readable_root(project_root: Path) -> Path:
    """Return the real path of a project's root.

    Raises:
        GateError: the path is not valid text, so no log, report or command line could name it.
    """
    root = Path(project_root).resolve()
    try:
        str(root).encode("utf-8")
    except UnicodeEncodeError:
        charset = sys.getfilesystemencoding()
        fix = (
            "Rename"
            if charset == "utf-8"
            else f"This terminal's character set is {charset}: set PYTHONUTF8=1, or rename"
        )
        raise GateError(
            f"The project folder {os.fsencode(root)!r} cannot be written as text. {fix} the folder."
        ) from None
    return root


def project_of_run(folder: Path, shown: Path) -> Path:
    """Return the project of a run's folder; ``shown`` is the folder as a person named it.

    Raises:
        GateError: it is not a folder ``<project>/results/<run>``.
    """
    named = Path(os.path.abspath(shown))
    link = next((path for path in (named, named.parent) if path.is_symlink()), None)
    if link is not None and shown.name not in ("", ".."):
        raise GateError(
            f"{link} is a symbolic link to {os.readlink(link)}; name the run by the folder where it is, "
            f"{folder if folder.is_dir() else '<project>/results/<run>'}."
        )
    if folder.parent.name != "results" or not folder.is_dir():
        raise GateError(
            f"{shown} is not a run's folder: expected <project>/results/<run> with a journal.jsonl in it. "
            "List the runs with `tinyworlds-gate runs`."
        )
    return folder.parent.parent


@dataclass(frozen=True)
class RunLayout:
    """The paths of one run (``run`` is the folder's name below ``<project_root>/results``).

    ``project_root`` is kept as its real path, so that two ways to write the same folder are the same project.
    Raises ``GateError`` when ``run`` is no plain folder name.
    """

    project_root: Path
    run: str

    def __post_init__(self) -> None:
        if not _RUN_NAME.fullmatch(self.run):
            raise GateError(
                f"Run name {self.run!r} is not usable as a folder: allowed are letters, digits, '.', '_' and '-', "
                "starting with a letter or a digit."
            )
        object.__setattr__(self, "project_root", readable_root(self.project_root))

    @property
    def root(self) -> Path:
        return self.project_root / "results" / self.run

    @property
    def journal(self) -> Path:
        return self.root / "journal.jsonl"

    @property
    def configs(self) -> Path:
        """The run's own copy of its settings files."""
        return self.root / "configs"

    @property
    def training_frames(self) -> Path:
        """Codes of the training frames (``loop/provenance.py``)."""
        return self.root / TRAINING_FRAMES

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def heartbeats(self) -> Path:
        return self.root / "heartbeats"

    @property
    def devices(self) -> Path:
        return self.root / "devices"

    @property
    def histories(self) -> Path:
        return self.project_root / "Logs"

    @property
    def inference_results(self) -> Path:
        return self.project_root / "inference_results"

    @property
    def actions(self) -> Path:
        """``docs/action``: where the reports A1-A6 go."""
        return self.project_root / "docs" / "action"

    def stage(self, stage: str) -> Path:
        return self.root / check_stage(stage)

    def checkpoints(self, stage: str) -> Path:
        return self.stage(stage) / "checkpoints"

    def checkpoint(self, stage: str, step: int) -> Path:
        return self.checkpoints(stage) / f"{stage}_step_{step}"

    def visualizations(self, stage: str) -> Path:
        return self.stage(stage) / "visualizations"

    def history(self, stage: str) -> Path:
        return self.histories / f"{check_stage(stage)}_history_{self.run}.csv"

    @property
    def nodes(self) -> Path:
        """Status files by which the machines of a run communicate."""
        return self.root / "nodes"

    def chunk_log(self, chunk: int, stage: str, node: int = 0) -> Path:
        return self.logs / f"chunk_{chunk:03d}_{check_stage(stage)}{_of_node(node)}.log"

    def chunk_heartbeats(self, chunk: int, node: int = 0) -> Path:
        return self.heartbeats / f"chunk_{chunk:03d}{_of_node(node)}"

    def chunk_devices(self, chunk: int, node: int = 0) -> Path:
        return self.devices / f"chunk_{chunk:03d}{_of_node(node)}.jsonl"

    def chunk_error_file(self, chunk: int, node: int = 0) -> Path:
        return self.logs / f"chunk_{chunk:03d}_error{_of_node(node)}.json"

    def plots(self, stamp: str) -> Path:
        return self.actions / "plots" / f"wandb-analysis-{stamp}"

    def relative(self, path: Path | str) -> str:
        """``path`` relative to the project root where it lies inside it, else absolute (both as text)."""
        absolute = Path(os.path.abspath(self.project_root / path))
        return str(absolute.relative_to(self.project_root) if absolute.is_relative_to(self.project_root) else absolute)

    def create(self) -> RunLayout:
        """Make the folders of the run; raises ``GateError`` naming the folder that cannot be written."""
        folders = [self.root, self.logs, self.heartbeats, self.devices, self.histories, self.inference_results]
        for folder in [*folders, self.actions]:
            try:
                owned_folder(self.project_root, folder)
            except OSError as error:
                if error.errno == errno.ELOOP:
                    raise _link_refusal(Path(error.filename)) from None
                raise GateError(
                    f"Cannot create the output folder {folder}: {error.strerror}. Make it writable or free the disk, "
                    "or run in another project folder."
                ) from error
            error_found = write_error(folder)
            if error_found is not None:
                fix = (
                    "Free some space and inodes there (df -h, df -i)"
                    if error_found.errno in DISK_FULL_ERRNOS
                    else "Change its permissions (chmod u+rwx) or mount it writable"
                )
                raise GateError(
                    f"The output folder {folder} is not writable: {error_found.strerror}. {fix}, or run in another "
                    "project folder."
                )
        for folder in (self.root, self.histories, self.inference_results):
            if (link := link_out_of(folder)) is not None:
                raise _link_refusal(link)
        return self


def _link_refusal(link: Path) -> GateError:
    return GateError(
        f"{link} is a symbolic link to {os.readlink(link)}, and a run writes through no link in its project. Remove "
        "it. For storage elsewhere, move the whole project there, or name a folder there with --output-root (a link to "
        "it is fine)."
    )


def _of_node(node: int) -> str:
    """Files of node 0 are named as on a single machine."""
    return f"_node_{node}" if node else ""
