"""Detection of the target's kind, its capabilities, and the choice of its interpreter.

pytest tests/unit/targets/test_detection.py
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.helpers.config_files import REPOSITORY
from tests.helpers.stand_in import KINDS, set_config, write_sources
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.targets.capabilities import CAPABILITIES, LIMITS
from tinyworlds_gate.targets.checkout import checkout_target, choose_python
from tinyworlds_gate.targets.detect import detect


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_of_a_checkout_is_detected_by_its_files(tmp_path: Path, kind: str) -> None:
    found = detect(write_sources(tmp_path / "checkout", kind))
    assert found.kind == kind
    assert len(found.signs) >= 4
    assert found.describe().startswith(f"{kind} (")


def test_a_project_of_this_harness_is_embedded() -> None:
    found = detect(REPOSITORY)
    assert found.kind == "embedded"
    assert checkout_target(REPOSITORY) is None


def test_the_user_overrides_the_detected_kind_and_the_signs_stay_visible(tmp_path: Path) -> None:
    root = write_sources(tmp_path / "checkout", "tinyworlds-fork")
    found = detect(root, "tinyworlds")
    assert found.kind == "tinyworlds"
    assert "chosen with --target-kind; its files show: " in found.describe()
    assert "start_step in scripts/train_dynamics.py" in found.describe()


def test_a_folder_that_is_no_checkout_is_refused_with_what_it_lacks(tmp_path: Path) -> None:
    root = write_sources(tmp_path / "checkout", "tinyworlds")
    (root / "scripts/train_dynamics.py").unlink()
    with pytest.raises(
        ConfigError, match=r"is no TinyWorlds checkout: it lacks scripts/train_dynamics\.py.*--target-file"
    ):
        detect(root)


def test_a_checkout_that_matches_both_kinds_equally_needs_an_explicit_kind(tmp_path: Path) -> None:
    root = write_sources(tmp_path / "checkout", "tinyworlds-fork")
    for name in ("models/muon.py", "utils/optimizer_utils.py"):
        (root / name).touch()
    set_config(root, "training", use_moe=True, embed_dim=None)
    (root / "configs/inference.yaml").write_text("dataset: BARS\nseed: 0\nsample_index: 1\n")
    (root / "configs/training.yaml").write_text(
        "dataset: BARS\nuse_moe: false\nembed_dim: 1\nnum_heads: 1\nhidden_dim: 1\nnum_blocks: 1\n"
    )
    with pytest.raises(ConfigError, match=r"do not show which kind .*Choose it with --target-kind tinyworlds"):
        detect(root)


def test_a_missing_folder_and_an_unknown_kind_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--target-repo .*absent is not a folder"):
        detect(tmp_path / "absent")
    with pytest.raises(ConfigError, match=r"'muzero' is not known; allowed are embedded, tinyworlds, tinyworlds-fork"):
        checkout_target(tmp_path, kind="muzero")


def test_a_checkout_that_cannot_be_on_pythonpath_is_refused(tmp_path: Path) -> None:
    root = write_sources(tmp_path / "a:b", "tinyworlds")
    with pytest.raises(ConfigError, match=r"goes on PYTHONPATH, where ':' separates two folders; rename the folder"):
        checkout_target(root)


@pytest.mark.requirement("H7")
def test_each_missing_capability_has_a_sentence() -> None:
    original, fork = CAPABILITIES["tinyworlds"].limits(), CAPABILITIES["tinyworlds-fork"].limits()
    assert CAPABILITIES["embedded"].limits() == ()
    assert len(original) == len(LIMITS) - 1, "the original takes the checkpoint folders that it is given"
    assert set(fork) < set(original)
    assert any("H7 is emulated so, never claimed" in sentence for sentence in original)
    assert not any("H7" in sentence for sentence in fork)


def test_the_page_holds_the_table_of_the_capabilities() -> None:
    page = (REPOSITORY / "docs/external-checkouts.md").read_text(encoding="utf-8")
    assert "| what | `embedded` | `tinyworlds` | `tinyworlds-fork` |" in page
    for capability in LIMITS:
        kinds = ("embedded", "tinyworlds", "tinyworlds-fork")
        answers = ("yes" if getattr(CAPABILITIES[kind], capability) else "no" for kind in kinds)
        assert f"(`{capability}`) | {' | '.join(answers)} |\n" in page
    assert len(re.findall(r"`\) \| yes \| (yes|no) \| (yes|no) \|", page)) == len(LIMITS), "the table has no other row"


def test_the_checkouts_own_environment_is_preferred_and_its_link_is_not_followed(tmp_path: Path) -> None:
    own = tmp_path / ".venv/bin/python"
    own.parent.mkdir(parents=True)
    own.symlink_to(sys.executable)
    python, why = choose_python(tmp_path, None)
    assert (python, why) == (own, "the checkout's own .venv/bin/python")


def test_without_an_own_environment_ours_is_used_and_reported(tmp_path: Path) -> None:
    python, why = choose_python(tmp_path, None)
    assert python == Path(sys.executable)
    assert "no .venv" in why


def test_an_interpreter_that_is_not_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"--target-python .*nowhere is not a file; give the path of a Python interpreter"
    ):
        choose_python(tmp_path, tmp_path / "nowhere")
