"""The options on a command line: values, bad values, combinations, help."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Mapping
from typing import Any

import pytest

from tests.helpers.config_files import PROFILES, REPOSITORY
from tests.helpers.options_parsing import parsed
from tinyworlds_gate.config.cli_options import OPTIONS, TARGET_OPTIONS, Option
from tinyworlds_gate.config.cli_rules import validate
from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.config.options import LoopOptions
from tinyworlds_gate.config.rendezvous import Rendezvous, rendezvous_of, with_node_options
from tinyworlds_gate.loop.resume import RESUMABLE_OPTIONS
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.plugin.options import chosen_profile, explicit_options, help_text, project_root, require_valid

pytest_plugins = ["pytester"]

GOOD: dict[str, tuple[str, Any]] = {
    "true|false": ("false", False),
    "path": ("a/b", "a/b"),
    "path or name": ("results/run_1", "results/run_1"),
    "name or folder": ("smoke", "smoke"),
    "all|none|<stage>": ("dynamics", "dynamics"),
    "fresh|latest": ("latest", "latest"),
    "embedded|tinyworlds|tinyworlds-fork": ("tinyworlds-fork", "tinyworlds-fork"),
    "api_first|api_only|local_only": ("api_only", "api_only"),
    "strict|wide|current_paths": ("wide", "wide"),
    "year": ("2024", 2024),
    "peak rate": ("3e-4", 3e-4),
    "factor": ("0.5", 0.5),
    "seconds": ("2.5", 2.5),
    "percent": ("0", 0.0),
    "MSE, frames in [0, 1]": ("0.02", 0.02),
    "host:port": ("node-a:29500", "node-a:29500"),
    "name": ("job-7", "job-7"),
    "dataset name": ("pong", "PONG"),
    "file": ("configs/a.yaml", "configs/a.yaml"),
    "strict|inject|report": ("inject", "inject"),
    "worse": ("worse", "worse"),
}
BAD: dict[str, tuple[str, ...]] = {
    "true|false": ("maybe", "1"),
    "path": ("",),
    "path or name": (" ",),
    "name or folder": (" ",),
    "all|none|<stage>": ("tokenizer",),
    "fresh|latest": ("newest",),
    "embedded|tinyworlds|tinyworlds-fork": ("fork",),
    "api_first|api_only|local_only": ("api",),
    "strict|wide|current_paths": ("loose",),
    "strict|inject|report": ("loose",),
    "worse": ("better",),
    "file": ("",),
    "year": ("25", "twenty"),
    "peak rate": ("0", "-0.1", "2", "nan", "fast"),
    "factor": ("0", "1.1", "inf"),
    "seconds": ("0", "-5", "inf", "soon"),
    "percent": ("-1", "101", "1%"),
    "MSE, frames in [0, 1]": ("banana", "0", "-0.03", "nan"),
    "retries": ("-1", "1.5"),
    "number": ("-1", "x"),
    "host:port": ("node-a", "node-a:0", "node-a:70000", ":29500", "a b:1", "-x:1"),
    "name": ("", "a b", "../x", "-x", "x" * 101),
    "dataset name": ("", "a b", "../x", "2048", "pong.h5", "x" * 201),
    "rank": ("-1", "first"),
}
WHOLE = ("-3", "0", "2.5", "many")


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.flag)
def test_every_option_reads_a_good_value(pytester: pytest.Pytester, option: Option) -> None:
    text, value = GOOD.get(option.unit, ("7", 7))
    config = parsed(pytester, [f"{option.flag}={text}"])
    assert explicit_options(config) == {option.name: value}


@pytest.mark.parametrize(
    ("option", "text"),
    [(option, text) for option in OPTIONS for text in BAD.get(option.unit, WHOLE)],
    ids=lambda value: getattr(value, "flag", repr(value)),
)
def test_every_option_refuses_a_bad_value_and_says_what_is_allowed(option: Option, text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=r"; (give|use|write) .+"):
        option.parse(text)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--max-mse", "banana"], r"argument --max-mse: 'banana' is not a number; give a number above 0"),
        (["--video-chunk", "-3"], r"argument --video-chunk: -3 is not allowed; give a whole number from 1"),
        (["--only-stage", "vae"], r"--only-stage: 'vae' is not known; use one of all, none, video_tokenizer"),
        (["--teacher-forced=x"], r"argument --teacher-forced: 'x' is neither true nor false; write true or false"),
        (["--max-mse"], r"argument --max-mse: expected one argument"),
        (["--max-ms", "0.1"], r"unrecognized arguments: --max-ms"),
    ],
)
def test_a_bad_value_is_a_usage_error_that_names_the_option(
    pytester: pytest.Pytester, words: list[str], said: str
) -> None:
    with pytest.raises(pytest.UsageError, match=said):
        parsed(pytester, words)


def test_an_option_that_is_not_on_the_command_line_is_not_explicit(pytester: pytest.Pytester) -> None:
    assert explicit_options(parsed(pytester, [])) == {}


def test_an_explicit_default_is_explicit(pytester: pytest.Pytester) -> None:
    assert explicit_options(parsed(pytester, ["--max-mse", "0.03"])) == {"max_mse": 0.03}


def test_only_stage_is_another_name_of_train_stage(pytester: pytest.Pytester) -> None:
    assert explicit_options(parsed(pytester, ["--only-stage", "dynamics"])) == {"train_stage": "dynamics"}


@pytest.mark.parametrize(
    ("words", "value"),
    [(["--teacher-forced"], True), (["--teacher-forced", "false"], False), (["--teacher-forced=TRUE"], True)],
)
def test_teacher_forced_may_stand_alone(pytester: pytest.Pytester, words: list[str], value: bool) -> None:
    assert explicit_options(parsed(pytester, words)) == {"teacher_forced": value}


@pytest.mark.parametrize(
    ("words", "profile"),
    [
        ([], "smoke"),
        (["-m", "smoke"], "smoke"),
        (["-m", "longrun"], "longrun"),
        (["-m", "longrun and not gpu"], "longrun"),
        (["-m", "not longrun and not slow"], "smoke"),
        (["-m", "longrun", "--profile", "baseline"], "baseline"),
    ],
)
def test_the_profile_follows_from_the_marker_by_default(
    pytester: pytest.Pytester, words: list[str], profile: str
) -> None:
    assert chosen_profile(parsed(pytester, words)) == profile


def test_the_project_root_is_pytest_s_rootdir_by_default(pytester: pytest.Pytester) -> None:
    assert project_root(parsed(pytester, [])) == pytester.path


def test_the_project_root_option_is_relative_to_the_working_folder(pytester: pytest.Pytester) -> None:
    assert project_root(parsed(pytester, ["--project-root", "game"])) == pytester.path / "game"


THREE = {"video_checkpoint": "a", "latent_checkpoint": "b", "dynamics_checkpoint": "c"}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"train_stage": "none", **THREE},
        {"train_stage": "none", "checkpoint_policy": "latest"},
        {"train_stage": "dynamics", "video_checkpoint": "a", "latent_checkpoint": "b"},
        {"train_stage": "video_tokenizer", "video_checkpoint": "a", "video_chunk": 3, "init_batch_size": 2},
        {"train_stage": "latent_actions", "target_updates": 9},
        {"checkpoint_policy": "fresh", "video_chunk": 200, "target_updates": 200},
        {"retry_lr_floor": 1e-6, "retry_init_learning_rate": 1e-6},
        {"nnodes": 1},
        {"nnodes": 2, "rdzv_endpoint": "node-a:29500", "rdzv_id": "job"},
        {"nnodes": 2, "node_rank": 1, "rdzv_endpoint": "[::1]:29500", "rdzv_id": "job"},
        {"train_stage": "dynamics", "checkpoint_policy": "fresh", "video_checkpoint": "a", "latent_checkpoint": "b"},
    ],
)
def test_a_sound_combination_is_accepted(options: Mapping[str, Any]) -> None:
    assert validate(options) == []
    require_valid(options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"train_stage": "none"},
            r"--train-stage none .* needs --video-checkpoint, --latent-checkpoint, --dynamics-checkpoint .* "
            r"or --checkpoint-policy latest",
        ),
        ({"train_stage": "none", "video_checkpoint": "a", "dynamics_checkpoint": "c"}, "needs --latent-checkpoint"),
        ({"train_stage": "dynamics"}, "needs --video-checkpoint, --latent-checkpoint"),
        (
            {"train_stage": "none", **THREE, "init_batch_size": 4},
            "--init-batch-size 4 has no effect with --train-stage none.*leave it out",
        ),
        (
            {"train_stage": "latent_actions", "video_chunk": 5},
            "--video-chunk 5 has no effect with --train-stage latent_actions",
        ),
        (
            {"train_stage": "video_tokenizer", "dynamics_init_learning_rate": 0.1},
            r"--dynamics-init-learning-rate 0\.1 has no effect",
        ),
        (
            {"checkpoint_policy": "fresh", "video_checkpoint": "a"},
            "--checkpoint-policy fresh starts video_tokenizer from new weights, but --video-checkpoint a names a check",
        ),
        (
            {"retry_lr_floor": 0.1, "retry_init_learning_rate": 0.01},
            r"--retry-lr-floor 0\.1 is above --retry-init-learning-rate 0\.01; set the floor to at most 0\.01",
        ),
        ({"node_rank": 1}, "--node-rank 1 has no effect on one machine; set --nnodes N for several, or leave it out"),
        ({"rdzv_id": "job"}, "--rdzv-id job has no effect on one machine"),
        ({"nnodes": 2}, "--nnodes 2 needs --rdzv-endpoint and --rdzv-id, the same on all nodes"),
        ({"nnodes": 2, "rdzv_id": "job"}, "--nnodes 2 needs --rdzv-endpoint, the same"),
        (
            {"nnodes": 2, "rdzv_endpoint": "a:1", "rdzv_id": "job", "target_repo": "../tinyworlds"},
            "a checkout is trained on one machine; only the embedded reference supports several",
        ),
        (
            {"nnodes": 2, "node_rank": 2, "rdzv_endpoint": "a:1", "rdzv_id": "job"},
            "--node-rank 2 is out of range for 2 nodes; use 0 to 1",
        ),
    ],
)
def test_a_bad_combination_is_a_usage_error_with_the_fix(options: Mapping[str, Any], said: str) -> None:
    with pytest.raises(pytest.UsageError, match=said):
        require_valid(options)


def test_all_bad_combinations_are_reported_at_once() -> None:
    assert len(validate({"train_stage": "none", "video_chunk": 3, "init_grad_accum": 2})) == 3


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.flag)
def test_the_help_of_every_option_has_its_unit_and_default(option: Option) -> None:
    text = help_text(option)
    assert text.startswith(option.help)
    assert f"Value: {option.unit}. Default: {option.default}." in text


def test_pytest_help_shows_every_option(pytester: pytest.Pytester) -> None:
    parsed(pytester, [])
    result = pytester.runpytest("--help", "-p", "no:cacheprovider")
    shown = "".join(result.stdout.str().split())
    assert result.ret == 0
    assert "tinyworlds_gate:theclosedloopfromtrainingtoinference" in shown
    for option in OPTIONS:
        assert f"{option.flag}=" in shown
        assert "".join(help_text(option).split()) in shown


def test_every_option_sets_known_settings_or_chooses_files_a_checkout_or_nodes() -> None:
    known = set(resolve_settings("smoke", {}, project_root=REPOSITORY).table())
    for option in OPTIONS:
        assert set(option.keys_of(STAGES)) <= known, option.name
    others = {"profile", "project_root", "resume_run", "allow_cpu_longrun", "node_rank", "rdzv_endpoint", "rdzv_id"}
    others |= {"baseline", "fail_on", "require_better"}
    assert {option.name for option in OPTIONS if not option.keys} == others | set(TARGET_OPTIONS) - {"align_backbone"}


def test_every_setting_of_the_loop_has_its_option() -> None:
    keys = {key for option in OPTIONS for key in option.keys if key.startswith("options.")}
    assert keys == {f"options.{name}" for name in LoopOptions.model_fields}


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_the_defaults_in_the_help_are_those_of_the_settings(profile: str) -> None:
    table = resolve_settings(profile, {}, project_root=REPOSITORY).table()
    for option in OPTIONS:
        text = option.default.split(" (")[0]
        own = profile == "smoke" and "smoke" in option.default
        for key in () if option.is_general else option.keys:
            value = table[key]["value"]
            if text in ("the profile's", "the general form's value") or own:
                assert value is not None
            elif text == "none":
                assert value == table.get(f"profile.gate.{option.name}", {"value": None})["value"]
            elif text == "context_length - 1":
                assert value == table["training.context_length"]["value"] - 1
            else:
                assert value == option.parse(text)


def test_a_resumed_run_may_meet_elsewhere_but_not_on_other_nodes() -> None:
    was = {"nnodes": 2, "rdzv_endpoint": "node-a:1", "rdzv_id": "job-7", "seed": 3}
    now = with_node_options(was, {"rdzv_endpoint": "node-b:2", "rdzv_id": "job-8", "resume_run": "run_1", "nnodes": 4})
    assert now == {**was, "rdzv_endpoint": "node-b:2", "rdzv_id": "job-8"}
    assert rendezvous_of(now) == Rendezvous(2, 0, "node-b:2", "job-8")
    assert rendezvous_of({"seed": 3}) is None
    assert {"node_rank", "rdzv_endpoint", "rdzv_id"} <= set(RESUMABLE_OPTIONS)
    assert "nnodes" not in RESUMABLE_OPTIONS
