"""`--target-dry-run`: every command in order, for a shell; nothing is started and nothing is written.

pytest tests/unit/loop/test_checkout_dry_run.py
"""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.helpers.stand_in import make_harness, make_stand_in, run_loop, set_config
from tests.unit.targets.test_arguments import AWKWARD
from tinyworlds_gate.targets.fingerprint import fingerprint

ORDER = ["video_tokenizer", "latent_actions", "dynamics", "the checkout's own inference", "the trusted gate"]


def commands(output: str) -> list[tuple[str, str]]:
    """(what it is for, the line for a shell) of each command."""
    return re.findall(r"^# \d+\. ([^:\n]+)[^\n]*\n(\(cd .*\))$", output, re.MULTILINE)


def test_a_dry_run_prints_every_command_in_order_and_starts_nothing(tmp_path: Path) -> None:
    harness = make_harness(tmp_path / "harness")
    checkout = make_stand_in(tmp_path / AWKWARD / "checkout", "tinyworlds", workers=2)
    before = fingerprint(checkout)
    done = run_loop(harness, checkout, "--target-dry-run")
    assert done.exit_status == 0, done.output
    assert [what for what, _ in commands(done.output)] == ORDER
    assert fingerprint(checkout) == before
    assert sorted(path.name for path in checkout.iterdir() if path.name in ("results", "Logs", "wandb", "docs")) == [
        "results"
    ]
    assert list((checkout / "results").iterdir()) == []
    assert "# tinyworlds: its inference would follow random actions: it runs without actions" in done.output
    assert "# after a gate that said FAIL, retry 1: dynamics, updates 0 to 240" in done.output
    lines = dict(commands(done.output))
    assert "-m torch.distributed.run --standalone --nproc_per_node=2" in lines["dynamics"]
    for line in lines.values():
        assert shlex.split(line[1:-1])[:3] == ["cd", str(checkout), "&&"]


def test_the_printed_lines_run_in_a_shell_as_they_are(tmp_path: Path) -> None:
    """With scripts that only say what they were given."""
    harness = make_harness(tmp_path / "harness")
    checkout = make_stand_in(tmp_path / AWKWARD / "checkout", "tinyworlds-fork")
    done = run_loop(harness, checkout, "--target-dry-run")
    said = "os.getcwd(), os.environ['NG_RUN_ROOT_DIR'], os.environ['WANDB_MODE'], *sys.argv[1:]"
    told = f"import os, sys; print({said}, sep='|')"
    for name in ("train_video_tokenizer", "train_latent_actions", "train_dynamics", "run_inference"):
        (checkout / f"scripts/{name}.py").write_text(told)
    for _, line in commands(done.output)[:4]:
        ran = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, timeout=60, cwd="/")
        cwd, run_root, mode, *words = ran.stdout.strip().split("|")
        assert (cwd, mode) == (str(checkout), "offline")
        assert Path(run_root).parent == checkout / "results"
        assert words[0] == "--config"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--target-dry-run prints the commands for a checkout; name it with --target-repo"),
        (("--target-repo", "nowhere"), "nowhere is not a folder; give the root of a TinyWorlds checkout"),
    ],
)
def test_a_dry_run_that_cannot_be_made_is_a_usage_error(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    from tests.helpers.tiny_project import run_pytest

    harness = make_harness(tmp_path / "harness")
    done = run_pytest(harness, "validation", "--profile", "profile", "--target-dry-run", *words)
    assert done.exit_status == 4
    assert said in done.output


def test_what_would_stop_the_run_comes_first_and_the_dry_run_ends_with_1(tmp_path: Path) -> None:
    harness = make_harness(tmp_path / "harness")
    checkout = make_stand_in(tmp_path / "checkout", "tinyworlds")
    set_config(checkout, "dynamics", num_blocks=2, pretrained="weights/dynamics.pt")
    (checkout / "data/bars_frames.h5").unlink()
    (checkout / "models/world.py").write_text("import cv2_absent\n")
    (checkout / "inference_results").touch()
    before = fingerprint(checkout)
    done = run_loop(harness, checkout, "--target-dry-run", "--held-out-data", str(tmp_path / "none.h5"))
    assert done.exit_status == 1, done.output
    stops = re.findall(r"^# STOP (.*)$", done.output, re.MULTILINE)
    assert len(stops) == 4
    assert stops[0].startswith("C2: `num_blocks` is 1 in configs/video_tokenizer.yaml but 2 in configs/dynamics.yaml")
    assert "C3: configs/dynamics.yaml hard-codes a checkpoint path: `pretrained: weights/dynamics.pt`" in stops[0]
    assert "cannot import 1 package(s) that the checkout needs: cv2_absent" in stops[1]
    assert "inference_results is not a writable folder" in stops[2]
    assert "bars_frames.h5: there is no such file" in stops[3]
    assert done.output.index("# STOP") < done.output.index("# 1. video_tokenizer")
    assert fingerprint(checkout) == before


@pytest.mark.requirement("C2")
def test_a_dry_run_under_report_shows_the_table_of_sizes_and_ends_well(tmp_path: Path) -> None:
    harness = make_harness(tmp_path / "harness")
    checkout = make_stand_in(tmp_path / "checkout", "tinyworlds")
    set_config(checkout, "dynamics", num_blocks=2)
    done = run_loop(harness, checkout, "--target-dry-run", "--align-backbone", "report")
    assert done.exit_status == 0, done.output
    assert "# C2 DEGRADED: --align-backbone report: each stage trains with its own backbone" in done.output
    assert "STOP" not in done.output


def test_a_device_that_this_machine_lacks_is_among_what_stops(tmp_path: Path) -> None:
    harness = make_harness(tmp_path / "harness")
    checkout = make_stand_in(tmp_path / "checkout", "tinyworlds")
    set_config(checkout, "training", device="cuda")
    done = run_loop(harness, checkout, "--target-dry-run", variables={"CUDA_VISIBLE_DEVICES": ""})
    assert done.exit_status == 1, done.output
    assert "# STOP The checkout asks for device cuda" in done.output
