"""Exceptions of a log: their place, whether two failures are the same, and which ones no batch size can mend (T1).

pytest tests/unit/launch/test_raised.py
"""

from __future__ import annotations

import pytest

from tinyworlds_gate.launch.failure_text import repeated_failure
from tinyworlds_gate.launch.raised import Raised, raised_in, same_exception, unmendable

EMPTY_LOADER = """\
Loading 16 frames: 100%|##########| 1/1 [00:00<00:00, 9.99it/s]
Traceback (most recent call last):
  File "/x/tinyworlds/scripts/train_dynamics.py", line 300, in <module>
    main()
  File "/x/env/lib/python3.11/site-packages/torch/utils/data/sampler.py", line 168, in __init__
    raise ValueError(
ValueError: num_samples should be a positive integer value, but got num_samples=0
"""
TWO_RANKS = """\
[rank1]: Traceback (most recent call last):
[rank0]: Traceback (most recent call last):
[rank1]:   File "/x/models/a.py", line 7, in forward
[rank0]:   File "/x/models/b.py", line 9, in forward
[rank1]: RuntimeError: shapes differ
[rank0]: KeyError: 'z'
Traceback (most recent call last):
  File "/x/torch/distributed/run.py", line 900, in <module>
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
"""


def test_an_exception_is_read_with_its_innermost_frame() -> None:
    (found,) = raised_in(EMPTY_LOADER)
    assert (found.type, found.place) == ("ValueError", "utils/data/sampler.py:168")
    assert found.message.endswith("num_samples=0")
    assert found.sentence().endswith("num_samples=0 (at utils/data/sampler.py:168)")


def test_ranks_are_distinguished_and_the_launcher_is_left_out() -> None:
    assert [(one.type, one.place) for one in raised_in(TWO_RANKS)] == [
        ("RuntimeError", "x/models/a.py:7"),
        ("KeyError", "x/models/b.py:9"),
    ]


def test_a_log_without_a_traceback_counts_its_last_words() -> None:
    assert raised_in("RuntimeError: the disk is on fire\n") == (Raised("RuntimeError", None, "the disk is on fire"),)
    assert raised_in("[dynamics] error: no frames there\n") == (Raised("error", None, "no frames there"),)
    assert raised_in(f"ValueError: a caught one\n{EMPTY_LOADER}") == raised_in(EMPTY_LOADER)
    assert raised_in("all is well\nLoss: 0.1\n") == ()


@pytest.mark.requirement("T1")
def test_two_failures_are_the_same_by_type_and_place_and_without_a_place_by_their_message() -> None:
    at = Raised("ValueError", "a.py:1", "batch 8 of 4")
    assert same_exception([at], [Raised("ValueError", "a.py:1", "batch 4 of 4")]) is not None
    assert same_exception([at], [Raised("ValueError", "a.py:2", "batch 8 of 4")]) is None
    assert same_exception([at], [Raised("KeyError", "a.py:1", "batch 8 of 4")]) is None
    nowhere = Raised("RuntimeError", None, "fire")
    assert same_exception([nowhere], [Raised("RuntimeError", None, "fire")]) is not None
    assert same_exception([nowhere], [Raised("RuntimeError", None, "flood")]) is None
    assert same_exception([], [nowhere]) is None


@pytest.mark.requirement("T1")
@pytest.mark.parametrize(
    ("type", "message", "fix"),
    [
        ("ModuleNotFoundError", "No module named 'einops'", "install the package"),
        ("FileNotFoundError", "[Errno 2] No such file or directory: 'x'", "put the file where"),
        ("ValueError", "num_samples should be a positive integer value, but got num_samples=0", "raise preload_ratio"),
        ("ValueError", "Invalid dataset", "set `dataset`"),
        ("omegaconf.errors.ConfigKeyError", "Key 'embed' not in 'Config'", "correct the setting"),
        ("RuntimeError", "Error(s) in loading state_dict for DynamicsModel:", "other sizes"),
        ("TypeError", "main() got an unexpected keyword argument", "correct that line"),
        ("error", "use_wandb=true, but W&B could not start a run", "do as the message says"),
        ("wandb.errors.errors.CommError", "Run initialization has timed out after 90.0 sec.", "WANDB_MODE=offline"),
        ("socket.gaierror", "[Errno -2] Name or service not known", "check its name"),
        ("torch.distributed.DistNetworkError", "The client socket has timed out", "check its name"),
        ("requests.exceptions.ConnectionError", "Max retries exceeded", "the network and the proxy"),
        ("_tkinter.TclError", "no display name and no $DISPLAY environment variable", "MPLBACKEND=Agg"),
    ],
)
def test_what_no_batch_size_mends_is_known_with_its_fix(type: str, message: str, fix: str) -> None:
    found = Raised(type, "a.py:1", message)
    assert unmendable([Raised("RuntimeError", None, "x"), found]) == found
    assert fix in str(found.fix)


@pytest.mark.requirement("T1")
@pytest.mark.parametrize(
    ("file", "fix"),
    [
        ("/x/env/lib/python3.11/site-packages/matplotlib/__init__.py", "MPLBACKEND=Agg"),
        ("/x/env/lib/python3.11/site-packages/PIL/Image.py", "a picture could not be drawn"),
        ("/usr/lib/python3.11/urllib/request.py", "does not answer"),
        ("/usr/lib/python3.11/ssl.py", "does not answer"),
    ],
)
def test_an_error_of_a_library_that_draws_or_uploads_is_not_mended_by_the_batch_size(file: str, fix: str) -> None:
    log = f'Traceback (most recent call last):\n  File "{file}", line 7, in f\n    x()\nValueError: Key backend: no\n'
    assert fix in str(unmendable(raised_in(log)).fix)  # type: ignore[union-attr]


@pytest.mark.requirement("T1")
@pytest.mark.parametrize(
    ("type", "message"),
    [
        ("RuntimeError", "CUDA error: misaligned address"),
        ("ValueError", "too many values"),
        ("StopIteration", ""),
        ("torch.distributed.DistNetworkError", "Failed to recv, got 0 bytes. Connection was likely closed."),
    ],
)
def test_what_a_smaller_batch_may_mend_is_not_called_unmendable(type: str, message: str) -> None:
    assert unmendable([Raised(type, "a.py:1", message)]) is None


@pytest.mark.requirement("T1")
def test_a_repeated_failure_is_reported_with_its_cause_its_last_lines_and_the_fix() -> None:
    (found,) = raised_in(EMPTY_LOADER)
    noise = ["", "=====", "train_dynamics.py FAILED", "====="]
    text = repeated_failure(found, [*EMPTY_LOADER.splitlines(), *noise], "results/r/logs/chunk_002_dynamics.log")
    assert "ValueError: num_samples should be a positive integer value" in text
    assert "Last lines of results/r/logs/chunk_002_dynamics.log: `File " in text
    assert "raise preload_ratio in configs/training.yaml" in text
    assert "FAILED" not in text
