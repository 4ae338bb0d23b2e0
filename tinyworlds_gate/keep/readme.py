"""The README of a kept run's folder (pure)."""

from __future__ import annotations

from urllib.parse import quote

from tinyworlds_gate.keep.collect import Collected
from tinyworlds_gate.keep.entry import NUMBERS, Entry
from tinyworlds_gate.keep.folder import MARKER
from tinyworlds_gate.reports.markdown import MISSING, code, escape, fence, number, short_hash
from tinyworlds_gate.run.formats import size_text

HEADINGS = {
    "strict_mse": "error of generated frames, strict: each step starts from the model's own output",
    "copy_last_mse": "error of copying the last true frame",
    "skill": "1 − error / error of copying",
    "skill_low": "its lower end, 95 % over episodes",
    "delta_psnr_db": "PSNR with the right actions − with random ones (dB)",
    "action_codes_used": "action codes in at least 2 % of the transitions",
    "action_nmi": "information of the codes about the displacements, 0 to 1",
    "tokenizer_recon_mse": "the tokenizer's own error",
    "reference_sharp_mse": "memory reference, sharp; no bound",
    "train_minutes": "minutes of training, all chunks",
    "gpus": "GPUs that trained",
}


def readme_text(entry: Entry, collected: Collected) -> str:
    """Return the README: run, command, verdict, numbers, files, and what is left out."""
    return "\n".join([*_head(entry), *_numbers(entry), *_files(collected), *_left_out(collected)]) + "\n"


def _head(entry: Entry) -> list[str]:
    machine, measured = entry["machine"], entry["measured_on"] or {}
    gpus = None if machine["gpus"] is None else ", ".join(map(str, machine["gpus"])) or "no GPU"
    state = {True: ", with changes that were not committed", False: ", tracked files as committed"}
    resumed = f", resumed {entry['resumed']} time(s)" if entry["resumed"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in (entry["versions"] or {}).items())
    weights = ", ".join(f"{stage} {code(str(digest)[:12])}" for stage, digest in (entry["checkpoints"] or {}).items())
    return [
        f"# Profile {escape(entry['profile'])}, seed {escape(entry['seed'])}",
        "",
        f"**Verdict: {escape(entry['verdict'])}** — {escape(entry['sentence'])}",
        "",
        escape(_judged(entry)),
        "",
        f"Run {code(entry['run'])}, begun {code(entry['timestamp'])} (that machine's time){resumed}, "
        f"status {escape(entry['status'])}. The command:",
        "",
        fence([str(entry["command"])]),
        "",
        f"- Measured on attempt {measured.get('attempt', MISSING)}, draw {measured.get('draw', MISSING)}: "
        f"{escape(measured.get('what'))}; {number(entry['clips'])} clips of {number(entry['episodes'])} episodes, "
        f"{number(entry['context'])} true and {number(entry['generation_steps'])} generated frames.",
        f"- Machine: {number(machine['cpus'])} CPUs, {number(machine['memory_gib'])} GiB, {escape(gpus)}.",
        f"- Code: commit {code(entry['commit'])}{state.get(entry['dirty'], '')}; {escape(versions or None)}.",
        f"- SHA-256 of the weights: {weights or MISSING}.",
        f"- SHA-256 of the frames: {short_hash(entry['dataset_sha256'])}; of the evaluation set: "
        f"{short_hash(entry['evaluation_sha256'])}; digest of the clips: {short_hash(entry['clip_digest'])}.",
        "",
    ]


def _judged(entry: Entry) -> str:
    """Whether the verdict is more than the journal's words, and whether these can have been edited."""
    judged = "The files of the run were judged again when it was kept." if entry["judged_again"] else None
    said = [judged, entry["unconfirmed"], entry["journal"] and entry["journal"]["note"]]
    return " ".join(one for one in said if one)


def _numbers(entry: Entry) -> list[str]:
    rows = [f"| {code(key)} | {escape(number(entry[key]))} | {escape(HEADINGS[key])} |" for key in NUMBERS]
    note = []
    if entry["chunks_of_unknown_time"]:
        note = ["", f"{entry['chunks_of_unknown_time']} chunk(s) ended unseen; their minutes are not in the sum."]
    return ["| number | value | what |", "| --- | --- | --- |", *rows, *note, ""]


def _files(collected: Collected) -> list[str]:
    rows = [
        f"| [{escape(one.file.name)}]({quote(one.file.name)}) | {escape(_with_note(one.what, one.file.note))} | "
        f"{code(one.source)} | {size_text(len(one.file.content))} |"
        for one in collected.kept
    ]
    note = (
        "As the run wrote them, except for the machine's names: the project's folder is `.`, any other folder of the "
        "machine `[outside]`, its name `[host]`. Links in the reports lead where the run had its files. "
        f"{code(MARKER)} has the SHA-256 of each file as it is here."
    )
    return ["## Files", "", note, "", "| file | what | in the project | size |", "| --- | --- | --- | --- |", *rows, ""]


def _with_note(what: str, note: str) -> str:
    return f"{what} ({note})" if note else what


def _left_out(collected: Collected) -> list[str]:
    if not collected.left_out:
        return ["Nothing is left out."]
    rows = [
        f"| {escape(one.what)} | {code(one.source)} | {MISSING if one.size is None else size_text(one.size)} | "
        f"{escape(one.reason)} |"
        for one in collected.left_out
    ]
    return ["## Left out", "", "| what | in the project | size | why |", "| --- | --- | --- | --- |", *rows]
