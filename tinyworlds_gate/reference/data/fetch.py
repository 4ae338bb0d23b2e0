"""Downloads the original ZELDA frames from the hub, whole or not at all: ``tinyworlds-gate data fetch zelda``."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.datasets import dataset_path
from tinyworlds_gate.reference.data.frames_file import check_frames_file
from tinyworlds_gate.reference.data.frames_writer import exclusive, publish, refuse_existing

REPOSITORY = "AlmondGod/tinyworlds"
"""The dataset repository on the hub (spec/tinyworlds.md §2, data)."""

ZELDA_FILE = "zelda_frames.h5"
_FRAME_SIZE = 128


def fetch_zelda(project_root: Path, endpoint: str | None = None) -> Path:
    """Download ``zelda_frames.h5`` to ``data/``, check it, and only then give it its name; return the path.

    ``endpoint`` is the hub's address (default: environment ``HF_ENDPOINT``, else the public hub). No token is sent,
    and no telemetry. Raises ``DataError`` when the file is there already, the hub does not answer or does not have
    it, the download stays short, or what came is no frames file; nothing is left under the final name then.
    """
    path = dataset_path(project_root, "ZELDA", _FRAME_SIZE)
    refuse_existing(path)
    with exclusive(path):
        refuse_existing(path)
        staging = path.with_name(f".{path.name}.fetch")
        shutil.rmtree(staging, ignore_errors=True)
        try:
            downloaded = _download(staging, endpoint or os.environ.get("HF_ENDPOINT"))
            again = (
                "it was thrown away; fix: run `tinyworlds-gate data fetch zelda` again, or put the file there yourself"
            )
            check_frames_file(downloaded, fix=again)
            publish(downloaded, path)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return path


def _download(staging: Path, endpoint: str | None) -> Path:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")  # plain HTTPS: one protocol, which every mirror and proxy speaks
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HTTPError

    try:
        return Path(
            hf_hub_download(
                repo_id=REPOSITORY,
                filename=ZELDA_FILE,
                repo_type="dataset",
                local_dir=staging,
                force_download=True,  # and with it no long retries when the hub does not answer
                token=False,
                endpoint=endpoint,
            )
        )
    except (OSError, HTTPError, EntryNotFoundError, ValueError) as error:
        # With force_download the client wraps what went wrong in a bare ValueError.
        raise _explained(error.__cause__ or error, endpoint) from error


def _explained(error: BaseException, endpoint: str | None) -> DataError:
    where = f"{ZELDA_FILE} of the dataset {REPOSITORY} at {endpoint or 'the public hub'}"
    by_hand = f"or put the file at data/{ZELDA_FILE} yourself"
    again = f"run `tinyworlds-gate data fetch zelda` again, {by_hand}"
    cause = (str(error).splitlines() or [""])[0] or type(error).__name__
    if getattr(getattr(error, "response", None), "status_code", None) in (401, 403, 404):
        return DataError(
            f"{where} does not exist there, or not for everyone ({cause}); fix: check HF_ENDPOINT, {by_hand}"
        )
    if "Consistency check failed" in cause:
        return DataError(f"{where} came incomplete ({cause}); nothing was kept; fix: {again}")
    return DataError(
        f"{where} cannot be downloaded ({cause}); fix: check the network (HTTPS_PROXY, HF_ENDPOINT, HF_HUB_OFFLINE) "
        f"and {again}"
    )
