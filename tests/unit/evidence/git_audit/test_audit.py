"""The git history audit (L4, A2) on real repositories made here.

Run: pytest tests/unit/evidence/git_audit/test_audit.py
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import git
import pytest

from tests.helpers.git_histories import IN_2025, History
from tinyworlds_gate.cli import audit as audit_command
from tinyworlds_gate.evidence.git_audit.audit import audit
from tinyworlds_gate.evidence.git_audit.log import read_raw_line, unquote_path


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "project")


def write_config(project: Path) -> None:
    """A file on an audited path."""
    (project / "configs").mkdir()
    (project / "configs" / "training.yaml").touch()


@pytest.mark.requirement("L4", "A2")
def test_strict_selects_a_commit_that_adds_a_line_with_the_word_and_touches_a_relevant_path(history: History) -> None:
    sha = history.commit("use ZELDA", configs__training_yaml="dataset: ZELDA\n", README_md="hello\n")
    evidence = audit(history.path, 2025)
    assert [commit.sha for commit in evidence.selected] == [sha]
    assert evidence.selected[0].files == ("README.md", "configs/training.yaml")
    assert evidence.selected[0].relevant_files == ("configs/training.yaml",)
    assert (evidence.commits_in_year, evidence.file_touches, evidence.relevant_file_touches) == (1, 2, 1)
    assert evidence.selected[0].date == "2025-06-01T12:00:00Z"
    assert evidence.verdict == "PASS"


@pytest.mark.requirement("L4")
def test_strict_counts_the_word_anywhere_in_the_diff_of_a_commit_that_touches_a_relevant_path(history: History) -> None:
    history.commit("the word in another file", configs__dynamics_yaml="a: 1\n", notes_md="about ZELDA\n")
    assert len(audit(history.path, 2025).selected) == 1


@pytest.mark.requirement("L4")
def test_a_commit_with_the_word_but_no_relevant_path_is_not_selected(history: History) -> None:
    history.commit("docs", notes_md="about ZELDA\n", configs__dev__training_yaml="dataset: ZELDA\n")
    evidence = audit(history.path, 2025, "wide")
    assert (evidence.commits_in_year, evidence.selected) == (1, ())
    assert "no commit is ZELDA evidence" in evidence.reason


@pytest.mark.requirement("L4")
def test_the_word_in_the_subject_alone_selects_nothing(history: History) -> None:
    history.commit("ZELDA at last", configs__training_yaml="dataset: PONG\n")
    assert audit(history.path, 2025, "wide").selected == ()


@pytest.mark.requirement("L4")
def test_the_word_in_a_context_line_counts_for_wide_and_not_for_strict(history: History) -> None:
    history.commit("start", "2024-01-01T00:00:00 +0000", configs__training_yaml="dataset: ZELDA\nfps: 15\n")
    history.commit("fps", configs__training_yaml="dataset: ZELDA\nfps: 30\n")
    assert audit(history.path, 2025, "strict").selected == ()
    assert len(audit(history.path, 2025, "wide").selected) == 1


@pytest.mark.requirement("L4")
def test_the_word_in_a_header_counts_for_wide_only(history: History) -> None:
    history.commit("assets", configs__training_yaml="fps: 30\n", assets__ZELDA_md="map\n")
    assert audit(history.path, 2025, "strict").selected == ()
    assert len(audit(history.path, 2025, "wide").selected) == 1


@pytest.mark.requirement("L4")
def test_a_removed_line_that_looks_like_a_header_still_counts(history: History) -> None:
    history.commit("start", "2024-01-01T00:00:00 +0000", configs__training_yaml="a: 1\n-- ZELDA\nb: 2\n")
    history.commit("drop it", configs__training_yaml="a: 1\nb: 2\n")
    assert len(audit(history.path, 2025, "strict").selected) == 1


@pytest.mark.requirement("L4")
def test_an_added_line_that_looks_like_a_header_does_not_end_its_hunk(history: History) -> None:
    fake = "diff --git a/x b/x\n@@ -1 +1 @@\n++ b/other.yaml\nZELDA\n"
    history.commit("a patch inside a file", scripts__full_train_py=fake)
    assert audit(history.path, 2025, "strict").selected[0].files == ("scripts/full_train.py",)


@pytest.mark.requirement("L4")
def test_current_paths_uses_todays_list(history: History) -> None:
    history.commit("old path", run_inference_py="ZELDA\n")
    new = history.commit("new path", utils__config_py="ZELDA\n")
    assert [c.sha for c in audit(history.path, 2025, "current_paths").selected] == [new]
    assert [c.subject for c in audit(history.path, 2025, "wide").selected] == ["old path"]


@pytest.mark.requirement("L4")
@pytest.mark.parametrize(
    ("name", "relevant"),
    [
        ("configs/lam.yaml", True),
        ("configs/dev/dev_pipeline.yaml", True),
        ("src/vqvae/train_vqvae.py", True),
        ("src/latent_action_model/main.py", True),
        ("tests/test_inference_zelda.py", True),
        ("train_full_pipeline.py", True),
        ("configs/other.yaml", False),
        ("deep/configs/training.yaml", False),
        ("src/dynamics/sub/train_x.py", False),
        ("tests/test_inference.txt", False),
        ("configs/training.yaml.bak", False),
    ],
)
def test_relevant_paths_are_those_of_the_requirement(history: History, name: str, relevant: bool) -> None:
    history.write(name, "ZELDA\n")
    history.commit("one file")
    assert bool(audit(history.path, 2025).selected) is relevant


@pytest.mark.requirement("L4")
def test_the_year_is_the_committer_date_in_utc(history: History) -> None:
    inside = history.commit("still 2025 in UTC", "2026-01-01T01:30:00 +0200", configs__training_yaml="x: ZELDA 1\n")
    history.commit("2026 in UTC", "2025-12-31T23:30:00 -0200", configs__training_yaml="x: ZELDA 2\n")
    history.commit("authored in 2025", "2026-03-01T00:00:00 +0000", IN_2025, configs__training_yaml="x: ZELDA 3\n")
    evidence = audit(history.path, 2025)
    assert [commit.sha for commit in evidence.selected] == [inside]
    assert evidence.commits_in_year == 1


@pytest.mark.requirement("L4")
@pytest.mark.parametrize("year", [2000, 2024, 2025])
def test_a_year_begins_and_ends_at_midnight_leap_years_included(history: History, year: int) -> None:
    for moment in (f"{year - 1}-12-31T23:59:59", f"{year}-01-01T00:00:00", f"{year}-12-31T00:00:00"):
        history.commit(moment, f"{moment} +0000", configs__training_yaml=f"x: ZELDA {moment}\n")
    history.commit("end", f"{year}-12-31T23:59:59 +0000", configs__training_yaml="x: ZELDA end\n")
    history.commit("after", f"{year + 1}-01-01T00:00:00 +0000", configs__training_yaml="x: ZELDA after\n")
    selected = [commit.subject for commit in audit(history.path, year).selected]
    assert selected == ["end", f"{year}-12-31T00:00:00", f"{year}-01-01T00:00:00"]


@pytest.mark.requirement("L4")
def test_a_commit_behind_one_with_a_skewed_clock_is_still_found(history: History) -> None:
    history.commit("first", IN_2025, configs__training_yaml="x: ZELDA\n")
    for i in range(8):
        history.commit(f"clock at 1999 ({i})", "1999-01-01T00:00:00 +0000")
    assert len(audit(history.path, 2025).selected) == 1


@pytest.mark.requirement("L4")
def test_a_pure_rename_is_one_file_and_no_changed_line(history: History) -> None:
    body = "dataset: ZELDA\n" + "".join(f"k{i}: {i}\n" for i in range(20))
    history.commit("start", "2024-01-01T00:00:00 +0000", configs__vqvae_yaml=body)
    history.repo.git.mv("configs/vqvae.yaml", "configs/tokenizer_old.yaml")
    history.write("configs/tokenizer_old.yaml", body.replace("k1: 1", "k1: 2"))
    history.commit("rename")
    assert audit(history.path, 2025, "strict").selected == ()
    wide = audit(history.path, 2025, "wide")
    assert [commit.files for commit in wide.selected] == [("configs/tokenizer_old.yaml",)]


@pytest.mark.requirement("L4")
def test_a_clean_merge_is_counted_but_its_branch_is_not_counted_twice(history: History) -> None:
    history.commit("base", configs__training_yaml="fps: 1\n")
    history.repo.git.checkout("-b", "side")
    side = history.commit("side", configs__dynamics_yaml="dataset: ZELDA\n")
    history.repo.git.checkout("main")
    history.commit("main", configs__inference_yaml="a: 1\n")
    with history.repo.git.custom_environment(GIT_COMMITTER_DATE=IN_2025, GIT_AUTHOR_DATE=IN_2025):
        history.repo.git.merge("side", "--no-ff", "-m", "merge side")
    evidence = audit(history.path, 2025, "wide")
    assert (evidence.commits_in_year, evidence.merges_in_year) == (4, 1)
    assert [commit.sha for commit in evidence.selected] == [side]
    assert any("1 merge commit(s) are counted" in note for note in evidence.notes)


@pytest.mark.requirement("L4")
def test_a_merge_that_writes_a_line_of_its_own_is_evidence_of_its_own(history: History) -> None:
    history.commit("base", configs__training_yaml="dataset: A\n")
    history.repo.git.checkout("-b", "side")
    history.commit("side", configs__training_yaml="dataset: B\n")
    history.repo.git.checkout("main")
    history.commit("main", configs__training_yaml="dataset: C\n")
    with pytest.raises(git.GitCommandError):
        history.repo.git.merge("side")
    merge = history.commit("resolve", configs__training_yaml="dataset: ZELDA\n")
    assert [commit.sha for commit in audit(history.path, 2025, "strict").selected] == [merge]


@pytest.mark.requirement("L4")
def test_binary_files_are_touched_but_not_searched_and_the_report_says_so(history: History) -> None:
    history.commit("blob", configs__training_yaml="a: 1\n", data_bin=b"\0ZELDA\0" * 50)
    evidence = audit(history.path, 2025, "wide")
    assert evidence.selected == ()
    assert any("1 change(s) of binary files" in note for note in evidence.notes)


@pytest.mark.requirement("L4")
def test_lines_names_and_subjects_in_odd_encodings_survive(history: History) -> None:
    history.write('caf\u00e9 \t"x".txt', "plain\n")
    history.commit("Br\u00fccke", configs__training_yaml=b"# caf\xe9 ZELDA \xff\xfe\n")
    [commit] = audit(history.path, 2025).selected
    assert commit.subject == "Br\u00fccke"
    assert 'caf\u00e9 \t"x".txt' in commit.files


@pytest.mark.requirement("L4")
def test_the_users_git_configuration_does_not_change_the_evidence(history: History) -> None:
    history.commit("start", configs__training_yaml="dataset: ZELDA\nfps: 1\n")
    before = audit(history.path, 2025, "wide")
    with history.repo.config_writer() as config:
        for section, option, value in [
            ("color", "ui", "always"),
            ("diff", "noprefix", "true"),
            ("diff", "external", "false"),
            ("diff", "context", "0"),
            ("log", "showRoot", "false"),
            ("log", "date", "relative"),
            ("core", "quotePath", "true"),
        ]:
            config.set_value(section, option, value)
    assert audit(history.path, 2025, "wide") == before


@pytest.mark.requirement("L4")
def test_no_commit_in_the_year_is_a_fact_and_not_a_failure(history: History) -> None:
    history.commit("now", "2026-02-01T00:00:00 +0000", configs__training_yaml="ZELDA\n")
    evidence = audit(history.path, 2025)
    assert (evidence.verdict, evidence.commits_in_year, evidence.file_touches) == ("PASS", 0, 0)
    assert "holds no commit in 2025" in evidence.reason


@pytest.mark.requirement("L4")
def test_no_repository_is_invalid_with_its_reason(tmp_path: Path) -> None:
    write_config(tmp_path)
    evidence = audit(tmp_path, 2025)
    assert evidence.verdict == "INVALID"
    assert "not in a git repository" in evidence.reason
    assert evidence.commits_in_year is None


@pytest.mark.requirement("L4")
def test_a_repository_without_any_commit_is_invalid(history: History) -> None:
    write_config(history.path)
    evidence = audit(history.path, 2025)
    assert (evidence.verdict, "no commit yet" in evidence.reason) == ("INVALID", True)


@pytest.mark.requirement("L4")
@pytest.mark.parametrize("name", ["configs/training.yaml", "src/vqvae/train_all.py", "utils/config.py"])
def test_no_history_is_missing_where_no_file_is_on_an_audited_path(tmp_path: Path, name: str) -> None:
    settings = tmp_path / "configs" / "profiles" / "smoke" / "training.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text("seed: 1\n")
    evidence = audit(tmp_path, 2025)
    assert (evidence.verdict, evidence.commits_in_year) == ("NOT-RUN", None)
    assert "no file on an audited path" in evidence.reason
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("")
    assert audit(tmp_path, 2025).verdict == "INVALID"


@pytest.mark.requirement("L4")
def test_without_git_only_a_folder_outside_any_repository_has_nothing_to_audit(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty, inside = tmp_path / "empty", history.path / "inside"
    empty.mkdir()
    inside.mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (audit(empty, 2025).verdict, audit(inside, 2025).verdict) == ("NOT-RUN", "INVALID")


@pytest.mark.requirement("L4")
def test_a_damaged_repository_is_invalid_and_names_what_git_said(history: History) -> None:
    history.commit("one", configs__training_yaml="ZELDA\n")
    blob = history.repo.head.commit.tree["configs/training.yaml"].hexsha
    (history.path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    evidence = audit(history.path, 2025)
    assert evidence.verdict == "INVALID"
    assert "git could not read the history" in evidence.reason


@pytest.mark.requirement("L4")
def test_a_shallow_clone_cut_inside_the_year_is_invalid_and_names_the_fix(history: History, tmp_path: Path) -> None:
    for i in range(3):
        history.commit(f"step {i}", configs__training_yaml=f"dataset: ZELDA {i}\n")
    git.Repo.clone_from(history.path.as_uri(), tmp_path / "clone", depth=2).close()
    evidence = audit(tmp_path / "clone", 2025)
    assert evidence.verdict == "INVALID"
    assert "git fetch --unshallow" in evidence.reason
    assert len(evidence.selected) == 1, "the commit at the cut has no known diff and must not count"


@pytest.mark.requirement("L4")
@pytest.mark.parametrize("depth", [1, 2])
def test_a_shallow_clone_cut_after_the_year_is_invalid_and_does_not_count_0_commits(
    history: History, tmp_path: Path, depth: int
) -> None:
    history.commit("in the year", configs__training_yaml="dataset: ZELDA\n")
    history.commit("a year later", "2026-02-01T00:00:00 +0000", README_md="a\n")
    history.commit("later still", "2026-03-01T00:00:00 +0000", README_md="b\n")
    git.Repo.clone_from(history.path.as_uri(), tmp_path / "clone", depth=depth).close()
    evidence = audit(tmp_path / "clone", 2025)
    assert (evidence.verdict, evidence.commits_in_year) == ("INVALID", 0)
    assert "git fetch --unshallow" in evidence.reason
    assert any("The history is cut at" in note for note in evidence.notes)


@pytest.mark.requirement("L4")
def test_a_shallow_clone_cut_before_the_year_is_whole_for_the_year(history: History, tmp_path: Path) -> None:
    history.commit("old", "2023-01-01T00:00:00 +0000", README_md="a\n")
    history.commit("older half", "2024-01-01T00:00:00 +0000", README_md="b\n")
    history.commit("new", configs__training_yaml="ZELDA\n")
    git.Repo.clone_from(history.path.as_uri(), tmp_path / "clone", depth=2).close()
    evidence = audit(tmp_path / "clone", 2025)
    assert (evidence.verdict, len(evidence.selected)) == ("PASS", 1)
    assert any("cut before 2025" in note for note in evidence.notes)


@pytest.mark.requirement("L4")
def test_a_project_inside_a_larger_repository_is_audited_by_its_own_paths(history: History) -> None:
    history.write("game/configs/training.yaml", "ZELDA\n")
    history.write("configs/training.yaml", "PONG\n")
    history.commit("both")
    assert audit(history.path / "game", 2025).selected[0].relevant_files == ("game/configs/training.yaml",)
    assert "the folder game/ of a larger repository" in " ".join(audit(history.path / "game", 2025).notes)


@pytest.mark.requirement("L4", "A2")
def test_backbone_changes_of_the_year_are_listed_with_old_new_and_commit(history: History) -> None:
    history.commit("start", "2024-01-01T00:00:00 +0000", configs__dynamics_yaml="embed_dim: 32\nnum_heads: 8\n")
    sha = history.commit("wider", configs__dynamics_yaml="embed_dim: 64  # was 32\nnum_heads: 8\nnum_bins: 4\n")
    changes = audit(history.path, 2025).key_changes
    assert [(c.key, c.old, c.new, c.file, c.sha) for c in changes] == [
        ("embed_dim", "32", "64", "configs/dynamics.yaml", sha),
        ("num_bins", None, "4", "configs/dynamics.yaml", sha),
    ]


def test_an_unknown_mode_is_refused_with_the_allowed_ones(history: History) -> None:
    with pytest.raises(ValueError, match="'loose' is unknown; allowed: strict, wide, current_paths"):
        audit(history.path, 2025, "loose")


@pytest.mark.requirement("L4")
def test_the_command_prints_json_that_holds_the_evidence(history: History, capsys: pytest.CaptureFixture[str]) -> None:
    history.commit("one", configs__training_yaml="ZELDA\n")
    parser = argparse.ArgumentParser()
    audit_command.add_arguments(parser)
    code = audit_command.run(parser.parse_args([str(history.path), "--year", "2025", "--mode", "wide", "--json"]))
    data = json.loads(capsys.readouterr().out)
    assert (code, data["verdict"], data["mode"], len(data["selected"])) == (0, "PASS", "wide", 1)


def test_the_command_exits_1_without_a_repository(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    audit_command.add_arguments(parser)
    assert audit_command.run(parser.parse_args([str(tmp_path)])) == 1
    assert capsys.readouterr().out.startswith("NOT-RUN: ")
    write_config(tmp_path)
    assert audit_command.run(parser.parse_args([str(tmp_path)])) == 1
    assert capsys.readouterr().out.startswith("INVALID: ")


def test_a_year_that_is_no_year_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    audit_command.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--year", "banana"])
    assert "'banana' is not a whole number; give a whole number from 1970 to 9999" in capsys.readouterr().err


def test_a_bare_repository_is_audited(history: History, tmp_path: Path) -> None:
    history.commit("one", configs__training_yaml="ZELDA\n")
    shutil.copytree(history.path / ".git", tmp_path / "bare.git")
    with git.Repo(tmp_path / "bare.git") as bare, bare.config_writer() as config:
        config.set_value("core", "bare", "true")
    evidence = audit(tmp_path / "bare.git", 2025)
    assert (evidence.verdict, len(evidence.selected)) == ("PASS", 1)


def test_quoted_paths_of_git_are_read_back() -> None:
    assert unquote_path(rb'"a\tb\"c\\d\303\274.py"') == 'a\tb"c\\d\u00fc.py'
    assert unquote_path(b"plain.py") == "plain.py"


def test_a_rename_line_names_old_and_new_path() -> None:
    file = read_raw_line(b":100644 100644 aaa bbb R087\told.py\tnew.py")
    assert (file.path, file.old_path, file.status) == ("new.py", "old.py", "R087")
