"""`--dataset`: another game without an edit of a file (P1).

pytest tests/unit/config/test_dataset_option.py
"""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tests.helpers.config_files import REPOSITORY, copy_profile
from tests.helpers.data_files import numbered_frames, write_h5
from tests.helpers.stand_in import make_harness, set_config, write_sources
from tinyworlds_gate.cli import doctor
from tinyworlds_gate.config.cli_values import parse_dataset
from tinyworlds_gate.config.load import Settings, resolve_settings
from tinyworlds_gate.errors import ConfigError, DataError, GateError
from tinyworlds_gate.gate.checkout_attempt import target_arguments
from tinyworlds_gate.loop.checkout import chosen_target, resolve_checkout
from tinyworlds_gate.loop.resume import ResumedRun
from tinyworlds_gate.loop.start import require_dataset
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.stages.chunk_launch import Chunk, chunk_command
from tinyworlds_gate.targets.base import Target
from tinyworlds_gate.targets.embedded import embedded_target

INPUTS: Any = {stage: SimpleNamespace(path=Path(f"{stage}_step_9")) for stage in STAGES}


def words_of(target: Target, settings: Settings, stage: str) -> list[str]:
    chunk = Chunk(1, stage, 0, 20, 20, 0, "planned")
    return chunk_command(target, settings, chunk, None, INPUTS, on_cpu=True)


@pytest.mark.parametrize(("given", "name"), [("PONG", "PONG"), ("pong", "PONG"), ("my-Game_2", "MY-GAME_2")])
def test_a_name_is_taken_in_any_case(given: str, name: str) -> None:
    assert parse_dataset(given) == name


@pytest.mark.parametrize("given", ["", " ", "a/b", "../pong", "pong.h5", "pong_frames.h5", "2048", "-x", "é", "a\n"])
def test_what_cannot_name_a_file_is_refused_with_an_example(given: str) -> None:
    with pytest.raises(ArgumentTypeError, match=r"is not the name of a dataset; give a name such as PONG"):
        parse_dataset(given)


def test_a_name_that_no_file_name_can_hold_is_refused() -> None:
    with pytest.raises(ArgumentTypeError, match=r"is too long; give a name of at most 200 characters"):
        parse_dataset("x" * 201)


@pytest.mark.requirement("P1")
@pytest.mark.parametrize("profile", ["baseline", "smoke", "longrun", "longrun-crafter"])
def test_training_and_inference_of_every_profile_take_it(profile: str, tmp_path: Path) -> None:
    settings = resolve_settings(profile, {"dataset": "PONG"}, project_root=REPOSITORY)
    assert (settings.training.dataset, settings.inference.dataset, settings.chosen_dataset) == ("PONG", "PONG", "PONG")
    assert settings.provenance["inference.dataset"] == "option --dataset"
    assert settings.notes == ()
    target = embedded_target(tmp_path, REPOSITORY / "configs")
    own = resolve_settings(profile, {}, project_root=REPOSITORY)
    assert own.chosen_dataset is None
    for stage in STAGES:
        assert "dataset=PONG" in words_of(target, settings, stage)
        assert not [word for word in words_of(target, own, stage) if word.startswith("dataset=")]


@pytest.mark.requirement("P1")
def test_files_that_the_settings_name_for_their_own_dataset_are_left_out_with_a_note(tmp_path: Path) -> None:
    copy_profile("smoke", tmp_path / "configs/profiles/smoke")
    folder = tmp_path / "configs/profiles/smoke"
    for name, more in (("training", {"data_path": "data/mine.h5"}), ("profile", {"gate": {"evaluation_file": "e.h5"}})):
        values = yaml.safe_load((folder / f"{name}.yaml").read_text())
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({**values, **more}))
    other = resolve_settings("smoke", {"dataset": "PONG"}, project_root=tmp_path)
    assert (other.training.data_path, other.inference.data_path, other.inference.evaluation_file) == (None,) * 3
    assert other.profile.gate.evaluation_file is None
    assert [note.split(" (")[0] for note in other.notes] == [
        "--dataset PONG: data_path=data/mine.h5",
        "--dataset PONG: evaluation_file=e.h5",
    ]
    given = resolve_settings("smoke", {"dataset": "PONG", "evaluation_file": "p.h5"}, project_root=tmp_path)
    assert given.inference.evaluation_file == "p.h5"
    same = resolve_settings("smoke", {"dataset": "CRAFTER"}, project_root=tmp_path)
    assert (same.training.data_path, same.inference.evaluation_file) == (None, "e.h5")
    assert resolve_settings("smoke", {}, project_root=tmp_path).training.data_path == "data/mine.h5"


def test_a_missing_file_is_one_sentence_before_anything_starts(tmp_path: Path) -> None:
    copy_profile("smoke", tmp_path / "configs/profiles/smoke")
    write_h5(tmp_path / "data/bars_frames.h5", frames=numbered_frames(8))

    def settings(name: str) -> Settings:
        return resolve_settings("smoke", {"dataset": name}, project_root=tmp_path)

    require_dataset(settings("BARS"), None)
    require_dataset(settings("CRAFTER"), None)
    require_dataset(resolve_settings("longrun", {}, project_root=REPOSITORY), None)
    with pytest.raises(
        DataError, match=r"--dataset PONG needs the frames file .*data/pong_frames\.h5.*: BARS\); fix: "
    ):
        require_dataset(settings("PONG"), None)


def test_the_doctor_checks_the_file_of_a_planned_run(tmp_path: Path) -> None:
    copy_profile("baseline", tmp_path / "configs")
    copy_profile("smoke", tmp_path / "configs/profiles/smoke")
    checks = {check.name: check for check in doctor.settings_and_data("smoke", tmp_path, "SONIC")}
    assert checks["settings"].status == "OK"
    assert checks["data"].status == "FAIL"
    assert checks["data"].found.startswith("--dataset SONIC needs the frames file")
    assert doctor.run_command("smoke", tmp_path, "SONIC").count("--dataset SONIC") == 1


def test_a_resumed_run_keeps_its_dataset(tmp_path: Path) -> None:
    run = ResumedRun(tmp_path, [{"event": "run_started", "options": {"dataset": "PONG"}}])
    run.require_options({"dataset": parse_dataset("pong")})
    with pytest.raises(GateError, match=r"was started with --dataset PONG, now --dataset DOOM is given"):
        run.require_options({"dataset": "DOOM"})


@pytest.fixture(params=["tinyworlds", "tinyworlds-fork"])
def checkout(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    make_harness(tmp_path / "harness")
    return write_sources(tmp_path / "checkout", request.param)


def of_checkout(checkout: Path, description: str | None = None, **explicit: Any) -> tuple[Target, Settings]:
    options: dict[str, Any] = {"target_repo": str(checkout), **explicit}
    if description is not None:
        (checkout.parent / "fork.yaml").write_text(description)
        options["target_file"] = str(checkout.parent / "fork.yaml")
    target = chosen_target(options)
    assert target is not None
    return target, resolve_checkout(checkout.parent / "harness/profile", options, {}, target, checkout, 0)


def load_names(checkout: Path, *names: str) -> None:
    branches = "".join(f"    if dataset == {name!r}:\n        return 1\n" for name in names)
    (checkout / "datasets/names.py").write_text(f"def load(dataset):\n{branches}")


@pytest.mark.requirement("P1")
def test_every_process_of_a_checkout_gets_it_on_its_command_line(checkout: Path) -> None:
    target, settings = of_checkout(checkout, dataset="PONG")
    assert settings.training.dataset == "PONG"
    for stage in STAGES:
        assert "dataset=PONG" in words_of(target, settings, stage)
    assert target_arguments(settings, target, {}, on_cpu=True)["dataset"] == "PONG"
    own_target, own = of_checkout(checkout)
    assert "dataset=BARS" not in words_of(own_target, own, "dynamics")


def test_a_checkout_without_the_file_is_refused_with_its_place_and_the_command(checkout: Path) -> None:
    target, settings = of_checkout(checkout, dataset="PONG")
    path = checkout / "data/pong_frames.h5"
    with pytest.raises(
        DataError, match=rf"needs the frames file {path}, .*`tinyworlds-gate data make pong --output {path}`"
    ):
        require_dataset(settings, target)


def test_a_name_is_spelled_as_the_loader_of_the_checkout_does(checkout: Path) -> None:
    load_names(checkout, "Stripes")
    assert of_checkout(checkout, dataset="STRIPES")[1].training.dataset == "Stripes"
    with pytest.raises(ConfigError, match=r"--dataset DOOM is none that this checkout loads; give one of .*Stripes"):
        of_checkout(checkout, dataset="DOOM")


def test_a_checkout_whose_settings_have_no_dataset_is_refused(checkout: Path) -> None:
    path = checkout / "configs/training.yaml"
    values = yaml.safe_load(path.read_text())
    del values["dataset"]
    path.write_text(yaml.safe_dump(values))
    said = r"--dataset PONG cannot be honoured by this checkout: configs/training\.yaml has no setting `dataset`"
    with pytest.raises(ConfigError, match=said):
        of_checkout(checkout, dataset="PONG")
    for stage in STAGES:
        set_config(checkout, stage, dataset="BARS")
    assert of_checkout(checkout, dataset="PONG")[1].training.dataset == "PONG"


def test_a_renamed_setting_is_replaced_under_its_own_name(checkout: Path) -> None:
    kind = "tinyworlds-fork" if "decode_steps" in (checkout / "configs/inference.yaml").read_text() else "tinyworlds"
    set_config(checkout, "training", game="BARS")
    target, settings = of_checkout(checkout, f"kind: {kind}\nrenamed: {{dataset: game}}\n", dataset="PONG")
    assert "game=PONG" in words_of(target, settings, "dynamics")
    assert not [word for word in words_of(target, settings, "dynamics") if word.startswith("dataset=")]


@pytest.mark.parametrize("part", ["training", "inference"])
def test_another_dataset_of_the_description_is_refused(checkout: Path, part: str) -> None:
    kind = "tinyworlds-fork" if "decode_steps" in (checkout / "configs/inference.yaml").read_text() else "tinyworlds"
    description = f"kind: {kind}\noverrides: {{{part}: {{dataset: BARS}}}}\n"
    with pytest.raises(ConfigError, match=r"--dataset PONG contradicts .*dataset: BARS.* of the --target-file"):
        of_checkout(checkout, description, dataset="PONG")
    assert of_checkout(checkout, description, dataset="BARS")[1].training.dataset == "BARS"
