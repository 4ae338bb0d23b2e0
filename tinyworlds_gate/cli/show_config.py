"""The command `tinyworlds-gate show-config [PART] [options]`: the resolved settings of a run and their sources (P1)."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from tinyworlds_gate.config.cli_options import OPTIONS
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.run.redact import redact_tree

DEFAULT_PROFILE = "smoke"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the filter and every option of the closed loop (docs/options.md)."""
    parser.add_argument("part", nargs="?", default="", help="only keys that contain this text, like learning_rate")
    parser.add_argument("--json", action="store_true", help="print key → value and source as JSON")
    parser.epilog = (
        "It also takes the options of the closed loop, as pytest does (docs/options.md); for example: "
        "tinyworlds-gate show-config --profile longrun --dynamics-init-learning-rate 0.0002 dynamics"
    )
    for option in OPTIONS:
        bare: dict[str, Any] = {} if option.bare is None else {"nargs": "?", "const": option.bare}
        parser.add_argument(
            option.flag,
            *option.aliases,
            dest=f"option_{option.name}",
            type=option.parse,
            default=None,
            metavar="VALUE",
            help=argparse.SUPPRESS,
            **bare,
        )


def run(args: argparse.Namespace) -> int:
    """Print the settings of a run with these options on this machine; return 0.

    Raises:
        ConfigError: a file, an option or a combination of options is wrong, or no key contains the filter's text.
    """
    from tinyworlds_gate.config.cli_rules import validate
    from tinyworlds_gate.loop.start import resolve_run

    explicit = {
        option.name: value for option in OPTIONS if (value := getattr(args, f"option_{option.name}")) is not None
    }
    if problems := validate(explicit):
        raise ConfigError("\n".join(problems))
    root = Path(explicit.get("project_root", ".")).resolve()
    settings, _ = resolve_run(explicit.get("profile", DEFAULT_PROFILE), explicit, root)
    table = {key: redact_tree(row) for key, row in settings.table().items() if args.part in key}
    if not table:
        raise ConfigError(
            f"no setting's name contains {args.part!r}; `tinyworlds-gate show-config` without it prints all of them"
        )
    print(json.dumps(table, indent=2) if args.json else as_text(table))
    if not args.json:
        for note in settings.notes:
            print(f"note: {note}")
    return 0


def as_text(table: dict[str, dict[str, Any]]) -> str:
    """Return a line per key: name, value, source. Values are padded to 16 characters at most."""
    rows = [(key, json.dumps(row["value"], ensure_ascii=False), row["source"]) for key, row in table.items()]
    keys, values = max(len(row[0]) for row in rows), min(16, max(len(row[1]) for row in rows))
    return "\n".join(f"{key:<{keys}}  {value:<{values}}  {source}" for key, value, source in rows)
