"""Stage programs with a real memory limit, so that a batch fits or not; prefixes of fake_stages.PROGRAM.

Each process limits its own memory before it trains, as on a smaller machine; the detection of the failure is unchanged.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.helpers.fake_stages import PROGRAM, FakeProject

MIB = 2**20

LIMITS = r"""
import json, os, pathlib, resource, sys
limits = json.loads((pathlib.Path(__file__).resolve().parent / "limits.json").read_text())
batch = int(next(word.split("=")[1] for word in sys.argv if word.startswith("batch_size_per_gpu=")))

def limit_address_space(mib):
    # Over what the interpreter and its libraries hold by now, so that the numbers mean the same on every machine.
    held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + mib * 2**20, held + mib * 2**20))
"""

ARRAYS = (
    LIMITS
    + r"""
import numpy
limit_address_space(limits["mib"])
frames = numpy.ones((batch, limits["mib_per_clip"], 2**17))
assert frames.sum() > 0
del frames
"""
)
"""NumPy asks for more than RLIMIT_AS gives: an exception, quickly."""

TENSORS = (
    LIMITS
    + r"""
import torch
from torch.distributed.elastic.multiprocessing.errors import record

@record
def forward_and_backward():
    frames = torch.ones(batch, limits["mib_per_clip"], 2**18)
    assert float(frames.sum()) > 0
    del frames

limit_address_space(limits["mib"])
forward_and_backward()
"""
)
"""PyTorch asks for more than RLIMIT_AS gives: an exception, in the log and in torch's error file."""

LIBRARY = (
    LIMITS
    + r"""
import numpy
if batch > limits["fits"]:
    held, product = numpy.ones((1024, 1024)), numpy.empty((1024, 1024))
    limit_address_space(limits["mib"])
    numpy.matmul(held, held, out=product)
"""
)
"""OpenBLAS finds no room for its own buffers, says so and ends the process: Python sees no exception."""

CGROUP = (
    LIMITS
    + r"""
import subprocess
pathlib.Path(limits["members"]).write_text("0")
killed_once = pathlib.Path(__file__).resolve().parent / "killed_once"
if limits.get("killed_by_another") and not killed_once.exists():
    killed_once.touch()
    subprocess.run(["kill", "-KILL", str(os.getpid())])
held = [bytearray(b"x" * 2**20) for _ in range(limits["mib_per_clip"] * batch)]
del held
"""
)
"""The process joins a memory cgroup and touches its pages: what is too much, the kernel answers with SIGKILL."""

REFERENCE = (
    LIMITS
    + r"""
import h5py, torch, torch._dynamo
import matplotlib.backends.backend_agg, matplotlib.figure, matplotlib.projections
import tinyworlds_gate.reference.training.trainer
from tinyworlds_gate.reference.training.stage_main import main

torch.set_num_threads(1)
limit_address_space(limits["mib"])
main("video_tokenizer")
"""
)
"""The reference's own training of the tokenizer, on a machine with so much memory beside its libraries."""

ROLL_OUT = r"""
import json, os, pathlib, resource, sys
here = pathlib.Path(__file__).resolve().parent
limits = json.loads((here / "limits.json").read_text())
given = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
batch = int(given["batch_size"])
for stage in ("video_tokenizer", "latent_actions", "dynamics"):
    print(f"Using {stage} checkpoint: {given[stage + '_path']}", flush=True)
import numpy
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + limits["mib"] * 2**20,) * 2)
frames = numpy.ones((batch, limits["mib_per_clip"], 2**17))
assert frames.sum() > 0
print("Inferring frame 1/1", flush=True)
results = pathlib.Path("inference_results")
(results / f"inference_results_gt_vs_pred_{os.getpid()}.png").write_bytes((here / "picture.png").read_bytes())
measures = json.loads((here / "measures.json").read_text())
pathlib.Path(given["measures_path"]).write_text(json.dumps(measures))
mean = sum(sum(clip["rollout_mse"]) / len(clip["rollout_mse"]) for clip in measures["clips"]) / len(measures["clips"])
print("Inference stats:")
print(f"Mean Squared Error (GT vs Pred): {mean:.8f}", flush=True)
"""
"""An inference program whose clips need memory each; a batch that fits leaves all that the gate asks for."""


def make_hungry(project: FakeProject, stage: str, prefix: str, **limits: object) -> None:
    """Make the stage's program allocate memory before it trains; ``limits`` are the prefix's numbers (MiB)."""
    (project.scripts / "limits.json").write_text(json.dumps({k: _plain(v) for k, v in limits.items()}))
    (project.scripts / f"train_{stage}.py").write_text(prefix + PROGRAM)


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value
