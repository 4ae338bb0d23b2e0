"""The git audit on histories that are odd: merges, renames, binary files, encodings, clones, hooks, clocks (L4, A2).

Run: pytest tests/unit/evidence/git_audit/test_odd_repositories.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import git
import pytest

from tests.helpers.git_histories import IN_2025, History
from tinyworlds_gate.bench.audit import history_stream, make_history
from tinyworlds_gate.cli.audit import as_text
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.evidence.git_audit.audit import audit
from tinyworlds_gate.evidence.git_audit.log import path_of_header

OLD = "2024-01-01T00:00:00 +0000"


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "project")


def note_with(words: str, notes: tuple[str, ...]) -> str:
    return next((note for note in notes if words in note), f"no note has {words!r}: {notes}")


# The rules, held to what git itself selects.


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 commits with merges, renames and binary files."""
    folder = tmp_path_factory.mktemp("made") / "repository"
    make_history(folder, 600)
    return folder


RELEVANT = [
    f"configs/{name}.yaml" for name in ("training", "video_tokenizer", "latent_actions", "dynamics", "inference")
]


@pytest.mark.requirement("L4")
def test_strict_selects_the_commits_that_git_itself_finds_by_changed_lines(made: Path) -> None:
    repo = git.Repo(made)
    in_lines = repo.git.log("--no-merges", "-GZELDA", "--format=%H").split()
    touching = set(repo.git.log("--no-merges", "--full-history", "--format=%H", "--", *RELEVANT).split())
    merges = set(repo.git.log("--merges", "--format=%H").split())
    selected = [commit.sha for commit in audit(made, 2025).selected]
    assert [sha for sha in selected if sha not in merges] == [sha for sha in in_lines if sha in touching]
    assert len(selected) > 5


@pytest.mark.requirement("L4")
def test_the_counts_of_the_year_are_those_of_git(made: Path) -> None:
    repo, evidence = git.Repo(made), audit(made, 2025)
    assert evidence.commits_in_year == int(repo.git.rev_list("HEAD", count=True)) == 600
    assert evidence.merges_in_year == int(repo.git.rev_list("HEAD", "--merges", count=True)) == 59
    assert note_with("rename(s)", evidence.notes).startswith("12 rename(s)")
    assert "binary files" in note_with("binary", evidence.notes)


@pytest.mark.requirement("L4")
@pytest.mark.parametrize("commits", [20, 200])
def test_the_number_of_git_processes_does_not_grow_with_the_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    make_history(tmp_path / "repository", commits)
    commands: list[str] = []
    start = subprocess.Popen

    def noting(command: list[str], *rest: Any, **named: Any) -> subprocess.Popen[bytes]:
        commands.append(next(word for word in command if word in ("rev-parse", "config", "rev-list", "log")))
        return start(command, *rest, **named)

    monkeypatch.setattr(subprocess, "Popen", noting)
    assert audit(tmp_path / "repository", 2025).commits_in_year == commits
    assert sorted(commands) == ["config", "log", "rev-list", *["rev-parse"] * 4]


def test_the_generated_history_is_the_same_every_time() -> None:
    assert b"".join(history_stream(50)) == b"".join(history_stream(50))


# Merges and renames.


@pytest.mark.requirement("L4")
def test_a_merge_of_three_branches_is_read_by_what_differs_from_all_of_them(history: History) -> None:
    history.commit("base", OLD, configs__training_yaml="dataset: A\n", configs__dynamics_yaml="embed_dim: 16\n")
    tips: list[str] = []
    for name in ("one", "two", "three"):
        history.repo.git.checkout("-b", name, "main")
        tips.append(history.commit(name, OLD, configs__dynamics_yaml=f"embed_dim: {len(tips)}\nname: {name}\n"))
    history.write("configs/dynamics.yaml", "embed_dim: 64\ndataset: ZELDA\n")
    history.repo.git.add(all=True)
    tree = history.repo.git.write_tree()
    with history.repo.git.custom_environment(GIT_COMMITTER_DATE=IN_2025, GIT_AUTHOR_DATE=IN_2025):
        words = [word for tip in tips for word in ("-p", tip)]
        merge = history.repo.git.commit_tree(tree, *words, "-m", "octopus")
    history.repo.git.update_ref("refs/heads/three", merge)
    evidence = audit(history.path, 2025)
    assert [commit.sha for commit in evidence.selected] == [merge]
    assert evidence.merges_in_year == 1
    assert [(one.key, one.old, one.new) for one in evidence.key_changes] == [("embed_dim", "0 | 1 | 2", "64")]


@pytest.mark.requirement("L4", "A2")
def test_a_renamed_file_is_one_touch_with_its_old_name(history: History) -> None:
    body = "dataset: ZELDA\n" + "".join(f"k{i}: {i}\n" for i in range(20))
    history.commit("start", OLD, configs__vqvae_yaml=body)
    history.repo.git.mv("configs/vqvae.yaml", "configs/tokenizer_old.yaml")
    history.write("configs/tokenizer_old.yaml", body.replace("ZELDA", "PONG"))
    history.commit("rename")
    evidence = audit(history.path, 2025)
    [commit] = evidence.selected
    assert commit.renamed_from == {"configs/tokenizer_old.yaml": "configs/vqvae.yaml"}
    assert evidence.file_touches == 1
    assert "1 rename(s)" in note_with("rename(s)", evidence.notes)
    assert "1 file: configs/tokenizer_old.yaml (was configs/vqvae.yaml)" in as_text(evidence)


# What git does not show, and what is no UTF-8.


@pytest.mark.requirement("L4")
def test_a_config_that_git_takes_for_binary_is_named(history: History) -> None:
    sha = history.commit("a config as UTF-16", configs__training_yaml="dataset: ZELDA\n".encode("utf-16"))
    evidence = audit(history.path, 2025)
    assert evidence.selected == ()
    assert f"is not seen: configs/training.yaml in {sha[:10]}." in note_with("UTF-16", evidence.notes)


@pytest.mark.requirement("L4")
def test_a_renamed_binary_file_is_named_as_it_is_called_now(history: History) -> None:
    history.commit("start", OLD, configs__lam_yaml=b"\0" + bytes(range(256)) * 8)
    history.repo.git.mv("configs/lam.yaml", "configs/vqvae.yaml")
    history.write("configs/vqvae.yaml", b"\0\1" + bytes(range(256)) * 8)
    sha = history.commit("rename")
    assert f"configs/vqvae.yaml in {sha[:10]}" in note_with("UTF-16", audit(history.path, 2025).notes)


@pytest.mark.requirement("L4")
def test_bytes_that_are_no_utf_8_are_read_and_counted(history: History) -> None:
    history.write(os.fsdecode(b"caf\xe9.txt"), "x\n")
    history.commit("base", configs__training_yaml=b"dataset: \xe9 ZELDA\n")
    history.commit_object(history.repo.head.commit.hexsha, seconds=1_750_000_000, subject=b"Br\xfccke")
    evidence = audit(history.path, 2025)
    assert evidence.selected[0].files == ("caf\ufffd.txt", "configs/training.yaml")
    assert note_with("not UTF-8", evidence.notes).startswith("2 commit(s)")
    evidence.to_json().encode("utf-8")


# Clones, folders and the environment.


@pytest.mark.requirement("L4")
def test_a_partial_clone_fetches_nothing_and_names_the_fix_which_works(history: History, tmp_path: Path) -> None:
    history.commit("one", configs__training_yaml="dataset: ZELDA\n")
    with history.repo.config_writer() as config:
        config.set_value("uploadpack", "allowFilter", "true")
        config.set_value("uploadpack", "allowAnySHA1InWant", "true")
    clone = git.Repo.clone_from(
        history.path.as_uri(), tmp_path / "clone", multi_options=["--filter=blob:none", "--no-checkout"]
    )
    evidence = audit(tmp_path / "clone", 2025)
    assert (evidence.verdict, "git fetch --refetch --no-filter" in evidence.reason) == ("INVALID", True)
    clone.git.fetch("--refetch", "--no-filter")
    assert len(audit(tmp_path / "clone", 2025).selected) == 1


@pytest.mark.requirement("L4")
def test_a_folder_of_a_repository_that_tracks_none_of_it_has_no_history(history: History) -> None:
    history.commit("somebody else's", configs__training_yaml="dataset: ZELDA\n")
    history.write("game/configs/training.yaml", "dataset: ZELDA\n")
    evidence = audit(history.path / "game", 2025)
    assert evidence.verdict == "INVALID"
    assert "the folder game/ of a larger repository, which tracks none of its files" in evidence.reason


@pytest.mark.requirement("L4", "A2")
def test_sizes_of_other_projects_in_a_larger_repository_are_not_listed(history: History) -> None:
    history.write("other/configs/dynamics.yaml", "embed_dim: 1\n")
    history.write("game/configs/dynamics.yaml", "embed_dim: 2\n")
    history.commit("both")
    assert [change.file for change in audit(history.path / "game", 2025).key_changes] == ["game/configs/dynamics.yaml"]


@pytest.mark.requirement("L4")
def test_a_folder_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    evidence = audit(tmp_path / "nowhere", 2025)
    assert (evidence.verdict, "nowhere does not exist" in evidence.reason) == ("INVALID", True)


@pytest.mark.requirement("L4")
def test_auditing_the_git_folder_audits_its_project(history: History) -> None:
    history.commit("one", configs__training_yaml="dataset: ZELDA\n")
    assert audit(history.path / ".git", 2025).selected == audit(history.path, 2025).selected != ()


@pytest.mark.requirement("L4")
def test_inside_the_hook_of_another_repository_the_projects_own_history_is_read(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.commit("mine", configs__training_yaml="dataset: ZELDA\n")
    other = History(tmp_path / "other")
    other.commit("theirs", configs__training_yaml="dataset: ZELDA\n")
    for name, value in {
        "GIT_DIR": other.path / ".git",
        "GIT_WORK_TREE": other.path,
        "GIT_INDEX_FILE": other.path / ".git" / "index",
        "GIT_OBJECT_DIRECTORY": other.path / ".git" / "objects",
    }.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("GIT_DIFF_OPTS", "--unified=0")
    assert [commit.subject for commit in audit(history.path, 2025).selected] == ["mine"]


@pytest.mark.requirement("L4")
def test_a_replaced_commit_is_read_as_it_was_made(history: History) -> None:
    first = history.commit("made", configs__training_yaml="dataset: ZELDA\n")
    second = history.commit("later", configs__training_yaml="dataset: PONG\n")
    history.repo.git.replace(second, first)
    (history.path / ".git" / "info" / "grafts").write_text(f"{second}\n")
    assert [commit.subject for commit in audit(history.path, 2025).selected] == ["later", "made"]


@pytest.mark.requirement("L4")
@pytest.mark.parametrize(("seconds", "counted"), [(2**48, 2), (0, 2), (1_767_225_599, 3), (1_767_225_600, 2)])
def test_a_clock_that_is_far_off_hides_no_other_commit(history: History, seconds: int, counted: int) -> None:
    first = history.commit("first", configs__training_yaml="dataset: ZELDA\n")
    odd = history.commit_object(first, seconds=seconds)
    history.commit_object(odd, seconds=1_750_000_000)
    evidence = audit(history.path, 2025)
    assert (evidence.verdict, evidence.commits_in_year, len(evidence.selected)) == ("PASS", counted, 1)


@pytest.mark.requirement("L4")
def test_the_last_year_that_the_option_takes_can_be_audited(history: History) -> None:
    history.commit("one", configs__training_yaml="dataset: ZELDA\n")
    assert audit(history.path, 9999).commits_in_year == 0


# Which sizes changed when.


@pytest.mark.requirement("A2")
def test_a_key_that_occurs_twice_in_a_file_has_a_change_for_each(history: History) -> None:
    history.commit("start", OLD, configs__dev__all_yaml="a:\n  embed_dim: 1\nb:\n  embed_dim: 2\n  x: 1\n")
    history.commit("both", configs__dev__all_yaml="a:\n  embed_dim: 3\nb:\n  embed_dim: 4\n  x: 1\n")
    assert [(one.old, one.new) for one in audit(history.path, 2025).key_changes] == [("1", "3"), ("2", "4")]


@pytest.mark.requirement("A2")
def test_a_key_that_only_moved_inside_its_file_did_not_change(history: History) -> None:
    filler = "".join(f"k{i}: {i}\n" for i in range(9))
    history.commit("start", OLD, configs__training_yaml=f"num_bins: 4\n{filler}")
    history.commit("moved", configs__training_yaml=f"{filler}num_bins: 4\n")
    assert audit(history.path, 2025).key_changes == ()


@pytest.mark.requirement("A2")
def test_keys_are_read_past_windows_line_ends_byte_order_marks_and_odd_names(history: History) -> None:
    history.write('configs/a "b".yaml', b"\xef\xbb\xbfembed_dim: 8\r\nnum_heads: 2  # few\r\n")
    history.commit("one")
    changes = audit(history.path, 2025).key_changes
    assert [(one.key, one.new, one.file) for one in changes] == [
        ("embed_dim", "8", 'configs/a "b".yaml'),
        ("num_heads", "2", 'configs/a "b".yaml'),
    ]


@pytest.mark.requirement("A2")
def test_changes_are_listed_by_key_and_time_down_to_the_file_that_went(history: History) -> None:
    history.commit("start", "2025-01-01T00:00:00 +0000", configs__dynamics_yaml="embed_dim: 32\nnum_heads: 8\n")
    history.commit("wider", "2025-02-01T00:00:00 +0000", configs__dynamics_yaml="embed_dim: 64\nnum_heads: 8\n")
    (history.path / "configs/dynamics.yaml").unlink()
    history.commit("gone", "2025-03-01T00:00:00 +0000")
    told = [(one.key, one.old, one.new, one.date[:7]) for one in audit(history.path, 2025).key_changes]
    assert told == [
        ("embed_dim", None, "32", "2025-01"),
        ("embed_dim", "32", "64", "2025-02"),
        ("embed_dim", "64", None, "2025-03"),
        ("num_heads", None, "8", "2025-01"),
        ("num_heads", "8", None, "2025-03"),
    ]


def test_the_header_of_a_diff_names_its_file() -> None:
    assert path_of_header(b"diff --git a/x b/y b/x b/y") == "x b/y"
    assert path_of_header(rb'diff --git "a/\303\274\"" "b/\303\274\""') == 'ü"'
    assert path_of_header(b"diff --cc configs/a.yaml") == "configs/a.yaml"


# The command alone.


def test_the_command_names_the_files_of_a_commit_and_the_old_and_new_sizes(
    history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {f"notes_{i}__n_md": "x\n" for i in range(9)}
    history.commit("use it", configs__training_yaml="dataset: ZELDA\nembed_dim: 32\n", **files)
    assert main(["audit", str(history.path), "--year", "2025", "--mode", "strict"]) == 0
    told = capsys.readouterr().out
    assert "10 files: configs/training.yaml, notes_0/n.md" in told
    assert "and 4 more (--json has all)" in told
    assert "embed_dim: (not set) → 32  2025-06-01" in told


def test_no_secret_and_no_control_character_of_a_commit_reaches_terminal_or_json(
    history: History, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "hf_" + "a1B2c3D4e5F6g7H8"
    history.commit(f"token={secret} \x1b[31mred", configs__training_yaml=f"dataset: ZELDA\nn_actions: {secret}\n")
    for words in ([], ["--json"]):
        assert main(["audit", str(history.path), *words]) == 0
        told = capsys.readouterr().out
        assert secret not in told
        assert "\x1b" not in told
        assert "ZELDA" in told


def test_the_audit_can_be_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "audit", "--commits", "60", "--rounds", "2"]) == 0
    told = capsys.readouterr().out.splitlines()
    record = json.loads(told[-1])
    assert told[0].startswith("audit of 60 commits (5 merges), ")
    assert (record["commits"], record["merges"], len(record["seconds"])) == (60, 5, 2)
    assert record["selected"] > 0


def test_git_alone_is_enough_for_the_command(history: History) -> None:
    """A user of another language's CI calls it with nothing of pytest loaded."""
    history.commit("one", configs__training_yaml="dataset: ZELDA\n")
    words = ["-X", "importtime", "-m", "tinyworlds_gate", "audit", str(history.path), "--json"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout)["verdict"] == "PASS"
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not {"torch", "matplotlib", "pytest", "wandb"} & loaded
