"""Memory that runs out in real training, of one process and of two ranks: rows of rows_memory.py.

pytest tests/faults/test_memory_training.py -m slow
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults.conftest import BeginScene
from tests.faults.ranks import UPDATES, rank_project
from tests.faults.runs import reports_of
from tests.helpers.config_files import set_values
from tests.helpers.hungry_stages import MIB, REFERENCE
from tests.helpers.memory_limits import memory_cgroup
from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.launch.cause import read_error_file

TOKENIZER = "video_tokenizer"
LARGER_MODEL = {
    "patch_size": 2,
    "context_length": 16,
    "embed_dim": 128,
    "num_heads": 4,
    "hidden_dim": 256,
    "num_blocks": 3,
}


@pytest.mark.slow
@pytest.mark.fault("memory-limit-training")
@pytest.mark.requirement("T1", "H8", "H9", "P2", "A5", "S4")
def test_real_training_that_does_not_fit_falls_to_one_clip_and_passes_degraded(
    tmp_path: Path, scene: BeginScene
) -> None:
    """Measured: one clip of this model needs 147 MiB over what the libraries hold, two 175 to 180, eight 700."""
    project = rank_project(tmp_path, scene)
    configs = tmp_path / "configs"
    set_values(configs / "training.yaml", nproc_per_node=1, distributed={"use_ddp": False}, **LARGER_MODEL)
    set_values(configs / "video_tokenizer.yaml", batch_size_per_gpu=8)
    project.context.settings = resolve_settings(configs, {}, project_root=tmp_path)
    (project.scripts / "limits.json").write_text(json.dumps({"mib": 160}))
    (project.scripts / "train_video_tokenizer.py").write_text(REFERENCE)
    result = project.train(1)

    assert (result.verdict, result.updates) == ("DEGRADED", 1), result.reason
    started = project.events("chunk_started")
    assert [event["params"]["batch_size_per_gpu"] for event in started] == [8, 4, 2, 1]
    assert [event["effective_batch"] for event in started] == [8, 4, 2, 1]
    ended = project.events("chunk_finished")
    assert [event["cause"] for event in ended] == ["out_of_memory"] * 3 + ["ok"]
    assert ended[-1]["problems"] == []
    layout = project.context.layout
    assert "can't allocate memory" in layout.chunk_log(1, TOKENIZER).read_text()
    assert "can't allocate memory" in str(read_error_file(layout.chunk_error_file(1)))
    report = reports_of(layout)
    assert "The run is degraded: video_tokenizer had to fall to a batch of 1 per GPU. The cause: out" in report["A5"]


@pytest.mark.slow
@pytest.mark.fault("kernel-oom-kill-rank")
@pytest.mark.requirement("T1", "H9", "L2")
def test_a_rank_that_the_kernel_kills_for_its_memory_is_out_of_memory(tmp_path: Path, scene: BeginScene) -> None:
    """Torchrun reports an exit code -9; the rank's cgroup shows who sent the signal."""
    project = rank_project(tmp_path, scene)
    with memory_cgroup(256 * MIB) as group:
        join = f"open({str(group.members)!r}, 'w').write('0')"
        # The harness looks at the cgroups of its workers a few times a second; a real worker lives longer in its own.
        seen = "__import__('time').sleep(2)"
        project.arm(f"{join}; {seen}; held = [bytearray(b'x' * 2**20) for _ in range(1000)]", rank=1)
        result = project.train()

    assert (result.verdict, result.updates) == ("PASS", UPDATES), result.reason
    killed, good = project.events("chunk_finished")
    assert (killed["exit_code"], killed["cause"], good["cause"]) == (1, "out_of_memory", "ok")
    (retune,) = project.events("retune")
    assert (retune["id"], retune["changes"], retune["effective_batch"]) == (
        "T1",
        {"batch_size_per_gpu": [4, 2]},
        [8, 4],
    )
    report = reports_of(project.context.layout)
    assert "rank 1 was ended by SIGKILL" in report["A5"]
    assert "T1: out_of_memory: " in report["A5"]
