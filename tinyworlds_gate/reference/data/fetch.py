"""Download the original ZELDA frames from the Hugging Face hub, atomically: ``tinyworlds-gate data fetch zelda``."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.datasets import dataset_path
from tinyworlds_gate.reference.data.frames_file import check_frames_file
from tinyworlds_gate.reference.data.frames_writer import publish, refuse_existing, write_lock

REPOSITORY = "AlmondGod/tinyworlds"
"""The dataset repository on the hub (docs/external-checkouts.md)."""

ZELDA_FILE = "zelda_frames.h5"
_FRAME_SIZE = 128


def fetch_zelda(project_root: Path, endpoint: str | None = None) -> Path:
    """Download ``zelda_frames.h5`` to a temporary folder, check it, move it to ``data/`` and return the path.

    ``endpoint`` is the hub's address (default: environment ``HF_ENDPOINT``, else the public hub). No token and no
    telemetry is sent. Raises ``DataError`` when the file exists already, the hub does not answer or lacks the file, the
    download is incomplete, or the download is not a frames file; then nothing is left in ``data/``.
    """
    path = dataset_path(project_root, "ZELDA", _FRAME_SIZE)
    refuse_existing(path)
    with write_lock(path):
        refuse_existing(path)
        staging = path.with_name(f".{path.name}.fetch")
        shutil.rmtree(staging, ignore_errors=True)
        try:
            downloaded = _download(staging, endpoint or os.environ.get("HF_ENDPOINT"))
            again = "it was deleted; fix: run `tinyworlds-gate data fetch zelda` again, or put the file there yourself"
            check_frames_file(downloaded, fix=again)
            publish(downloaded, path)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return path


def _download(staging: Path, endpoint: str | None) -> Path:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")  # plain HTTPS, which every mirror and proxy supports
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HTTPError

    try:
        return Path(
            hf_hub_download(
                repo_id=REPOSITORY,
                filename=ZELDA_FILE,
                repo_type="dataset",
                local_dir=staging,
                force_download=True,  # also disables long retries when the hub does not answer
                token=False,
                endpoint=endpoint,
            )
        )
    except (OSError, HTTPError, EntryNotFoundError, ValueError) as error:
        # With force_download the client wraps the real error in a ValueError.
        raise _download_error(error.__cause__ or error, endpoint) from error


def _download_error(error: BaseException, endpoint: str | None) -> DataError:
    where = f"{ZELDA_FILE} of the dataset {REPOSITORY} at {endpoint or 'the public hub'}"
    by_hand = f"or put the file at data/{ZELDA_FILE} yourself"
    again = f"run `tinyworlds-gate data fetch zelda` again, {by_hand}"
    cause = (str(error).splitlines() or [""])[0] or type(error).__name__
    if getattr(getattr(error, "response", None), "status_code", None) in (401, 403, 404):
        return DataError(f"{where} does not exist or is not public ({cause}); fix: check HF_ENDPOINT, {by_hand}")
    if "Consistency check failed" in cause:
        return DataError(f"{where}: the download is incomplete ({cause}); nothing was kept; fix: {again}")
    return DataError(
        f"{where} cannot be downloaded ({cause}); fix: check the network (HTTPS_PROXY, HF_ENDPOINT, HF_HUB_OFFLINE) "
        f"and {again}"
    )
