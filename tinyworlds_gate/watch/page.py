"""Render a view as the live page (rich); readable from 60 columns, without colour, and in ASCII."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tinyworlds_gate.run.formats import rounded_duration
from tinyworlds_gate.watch.channels import Channel
from tinyworlds_gate.watch.curve import BARS, BARS_ASCII, is_logarithmic, resample, sparkline
from tinyworlds_gate.watch.view import ChunkLine, GpuRow, StageLine, View, WorkerRow

NARROW = 76
"""Below this many terminal columns, the least important table columns are omitted."""
ROOMY = 40
"""From this many rows, the page has blank lines, rules and the newest events."""
WIDEST = 100
"""Maximum columns of the progress bar and the loss curve."""
STALE = "STALE"


@dataclass(frozen=True)
class Signs:
    """The characters of the page."""

    done: str
    now: str
    later: str
    none: str
    full: str
    empty: str
    bars: str
    cut: Literal["ellipsis", "crop"]
    """How rich cuts text that does not fit; its ellipsis character is not ASCII."""


UNICODE = Signs("✓", "▶", "·", "–", "━", "─", BARS, "ellipsis")
ASCII = Signs("+", ">", ".", "-", "#", "-", BARS_ASCII, "crop")


def page(view: View, width: int, height: int | None = None, *, ascii_only: bool = False) -> RenderableType:
    """Return the whole page for a terminal of ``width`` columns, the most important parts first.

    24 rows (``height``; None: unlimited) fit everything but the newest events.
    """
    signs = ASCII if ascii_only else UNICODE
    roomy = height is None or height >= ROOMY
    parts = [part for one in _parts(view, width, signs, roomy) for part in ((Text(), one) if roomy else (one,))]
    return Group(*parts[1 if roomy else 0 :])


def _parts(view: View, width: int, signs: Signs, roomy: bool) -> Iterator[RenderableType]:
    yield _head(view)
    yield _stages(view.stages, signs)
    if view.chunk is not None:
        yield _chunk(view.chunk, width, signs)
    if view.losses.curve:
        yield _loss(view, width, signs)
    if view.channels:
        yield _channels(view.channels, signs, roomy)
    if view.verdicts:
        yield _verdicts(view.verdicts, signs, roomy)
    if view.gpus:
        yield _gpus(view.gpus, width, signs, roomy)
    if view.workers and (roomy or not view.gpus):
        yield _workers(view.workers, signs, roomy)
    if view.recent_events and roomy:
        yield _recent_events(view)
    if view.page is not None:
        yield Text(f"page: {view.page}")


def _head(view: View) -> Group:
    parts = [view.run]
    if view.profile is not None:
        parts.append(f"profile {view.profile}")
    if view.age_s is not None:
        parts.append(f"{rounded_duration(view.age_s)} since its start")
    head = Text(", ".join(parts), style="dim")
    head.append(f"   {time.strftime('%H:%M:%S', time.localtime(view.now))}")
    headline = Text(view.headline[:1].upper() + view.headline[1:], style="bold")
    return Group(head, headline, *(Text(f"! {alert.text}", style="bold red") for alert in view.alerts))


def _stages(stages: tuple[StageLine, ...], signs: Signs) -> Table:
    table = Table.grid(padding=(0, 2))
    for stage in stages:
        sign = {"done": signs.done, "now": signs.now, "later": signs.later}[stage.when]
        of = "?" if stage.target is None else str(stage.target)
        style = "bold" if stage.when == "now" else "dim" if stage.when == "later" else ""
        table.add_row(sign, stage.stage, f"{stage.done} of {of} updates", stage.verdict or "", style=style)
    return table


def _chunk(chunk: ChunkLine, width: int, signs: Signs) -> Group:
    title = f"chunk {chunk.number} ({chunk.reason}): update {chunk.done} of {chunk.end}"
    if chunk.updates_per_s is None or chunk.eta_chunk_s is None or chunk.eta_stage_s is None:
        lines = [Text(f"{title}, no rate now")]
    else:
        chunk_left, stage_left = rounded_duration(chunk.eta_chunk_s), rounded_duration(chunk.eta_stage_s)
        left = f"chunk {chunk_left}, stage {stage_left} (to update {chunk.target})"
        lines = [Text(f"{title}, {chunk.updates_per_s:.3g} updates/s"), Text(f"left at this rate: {left}")]
    room = max(10, min(width, WIDEST) - 7)
    share = min(1.0, max(0.0, (chunk.done - chunk.start) / max(1, chunk.end - chunk.start)))
    full = int(share * room)
    bar = Text(no_wrap=True)
    bar.append(signs.full * full, style="green")
    bar.append(signs.empty * (room - full), style="dim")
    bar.append(f" {100 * share:3.0f} %")
    return Group(*lines, bar)


def _loss(view: View, width: int, signs: Signs) -> Group:
    losses = view.losses
    values = resample(losses.curve, max(10, min(width, WIDEST)))
    newest = signs.none if losses.last_loss is None else f"{losses.last_loss:.4g}"
    lowest = signs.none if losses.lowest is None else f"{losses.lowest:.4g}"
    title = f"{view.loss_of}: loss {newest} at update {(losses.last_step or 0) + 1}, lowest {lowest}"
    if losses.curve[0].first > 0:
        title += f"; drawn from update {losses.curve[0].first + 1} on"
    if is_logarithmic(values):
        title += "; logarithmic"
    return Group(Text(title), Text(sparkline(values, signs.bars), style="cyan", no_wrap=True))


def _table(roomy: bool, *columns: str, numbers: tuple[str, ...] = ()) -> Table:
    style = box.SIMPLE_HEAD if roomy else None
    table = Table(box=style, padding=(0, 1 if roomy else 2, 0, 0), pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", no_wrap=column in numbers)
    return table


def _channels(channels: tuple[Channel, ...], signs: Signs, roomy: bool) -> Table:
    table = _table(roomy, "channel", "last", "usually every", "", "newest", numbers=("last", "usually every"))
    table.columns[0].no_wrap = True
    for channel in channels:
        table.add_row(
            channel.name,
            signs.none if channel.age_s is None else f"{rounded_duration(channel.age_s)} ago",
            signs.none if channel.interval_s is None else rounded_duration(channel.interval_s),
            Text(STALE, style="bold red") if channel.problem else "",
            Text(channel.newest or "", no_wrap=True, overflow=signs.cut),
        )
    return table


def _verdicts(lines: tuple[str, ...], signs: Signs, roomy: bool) -> Group:
    """Render the last verdicts; one row each on a small terminal."""
    texts = [Text(line) if roomy else Text(line, no_wrap=True, overflow=signs.cut) for line in lines]
    return Group(*([Text("last verdicts", style="dim")] if roomy else []), *texts)


def _gpus(gpus: tuple[GpuRow, ...], width: int, signs: Signs, roomy: bool) -> Table:
    names = width >= NARROW
    table = _table(roomy, "GPU", *(["name"] if names else []), "busy", "memory", "ours", numbers=("busy", "memory"))
    for gpu in gpus:
        busy = signs.none if gpu.util_pct is None else f"{gpu.util_pct:.0f} %"
        used = signs.none if gpu.memory_used_gib is None else f"{gpu.memory_used_gib:.1f}"
        of = "" if gpu.memory_gib is None else f" of {gpu.memory_gib:.0f}"
        table.add_row(
            str(gpu.index), *([Text(gpu.name)] if names else []), busy, f"{used}{of} GiB", gpu.workers or signs.none
        )
    return table


def _workers(workers: tuple[WorkerRow, ...], signs: Signs, roomy: bool) -> Table:
    table = _table(roomy, "worker", "PID", "on", "updates", "CPU", "beat", numbers=("PID", "updates", "CPU", "beat"))
    for worker in workers:
        cpu = signs.none if worker.cpu is None else f"{100 * worker.cpu:.0f} %"
        device = Text("CPU" if worker.device == "cpu" else worker.device[:12])
        table.add_row(
            f"rank {worker.rank}",
            str(worker.pid),
            device,
            str(worker.updates),
            cpu,
            f"{rounded_duration(worker.age_s)} ago",
        )
    return table


def _recent_events(view: View) -> Table:
    """Render the recent events, newest first."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, style="dim")
    table.add_column()
    for moment, text in reversed(view.recent_events):
        table.add_row(time.strftime("%H:%M:%S", time.localtime(moment)), Text(text))
    return table
