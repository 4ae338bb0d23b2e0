"""What long rollouts show, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOST_RANGES = 4
"""Ranges of steps that a sentence names; the record has all."""


def sentences(record: Mapping[str, Any]) -> list[str]:
    """Return a few sentences on the record of `measure_world`: horizon, objects, drift, walk."""
    error, objects = record["error"], record["objects"]
    steps = len(error["by_step"])
    found = [
        f"Error: {horizon_text(record['horizon'])} At step {steps} its error is {error['by_step'][-1]:.4f}; the "
        f"strongest prediction without a model there ({error['strongest'][-1]}) has "
        f"{error['strongest_by_step'][-1]:.4f}."
    ]
    if objects["no_occasion"]:
        found.append(f"Objects: not judged, because {objects['no_occasion']}.")
    else:
        last = max(at for at, value in enumerate(objects["recall"]["by_step"]) if value is not None)
        recall, reference = (objects["recall"][key][last] for key in ("by_step", "reference_by_step"))
        found.append(
            f"Objects: {horizon_text(objects['horizon'])} At step {last + 1} it finds {100 * recall:.0f} % of the "
            f"small moving objects; {objects['recall']['reference'][last]} finds {100 * (reference or 0):.0f} %."
        )
    found.append(_drift_text(record["drift"], steps))
    if "walk" in record:
        found.append(walk_text(record["walk"]))
    return found


def horizon_text(horizon: Mapping[str, Any]) -> str:
    """Return the usable horizon as a sentence."""
    steps, step = horizon["steps"], horizon["step"]
    between = ""
    if horizon["interval"] is not None:
        low, high = (_step_text(one, steps) for one in horizon["interval"])
        between = f" (95 % interval: {low} to {high})" if low != high else f" (95 % interval: {low})"
    if step is None:
        return f"the model beats the best prediction without a model at every step up to {steps}{between}."
    again = [f"{low} to {high}" if low < high else str(low) for low, high in horizon["better_at_steps"]]
    if len(again) > MOST_RANGES:
        again = [*again[: MOST_RANGES - 1], "some later ones"]
    better = f"; it is better at {'step' if _single(horizon) else 'steps'} {_listed(again)}" if again else ""
    return (
        f"usable horizon {step}, the first step at which the model is no better than the best prediction without one"
        f"{between}{better}."
    )


def walk_text(walk: Mapping[str, Any]) -> str:
    """Return what the walk and its inverse show."""
    if walk["not_run"]:
        return f"Walk and back: not run, because {walk['not_run']}."
    came = {
        True: "The picture comes back",
        False: "The picture does not come back",
        None: f"Too few walks to judge ({walk['walks']} in {walk['episodes']} episodes)",
    }[walk["comes_back"]]
    ratio = "no ratio, since the true picture comes back exactly" if walk["ratio"] is None else _ratio_text(walk)
    skill = "" if walk["turn_skill"] is None else f" At the turn the skill against standing still is {_skill(walk)}."
    floor = walk["tokenizer_end_mse"]
    tokens = "" if floor is None else f", of which the tokenizer alone leaves {floor:.4f}"
    return (
        f"Walk and back ({walk['steps']} x {walk['there']}, {walk['steps']} x {walk['back']}, {walk['walks']} of "
        f"{walk['tried']} walks): {came}. The difference at the end is {walk['end_mse']:.4f} in the model{tokens}, and "
        f"{walk['true_end_mse']:.4f} in the true game ({ratio}; at most {walk['target']:g}).{skill}"
    )


def _ratio_text(walk: Mapping[str, Any]) -> str:
    ends = walk["ratio_interval"]
    interval = "" if ends is None else f", 95 % interval {ends[0]:.2f} to {ends[1]:.2f}"
    return f"{walk['ratio']:.2f} times{interval}"


def _skill(walk: Mapping[str, Any]) -> str:
    ends = walk["turn_skill_interval"]
    return f"{walk['turn_skill']:.2f}" + ("" if ends is None else f" ({ends[0]:.2f} to {ends[1]:.2f})")


def _drift_text(drift: Mapping[str, Any], steps: int) -> str:
    colour = drift["colour_distance"]
    parts = []
    for key in ("sharpness", "motion"):
        first, last = (drift[key]["by_step"][at] for at in (0, -1))
        if first is not None and last is not None:
            parts.append(f"{key} {last:.2f} (step 1: {first:.2f})")
    ratios = f"{' and '.join(parts)} times that of the true frames; " if parts else ""
    return (
        f"Drift at step {steps}: {ratios}colours {colour['by_step'][-1]:.1f} levels from those of the true frames "
        f"(step 1: {colour['by_step'][0]:.1f}; the last context frame: {colour['copy_last_by_step'][-1]:.1f})."
    )


def _single(horizon: Mapping[str, Any]) -> bool:
    ranges = horizon["better_at_steps"]
    return len(ranges) == 1 and ranges[0][0] == ranges[0][1]


def _step_text(step: int | None, steps: int) -> str:
    return f"beyond {steps}" if step is None else str(step)


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
