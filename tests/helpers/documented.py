"""The commands of docs/commands.md."""

from __future__ import annotations

import re

from tests.helpers.config_files import REPOSITORY


def documented_blocks() -> dict[str, str]:
    """Return name → shell text of each tagged block, in the order of the page."""
    text = (REPOSITORY / "docs" / "commands.md").read_text(encoding="utf-8")
    return dict(re.findall(r"<!-- command: ([\w-]+) -->\n```bash\n(.*?)```", text, flags=re.DOTALL))
