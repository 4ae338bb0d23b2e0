"""The YAML description of a fork: its schema, its errors, and the example in the docs.

pytest tests/unit/targets/test_description.py
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.helpers.config_files import REPOSITORY
from tests.helpers.stand_in import write_sources
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.targets.checkout import checkout_target, contract_stage
from tinyworlds_gate.targets.description import read_description
from tinyworlds_gate.targets.log_lines import LogPatterns


def described(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "fork.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_example_of_the_docs_is_valid(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs/external-checkouts.md").read_text(encoding="utf-8")
    example = re.search(r"<!-- target-file -->\n```yaml\n(.*?)```", page, re.DOTALL)
    assert example is not None
    description = read_description(described(tmp_path, example[1]))
    assert description.kind == "tinyworlds-fork"
    assert set(yaml.safe_load(example[1])) == set(type(description).model_fields)


def test_omitted_keys_have_the_contracts_values(tmp_path: Path) -> None:
    description = read_description(described(tmp_path, "kind: tinyworlds\n"))
    assert description.scripts.inference == "scripts/run_inference.py"
    assert description.patterns == LogPatterns()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"`kind` is missing; add it"),
        ("kind: muzero\n", r"`kind` is 'muzero'"),
        ("kind: tinyworlds\nscript: {}\n", r"unknown key `script`\. Did you mean `scripts"),
        (
            "kind: tinyworlds\nscripts: {dynamic: a.py}\n",
            r"unknown key `scripts\.dynamic`\. Did you mean `scripts\.dynamics`",
        ),
        (
            "kind: tinyworlds\nscripts: {dynamics: ../a.py}\n",
            r"`scripts\.dynamics` is '\.\./a\.py'; it must be a path inside",
        ),
        (
            "kind: tinyworlds\nlayout: {frames: data/frames.h5}\n",
            r"`layout\.frames` .* must name \{dataset\} and nothing else",
        ),
        (
            "kind: tinyworlds\npatterns: {mse: 'Error: (.*)'}\n",
            r"`patterns\.mse` .* lacks the named group\(s\) \(\?P<value>",
        ),
        ("kind: tinyworlds\npatterns: {stats: '('}\n", r"`patterns\.stats` .* is not a regular expression"),
        ("kind: tinyworlds\ncapabilities: {heartbeats: true}\n", r"`capabilities\.heartbeats` is True"),
        ("kind: tinyworlds\nrenamed: {n_updates: max steps}\n", r"`renamed\.n_updates` is 'max steps'"),
        ("kind: tinyworlds\nkind: tinyworlds-fork\n", r"the key 'kind' appears twice"),
    ],
)
def test_a_mistake_in_the_file_is_reported_with_its_place_and_the_allowed_values(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        read_description(described(tmp_path, text))


def test_a_described_fork_takes_scripts_arguments_patterns_and_layout_from_the_file(tmp_path: Path) -> None:
    root = write_sources(tmp_path / "checkout", "tinyworlds-fork")
    (root / "train").mkdir()
    (root / "scripts/train_dynamics.py").rename(root / "train/dyn.py")
    text = "kind: tinyworlds-fork\nname: mine\nscripts: {dynamics: train/dyn.py}\nstages: {video_tokenizer: vqvae}\n"
    target = checkout_target(root, description=described(tmp_path, text + "capabilities: {saves_last_update: false}\n"))
    assert target is not None
    assert target.stage_script("dynamics") == root / "train/dyn.py"
    assert target.kind_reason == "tinyworlds-fork (described by fork.yaml as mine)"
    assert contract_stage(target, "vqvae") == "video_tokenizer"
    assert target.can.resumes
    assert not target.can.saves_last_update


def test_a_kind_that_contradicts_the_file_is_refused(tmp_path: Path) -> None:
    root = write_sources(tmp_path / "checkout", "tinyworlds-fork")
    with pytest.raises(
        ConfigError, match=r"--target-kind tinyworlds contradicts kind: tinyworlds-fork in --target-file"
    ):
        checkout_target(root, kind="tinyworlds", description=described(tmp_path, "kind: tinyworlds-fork\n"))


def test_a_script_that_the_file_names_must_exist(tmp_path: Path) -> None:
    root = write_sources(tmp_path / "checkout", "tinyworlds-fork")
    with pytest.raises(ConfigError, match=r"lacks 1 of its files: .*train/dyn\.py"):
        checkout_target(
            root, description=described(tmp_path, "kind: tinyworlds-fork\nscripts: {dynamics: train/dyn.py}\n")
        )
