"""Read from a checkout's source what it can do, with the line that shows it.

The source is parsed, never imported or run.
Where the source shows nothing, the capability of the checkout's kind counts (``capabilities.py``).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.targets.capabilities import Reading
from tinyworlds_gate.targets.dependencies import own_sources

SAVES = re.compile(r"^save_(training_state|checkpoint|state|model)")
DRAWS = re.compile(r"visuali[sz]e|imsave|savefig|save_image")
NEEDS_CUDA = re.compile(r"(ddp|fsdp|distributed).*requires device=cuda", re.IGNORECASE)
ONE_RANK = re.compile(r"main|rank")
EXPERTS = re.compile(r"moe|expert", re.IGNORECASE)
LINE_CHARS = 90
Node = TypeVar("Node", bound=ast.AST)


@dataclass(frozen=True)
class CodeReading:
    """All readings of a checkout."""

    readings: tuple[Reading, ...] = ()

    def of_stages(self, name: str, otherwise: bool) -> frozenset[str] | None:
        """Return the stages for which ``name`` holds; ``otherwise`` counts where a script shows nothing of it.

        None: no script shows it.
        """
        found = {stage: one.value for one in self.readings for stage in STAGES if one.name == f"{name} {stage}"}
        return frozenset(stage for stage in STAGES if found.get(stage, otherwise)) if found else None

    def capabilities(self, of_kind: Mapping[str, bool]) -> dict[str, bool]:
        """Return capability → value, for what the source shows of ``Capabilities``; ``of_kind`` fills gaps."""
        found: dict[str, bool] = {}
        for name in PER_STAGE:
            stages = self.of_stages(name, of_kind[name])
            if stages is not None:
                found[name] = len(stages) == len(STAGES)
        found |= {one.name: one.value for one in self.readings if " " not in one.name}
        seeds = [found.pop(name) for name in SEEDING if name in found]
        if seeds:
            found["seeds_inference"] = len(seeds) == len(SEEDING) and all(seeds)
        return {name: value for name, value in found.items() if name not in ARCHITECTURE}


SEEDING = ("seed", "sample_index", "decode_steps")
"""Keys of the inference run that make up ``seeds_inference``."""
ARCHITECTURE = ("qk_norm", "mixture_of_experts")
"""Variations of the model, which the trusted gate must be able to compute."""
PER_STAGE = ("resumes", "saves_last_update")
"""Capabilities that each stage's script shows by itself."""


@dataclass(frozen=True)
class _Source:
    """A parsed file of the checkout."""

    name: str
    tree: ast.Module
    lines: Sequence[str]

    def reading(self, name: str, value: bool, node: ast.AST) -> Reading:
        number = getattr(node, "lineno", 1)
        return Reading(name, value, f"{self.name}:{number}", self.lines[number - 1].strip()[:LINE_CHARS])


def read_code(
    root: Path, stage_scripts: Mapping[str, Path], inference_script: Path, updates: str = "n_updates"
) -> CodeReading:
    """Read the scripts and the checkout's own modules that they import.

    Args:
        updates: the checkout's own key of ``n_updates``.

    Raises:
        ConfigError: a file cannot be parsed.
    """
    readings: list[Reading] = []
    modules: dict[Path, _Source] = {}
    for stage in STAGES:
        script = _parse(root, stage_scripts[stage])
        readings += _of_stage(stage, script, updates)
        modules |= {path: _parse(root, path) for path in own_sources(root, stage_scripts[stage])}
    inference = [_parse(root, path) for path in own_sources(root, inference_script)]
    readings += _of_saving(list(modules.values()))
    readings += _of_distribution(list(modules.values()))
    readings += _of_inference(inference)
    readings += _of_architecture(list(modules.values()))
    return CodeReading(tuple(readings))


def _parse(root: Path, file: Path) -> _Source:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"{file} cannot be parsed ({error}); the checkout itself is broken.") from error
    name = file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)
    return _Source(name, tree, text.splitlines() or [""])


def _of_stage(stage: str, script: _Source, updates: str) -> Iterator[Reading]:
    """Whether a script continues at a checkpoint's step with its optimizer; what it leaves after the last update."""
    loop = next((one for one in _nodes(script.tree, ast.For) if _runs_over(one, updates)), None)
    if loop is None:
        return
    start = _range_of(loop.iter)
    assert start is not None
    from_zero = isinstance(start.args[0], ast.Constant) or len(start.args) == 1
    restores = any(
        _called(call) in ("load_state_dict", "set_optimizer_state_dict") and "optim" in ast.unparse(call)
        for call in _nodes(script.tree, ast.Call)
    )
    yield script.reading(f"resumes {stage}", not from_zero and restores, loop)
    end = loop.end_lineno or loop.lineno
    after = [call for call in _nodes(script.tree, ast.Call) if call.lineno > end]
    saves = next((call for call in after if SAVES.search(_called(call))), None)
    at_last = next(
        (one for one in _nodes(loop, ast.If) if f"{updates} - 1" in ast.unparse(one.test) and _has_call(one, SAVES)),
        None,
    )
    in_loop = next((call for call in _nodes(loop, ast.Call) if SAVES.search(_called(call))), None)
    shown: ast.AST = saves or at_last or in_loop or loop
    yield script.reading(f"saves_last_update {stage}", saves is not None or at_last is not None, shown)
    drawn_at_last = at_last if at_last is not None and _has_call(at_last, DRAWS) else None
    draws = next((call for call in after if DRAWS.search(_called(call))), drawn_at_last)
    yield script.reading(f"draws_last_update {stage}", draws is not None, draws or shown)


def _of_saving(sources: Sequence[_Source]) -> Iterator[Reading]:
    """Whether one rank alone writes a checkpoint: inside the function that saves, or at every call of it."""
    calls = [(one, call) for one in sources for call in _nodes(one.tree, ast.Call)]
    writes = [(one, call) for one, call in calls if ast.unparse(call).startswith("torch.save(state_dict")]
    saves = [(one, call) for one, call in calls if SAVES.search(_called(call))]
    if not writes or not saves:
        return
    unguarded = (
        []
        if _guarded(writes[0][0].tree, writes[0][1])
        else [(one, call) for one, call in saves if not _guarded(one.tree, call)]
    )
    source, node = unguarded[0] if unguarded else writes[0]
    yield source.reading("saves_on_one_rank", not unguarded, node)


def _of_distribution(sources: Sequence[_Source]) -> Iterator[Reading]:
    """Whether several workers may train on the CPU: no check refuses it."""
    for source in sources:
        for text in _nodes(source.tree, ast.Constant):
            if isinstance(text.value, str) and NEEDS_CUDA.search(text.value):
                yield source.reading("distributes_on_cpu", False, text)
                return
    if sources:
        yield Reading("distributes_on_cpu", True, sources[0].name, "no check of the device in its modules")


def _of_inference(sources: Sequence[_Source]) -> Iterator[Reading]:
    """Seed, clip, decoding steps, checkpoint folders, actions and the stated error of the inference script."""
    if not sources:
        return
    script = sources[0]
    steps = [(one, word) for one in sources for word in _keywords(one.tree, "num_steps")]
    yield from _read_key(sources, "seed", lambda node: isinstance(node, ast.Call) and "seed" in _called(node))
    yield from _read_key(sources, "sample_index", lambda node: True)
    for source, word in steps:
        yield source.reading("decode_steps", not isinstance(word.value, ast.Constant), word.value)
        break
    for function in _nodes(script.tree, ast.FunctionDef):
        tests = [ast.unparse(call.func) for call in _nodes(function, ast.Call)]
        if "missing" in function.name and {"os.path.isfile", "os.path.exists", "os.path.isdir"} & set(tests):
            shown = next(call for call in _nodes(function, ast.Call) if ast.unparse(call.func).startswith("os.path."))
            yield script.reading("takes_checkpoint_folders", "os.path.isfile" not in tests, shown)
            break
    for source in sources:
        for branch in _nodes(source.tree, ast.If):
            if ast.unparse(branch.test).endswith("use_gt_actions") and any(_nodes(branch, ast.Call)):
                random = [call for one in branch.body for call in _nodes(one, ast.Call) if "random" in _called(call)]
                yield source.reading("infers_actions", not random, random[0] if random else branch)
                break
    errors = [
        (source, text)
        for source in sources
        for text in _nodes(source.tree, ast.Constant)
        if isinstance(text.value, str) and "Mean Squared Error" in text.value
    ]
    if errors:
        apart = next(((source, text) for source, text in errors if "full_with_context" in str(text.value)), None)
        source, text = apart or errors[0]
        yield source.reading("states_generated_error", apart is not None, text)


def _of_architecture(sources: Iterable[_Source]) -> Iterator[Reading]:
    """Variations of the transformer: normalised queries and keys; experts, where the code has them."""
    wanted: dict[str, Callable[[ast.AST], bool]] = {
        "qk_norm": lambda node: isinstance(node, ast.Attribute) and node.attr == "q_norm",
        "mixture_of_experts": lambda node: isinstance(node, ast.ClassDef) and bool(EXPERTS.search(node.name)),
    }
    for name, matches in wanted.items():
        found = next(
            (
                (source, node)
                for source in sources
                if source.name.startswith("models/")
                for node in ast.walk(source.tree)
                if matches(node)
            ),
            None,
        )
        if found is not None:
            yield found[0].reading(name, True, found[1])


def _read_key(sources: Sequence[_Source], key: str, uses: Callable[[ast.AST], bool]) -> Iterator[Reading]:
    """Whether the inference reads ``args.<key>``; without it, the line that loads its settings shows that."""
    script = sources[0]
    for node in _nodes(script.tree, ast.Attribute):
        if node.attr == key and isinstance(node.value, ast.Name):
            yield script.reading(key, True, node)
            return
    main = next((one for one in _nodes(script.tree, ast.FunctionDef) if one.name == "main"), None)
    if main is not None and any(node.attr == "generation_steps" for node in _nodes(main, ast.Attribute)):
        yield script.reading(key, False, main)


def _runs_over(loop: ast.For, updates: str) -> bool:
    call = _range_of(loop.iter)
    return call is not None and bool(call.args) and updates in ast.unparse(call.args[-1])


def _range_of(node: ast.AST) -> ast.Call | None:
    """``range(a, b)``, also inside ``tqdm(…)``."""
    return next((call for call in _nodes(node, ast.Call) if _called(call) == "range"), None)


def _guarded(tree: ast.Module, call: ast.Call) -> bool:
    """Whether the call is under an ``if`` about the rank."""
    return any(
        ONE_RANK.search(ast.unparse(branch.test)) is not None
        and any(call is inner for one in branch.body for inner in ast.walk(one))
        for branch in _nodes(tree, ast.If)
    )


def _has_call(node: ast.AST, pattern: re.Pattern[str]) -> bool:
    return any(pattern.search(_called(call)) for call in _nodes(node, ast.Call))


def _keywords(tree: ast.AST, name: str) -> Iterator[ast.keyword]:
    return (word for call in _nodes(tree, ast.Call) for word in call.keywords if word.arg == name)


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _nodes(tree: ast.AST, kind: type[Node]) -> Iterator[Node]:
    return (node for node in ast.walk(tree) if isinstance(node, kind))
