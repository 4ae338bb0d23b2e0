"""The driver of the mutation run, on a tree of two modules and their tests.

python -m pytest tests/mutants -q
"""

from __future__ import annotations

import ast
import dataclasses
import json
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.required_tools import without
from tests.mutants import packages
from tests.mutants.equivalent import Equivalent, read_list, stale
from tests.mutants.judges import Judge, Judges, within_budget
from tests.mutants.operators import operators
from tests.mutants.run import Options, Run
from tests.mutants.sample import Mutant, draw, mutate, places
from tests.mutants.trees import Tree, copy_tree, namespace

LIMITS = """\
def is_long(seconds: float | None, floor: int = 2) -> bool:
    return seconds is not None and seconds > floor + 8


def first_power_from(least: int) -> int:
    found = 1
    while found < least:
        found *= 2
    return found
"""
TEST_LIMITS = """\
from tinyworlds_gate.gate.limits import first_power_from, is_long

def test_long():
    assert is_long(11) and not is_long(9) and not is_long(None)

def test_powers():
    assert first_power_from(5) == 8
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with one module, ``gate/limits.py``, whose test does not look at the limit itself."""
    files = {
        "tinyworlds_gate/__init__.py": "",
        "tinyworlds_gate/gate/__init__.py": "",
        "tinyworlds_gate/gate/limits.py": LIMITS,
        "tests/__init__.py": "",
        "tests/unit/gate/test_limits.py": TEST_LIMITS,
        "pytest.ini": "[pytest]\naddopts = -p no:tinyworlds_gate\n",
        "data/large.bin": "not copied",
        ".git/HEAD": "not copied",
    }
    for name, text in files.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "project"


def mutant(before: str, after: str, text: str = LIMITS) -> Mutant:
    """The one mutant of the module with this change of a line."""
    found = {
        one.key: one
        for place in places("gate/limits.py", text)
        for option in place.options
        if (one := mutate("gate/limits.py", text, *option)) is not None
    }
    (chosen,) = [one for one in found.values() if one.before.endswith(before) and one.after.endswith(after)]
    return chosen


def run_of(root: Path, tmp_path: Path, mutants: list[Mutant], **changes: Any) -> dict[str, Any]:
    """Judge these mutants instead of a drawn sample; return the package's part of the record."""
    options = Options(
        root=root,
        work=tmp_path / "work",
        record=tmp_path / "mutants.json",
        packages=["gate"],
        seed=1,
        sample=len(mutants),
        jobs=1,
        space=namespace(),
        judge_s=60.0,
        deadline_s=600.0,
    )
    run = Run(dataclasses.replace(options, **changes), say=lambda _: None)
    run.prepare()
    run.judge({"gate": (9, mutants)})
    record: dict[str, Any] = json.loads(options.record.read_text())
    return {**record["packages"]["gate"], "killed_share_of_all": record["killed_share"]}


ON_THE_LIMIT = ("seconds > floor + 8", "seconds >= floor + 8")
ENDLESS = ("found *= 2", "pass")
NOT_NONE = ("return seconds is not None and seconds > floor + 8", "return seconds > floor + 8")


@pytest.mark.slow
def test_a_survivor_is_listed_a_failure_is_killed_and_an_endless_loop_is_killed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.mutants.run.SLACK_S", 2.0)
    planted = [mutant(*ON_THE_LIMIT), mutant(*ENDLESS), mutant(*NOT_NONE)]
    found = run_of(root, tmp_path, planted)
    assert found["killed_by"] == {
        planted[1].key: "timeout",
        planted[2].key: "tests/unit/gate/test_limits.py::test_long",
    }
    (survivor,) = found["survivors"]
    assert (survivor["line"], survivor["within"], survivor["reason"]) == (2, "is_long", "not killed")
    assert survivor["after"] == "return seconds is not None and seconds >= floor + 8"
    assert survivor["tests"] == ["tests/unit/gate/test_limits.py"]
    assert (found["killed"], found["killed_by_timeout"], found["survived"]) == (2, 1, 1)
    assert found["killed_share"] == found["killed_share_of_all"] == pytest.approx(2 / 3, abs=1e-4)
    assert (root / "tinyworlds_gate/gate/limits.py").read_text() == LIMITS


def test_an_equivalent_mutant_has_its_reason_and_leaves_the_share(root: Path, tmp_path: Path) -> None:
    planted = [mutant(*ON_THE_LIMIT), mutant(*NOT_NONE)]
    entry = Equivalent("gate/limits.py", planted[0].before, planted[0].after, because="nobody waits exactly 10 s")
    found = run_of(root, tmp_path, planted, equivalent=[entry])
    assert found["survivors"][0]["reason"] == "equivalent because nobody waits exactly 10 s"
    assert (found["survived"], found["equivalent"], found["killed_share"]) == (0, 1, 1.0)


def test_a_resumed_run_judges_only_what_was_not_killed(root: Path, tmp_path: Path) -> None:
    planted = [mutant(*ON_THE_LIMIT), mutant(*NOT_NONE)]
    run_of(root, tmp_path, planted)
    test = root / "tests/unit/gate/test_limits.py"
    test.write_text(
        "from tinyworlds_gate.gate.limits import is_long\n\ndef test_limit():\n    assert not is_long(10)\n"
    )
    found = run_of(root, tmp_path, planted, work=tmp_path / "second", resume=True)
    assert found["killed_by"] == {
        planted[0].key: "tests/unit/gate/test_limits.py::test_limit",
        planted[1].key: "tests/unit/gate/test_limits.py::test_long",
    }


def test_a_test_file_that_fails_without_a_mutant_kills_nothing(root: Path, tmp_path: Path) -> None:
    (root / "tests/unit/gate/test_limits.py").write_text("def test_never():\n    assert False\n")
    found = run_of(root, tmp_path, [mutant(*NOT_NONE)])
    assert found["tests_failing_without_a_mutant"] == ["tests/unit/gate/test_limits.py"]
    assert (found["killed"], found["survived"], found["survivors"][0]["tests"]) == (0, 1, [])


def test_a_test_file_whose_tests_are_all_left_out_does_not_fail(root: Path, tmp_path: Path) -> None:
    (root / "pytest.ini").write_text("[pytest]\naddopts = -p no:tinyworlds_gate -m 'not slow'\nmarkers = slow\n")
    (root / "tests/unit/gate/test_limits_slow.py").write_text(
        "import pytest\n\n@pytest.mark.slow\ndef test_slow():\n    assert False\n"
    )
    found = run_of(root, tmp_path, [mutant(*NOT_NONE)])
    assert (found["tests_failing_without_a_mutant"], found["killed"]) == ([], 1)


def test_without_a_namespace_code_that_ends_processes_is_not_run_and_listed(root: Path, tmp_path: Path) -> None:
    dangerous = LIMITS + "\n\ndef end(process: object) -> None:\n    process.kill()\n"
    (root / "tinyworlds_gate/gate/limits.py").write_text(dangerous)
    found = run_of(root, tmp_path, [mutant("process.kill()", "pass", dangerous)], space=())
    assert "no PID namespace" in found["not_run_mutants"][0]["reason"]
    assert (found["killed"], found["survived"], found["not_run"], found["killed_share"]) == (0, 0, 1, None)


def test_mutants_after_the_deadline_are_listed_as_not_run(root: Path, tmp_path: Path) -> None:
    found = run_of(root, tmp_path, [mutant(*ON_THE_LIMIT)], deadline_s=0.0)
    assert [one["reason"] for one in found["not_run_mutants"]] == ["the time of the run was over"]


@pytest.mark.parametrize("module", ["launch/processes/end.py", "launch/cause.py", "run/lock.py"])
def test_modules_around_processes_need_a_namespace_whatever_their_text(module: str) -> None:
    assert packages.ends_processes(module, "")
    assert not packages.ends_processes("gate/verdict.py", "")


def test_a_run_in_a_namespace_ends_what_its_tests_leave_behind(root: Path, tmp_path: Path) -> None:
    if not (space := namespace()):
        without("user-namespaces", "unshare(1) makes no PID namespace on this machine")
    left = tmp_path / "left"
    (root / "tests/unit/gate/test_limits.py").write_text(
        textwrap.dedent(f"""\
        import os, subprocess
        def test_leaves_a_process():
            assert os.getppid() == 1
            subprocess.Popen(["sh", "-c", "sleep 1.5; touch {left}"], start_new_session=True)
        """)
    )
    assert Tree(root, space).run(["tests/unit/gate/test_limits.py"], 60).passed
    time.sleep(2.5)
    assert not left.exists()


def test_an_entry_of_the_list_that_fits_no_mutant_is_reported(root: Path) -> None:
    fits = mutant(*ON_THE_LIMIT)
    good = Equivalent("gate/limits.py", fits.before, fits.after, "…")
    gone = [
        dataclasses.replace(good, before="return seconds > 7"),
        dataclasses.replace(good, after="return seconds is not None and seconds > floor + 80"),
        dataclasses.replace(good, module="gate/other.py"),
    ]
    assert stale([good, *gone], root) == gone


def test_the_kept_list_has_a_reason_for_each_entry() -> None:
    assert all(len(entry.because.split()) > 3 and entry.before != entry.after for entry in read_list())


@pytest.mark.parametrize("name", sorted(operators()))
def test_each_operator_makes_the_change_of_its_example(name: str) -> None:
    example = operators()[name].examples()[0]
    before, after = (textwrap.dedent(code) for code in (example.pre_mutation_code, example.post_mutation_code))
    made = mutate("x.py", before, name, example.occurrence)
    assert made is not None or name in ("ReplaceBreakWithContinue", "ReplaceContinueWithBreak")  # outside of a loop
    assert made is None or ast.dump(ast.parse(made.source)) == ast.dump(ast.parse(after))


@pytest.mark.parametrize(
    "source",
    [
        "def f(x: int | None) -> int | None: ...",
        "x: int | str",
        "from a import b\nif TYPE_CHECKING:\n    y = 1 + 1",
        "WAIT_S = 10\nx = wait(timeout=3)\ndef f(poll_s: float = 1.5): ...",
        "@dataclass(frozen=True)\nclass A: ...",
    ],
)
def test_what_has_no_behaviour_is_not_mutated(source: str) -> None:
    assert places("x.py", source) == []


def test_the_mark_of_keyword_only_arguments_is_no_multiplication() -> None:
    source = "def f(a, *, b: int = 2 * 3): ...\ng = lambda a, *, b: a\n"
    every = [mutate("x.py", source, *option) for place in places("x.py", source) for option in place.options]
    products = [one.after for one in every if one is not None and one.operator == "ReplaceBinaryOperator_Mul_Div"]
    assert products == ["def f(a, *, b: int = 2 / 3): ..."]


def test_a_sample_is_fixed_by_its_seed_and_has_one_mutant_a_place() -> None:
    first, again, other = (draw({"gate/limits.py": LIMITS}, 8, seed) for seed in ("1", "1", "2"))
    assert [one.key for one in first] == [one.key for one in again] != [one.key for one in other]
    assert len({one.key for one in first}) == len(first) == 8
    assert all(ast.dump(ast.parse(one.source)) != ast.dump(ast.parse(LIMITS)) for one in first)


@pytest.mark.parametrize("above", ["# a note\n", "import json\n\n"])
def test_a_line_above_leaves_the_sample_as_it_is(above: str) -> None:
    drawn, moved = (draw({"gate/limits.py": text}, 8, "1") for text in (LIMITS, above + LIMITS))
    assert [one.key for one in moved] == [one.key for one in drawn]
    assert [one.line - above.count("\n") for one in moved] == [one.line for one in drawn]
    indented = "if True:\n" + textwrap.indent(LIMITS, "    ")
    assert {one.key for one in draw({"gate/limits.py": indented}, 99, "1")} >= {one.key for one in drawn}


def test_judges_are_those_of_the_modules_name_then_the_closest_by_imports(root: Path) -> None:
    files = {
        "tinyworlds_gate/gate/user.py": "from tinyworlds_gate.gate import limits\n",
        "tinyworlds_gate/gate/alone.py": "",
        "tests/unit/gate/test_user.py": "import tinyworlds_gate.gate.user\n",
        "tests/unit/loop/test_direct.py": "from tinyworlds_gate.gate.limits import is_long\n",
        "tests/unit/loop/test_far.py": "import tinyworlds_gate.gate.user\n",
        "tests/unit/loop/test_other.py": "import json\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    ranked = sorted(Judges(root).of("gate/limits.py"), key=lambda judge: judge.rank)
    names = ["gate/test_limits.py", "loop/test_direct.py", "gate/test_user.py"]
    assert [judge.path for judge in ranked] == [f"tests/unit/{name}" for name in names]
    assert {judge.path for judge in Judges(root).of("gate/alone.py")} >= {"tests/unit/gate/test_limits.py"}


def test_the_budget_takes_the_closest_tests_that_pass_and_always_one() -> None:
    judges = [Judge(False, 1, False, "slow"), Judge(True, 1, False, "broken"), Judge(True, 2, False, "quick")]
    times = {"slow": 50.0, "broken": None, "quick": 8.0}
    assert within_budget(judges, times.__getitem__, 60.0) == [("slow", 50.0), ("quick", 8.0)]
    assert within_budget(judges, times.__getitem__, 30.0) == [("slow", 50.0)]
    assert within_budget(judges[1:2], times.__getitem__, 30.0) == []


def test_a_copy_has_the_tree_without_runs_and_git(root: Path, tmp_path: Path) -> None:
    (root.parent / "shared").mkdir()
    copy_tree(root, tmp_path / "copy" / "tree")
    copied = tmp_path / "copy" / "tree"
    assert (copied / "tinyworlds_gate/gate/limits.py").read_text() == LIMITS
    assert not (copied / ".git").exists()
    assert not (copied / "data").exists()
    assert (tmp_path / "copy" / "shared").resolve() == root.parent / "shared"


def test_every_package_has_modules_and_every_exception_exists() -> None:
    repository = Path(__file__).resolve().parents[2]
    assert all(packages.modules(name, repository) for name in packages.PACKAGES)
    assert all((repository / packages.CODE / name).exists() for name in packages.LEFT_OUT)
