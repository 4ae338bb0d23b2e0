"""What a checkout can do is read from its source, with the line that shows it; nothing of it is imported.

pytest tests/unit/targets/test_code_reading.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.stand_in import write_sources
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.targets.capabilities import CAPABILITIES
from tinyworlds_gate.targets.checkout import checkout_target
from tinyworlds_gate.targets.code_reading import CodeReading, read_code

FROM_ZERO = """
from helpers.saving import save_training_state
raise SystemExit("a checkout's script must not run")
for step in tqdm(range(0, args.n_updates)):
    if step % args.log_interval == 0:
        save_training_state(model, step)
        visualize(model)
"""
RESUMING = """
from helpers.saving import save_training_state
start_step = 0
if args.checkpoint:
    optimizer.load_state_dict(torch.load(args.checkpoint))
    start_step = saved + 1
for step in tqdm(range(start_step, args.n_updates)):
    if step % args.log_interval == 0 and is_main:
        save_training_state(model, step)
if is_main:
    save_training_state(model, step)
"""
INFERENCE = """
def main():
    def missing(path):
        return not os.path.{test}(path)
    for step in range(args.generation_steps):
        if args.use_interactive_mode:
            pass
        elif args.use_gt_actions:
            {actions}
        forward_inference(num_steps={steps})
    print("Mean Squared Error (GT vs Pred): 0")
"""
SAVING = """
def save_training_state(model, step):
    state_dict = model.state_dict()
    torch.save(state_dict, path)
"""
GUARDED = """
def save_training_state(model, step):
    state_dict = model.state_dict()
    if get_rank() == 0:
        torch.save(state_dict, path)
"""


def read(root: Path, stages: dict[str, str], inference: str = "", saving: str = SAVING, model: str = "") -> CodeReading:
    scripts = {stage: root / f"scripts/{stage}.py" for stage in STAGES}
    texts = {scripts[stage]: stages.get(stage, FROM_ZERO) + "import models.net\n" for stage in STAGES}
    texts |= {root / "scripts/play.py": inference, root / "helpers/saving.py": saving, root / "models/net.py": model}
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return read_code(root, scripts, root / "scripts/play.py")


def shown(code: CodeReading, name: str) -> tuple[bool, str]:
    (found,) = (one for one in code.readings if one.name == name)
    return found.value, found.place


@pytest.mark.requirement("H7")
def test_a_stage_resumes_where_its_loop_starts_at_a_saved_step_and_the_optimizer_is_restored(tmp_path: Path) -> None:
    code = read(tmp_path, {"dynamics": RESUMING})
    assert code.of_stages("resumes", False) == {"dynamics"}
    assert shown(code, "resumes dynamics") == (True, "scripts/dynamics.py:7")
    assert shown(code, "resumes video_tokenizer") == (False, "scripts/video_tokenizer.py:4")
    assert code.capabilities(vars(CAPABILITIES["tinyworlds"]))["resumes"] is False, "not every stage does"
    weights_only = RESUMING.replace("optimizer.load_state_dict", "model.load_state_dict")
    assert read(tmp_path, {"dynamics": weights_only}).of_stages("resumes", False) == frozenset()


@pytest.mark.requirement("S4")
def test_a_save_after_the_loop_is_a_final_save_and_a_picture_there_is_named(tmp_path: Path) -> None:
    code = read(tmp_path, dict.fromkeys(STAGES, RESUMING))
    assert code.capabilities(vars(CAPABILITIES["tinyworlds"]))["saves_last_update"] is True
    assert shown(code, "saves_last_update dynamics") == (True, "scripts/dynamics.py:11")
    assert shown(code, "draws_last_update dynamics")[0] is False
    drawing = read(tmp_path, {"dynamics": RESUMING + "    visualize_reconstruction(model)\n"})
    assert shown(drawing, "draws_last_update dynamics") == (True, "scripts/dynamics.py:12")
    assert drawing.capabilities(vars(CAPABILITIES["tinyworlds"]))["saves_last_update"] is False, (
        "the other stages have none"
    )


@pytest.mark.parametrize(
    ("stages", "saving", "expected"), [(FROM_ZERO, SAVING, False), (FROM_ZERO, GUARDED, True), (RESUMING, SAVING, True)]
)
def test_one_rank_saves_where_the_function_or_every_call_asks_for_the_rank(
    tmp_path: Path, stages: str, saving: str, expected: bool
) -> None:
    code = read(tmp_path, dict.fromkeys(STAGES, stages), saving=saving)
    assert code.capabilities(vars(CAPABILITIES["tinyworlds"]))["saves_on_one_rank"] is expected


@pytest.mark.parametrize(
    ("test", "actions", "steps", "expected"),
    [
        ("isfile", "action = sample_random_action()", "10", (False, False, False)),
        ("exists", "action = encode()", "args.decode_steps", (True, True, True)),
    ],
)
def test_the_inference_s_folders_actions_and_decoding_steps_are_read(
    tmp_path: Path, test: str, actions: str, steps: str, expected: tuple[bool, bool, bool]
) -> None:
    code = read(tmp_path, {}, INFERENCE.format(test=test, actions=actions, steps=steps))
    can = code.capabilities(vars(CAPABILITIES["tinyworlds"]))
    assert (can["takes_checkpoint_folders"], can["infers_actions"], shown(code, "decode_steps")[0]) == expected
    assert (can["seeds_inference"], can["states_generated_error"]) == (False, False)


def test_a_seed_needs_all_three_settings(tmp_path: Path) -> None:
    text = INFERENCE.format(test="exists", actions="encode()", steps="args.decode_steps")
    seeded = text.replace("def main():", "def main():\n    torch.manual_seed(args.seed)\n    args.sample_index")
    assert read(tmp_path, {}, seeded).capabilities(vars(CAPABILITIES["tinyworlds"]))["seeds_inference"] is True


def test_variations_of_the_model_are_shown_and_are_no_capability(tmp_path: Path) -> None:
    model = "class Attention:\n    def __init__(self):\n        self.q_norm = RMSNorm(8)\nclass MoEBlock:\n    pass\n"
    code = read(tmp_path, {}, model=model)
    assert shown(code, "qk_norm") == (True, "models/net.py:3")
    assert shown(code, "mixture_of_experts") == (True, "models/net.py:4")
    assert not {"qk_norm", "mixture_of_experts"} & set(code.capabilities(vars(CAPABILITIES["tinyworlds"])))


def test_a_check_for_cuda_forbids_several_workers_on_the_cpu(tmp_path: Path) -> None:
    check = 'raise ValueError("Distributed training (DDP/FSDP) requires device=cuda.")\n'
    assert (
        read(tmp_path, {}, saving=SAVING + check).capabilities(vars(CAPABILITIES["tinyworlds"]))["distributes_on_cpu"]
        is False
    )
    assert read(tmp_path, {}).capabilities(vars(CAPABILITIES["tinyworlds"]))["distributes_on_cpu"] is True


def test_a_script_that_cannot_be_parsed_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dynamics\.py cannot be parsed .* the checkout itself is broken"):
        read(tmp_path, {"dynamics": "def broken(:\n"})


@pytest.mark.parametrize("kind", ["tinyworlds", "tinyworlds-fork"])
def test_what_the_code_does_not_show_is_the_kind_s(tmp_path: Path, kind: str) -> None:
    target = checkout_target(write_sources(tmp_path / "checkout", kind))
    assert target is not None
    assert target.resuming is None
    assert target.resumes("dynamics") is (kind == "tinyworlds-fork")
    assert target.can.states_generated_error is (kind == "tinyworlds-fork")


def test_the_code_decides_against_the_kind_and_a_description_against_both(tmp_path: Path) -> None:
    root = write_sources(tmp_path / "checkout", "tinyworlds", "resumes_dynamics", "folders_are_missing")
    target = checkout_target(root)
    assert target is not None
    assert (target.resumes("dynamics"), target.resumes("latent_actions")) == (True, False)
    assert "(this is not so for dynamics, which resumes)" in target.limits()[0]
    assert not target.can.takes_checkpoint_folders
    description = tmp_path / "fork.yaml"
    description.write_text("kind: tinyworlds\ncapabilities: {resumes: false, takes_checkpoint_folders: true}\n")
    described = checkout_target(root, description=description)
    assert described is not None
    assert not described.resumes("dynamics")
    assert described.can.takes_checkpoint_folders
