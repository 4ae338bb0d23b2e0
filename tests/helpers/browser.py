"""Open a page in a headless Chromium at a chosen width and measure it."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.required_tools import without

PROBE = """
<pre id="measured"></pre><script>
const frame = document.getElementById("page");
frame.addEventListener("load", () => {
  const page = frame.contentDocument;
  const images = [...page.images].map(image => [image.naturalWidth, image.naturalHeight, image.clientWidth]);
  document.getElementById("measured").textContent = JSON.stringify({
    images, text: page.body.innerText, scroll_width: page.documentElement.scrollWidth,
    tops: Object.fromEntries([".banner", "#results-table", "#environment"].map(
      name => [name, page.querySelector(name)?.getBoundingClientRect().top ?? null]))});
});
</script>
"""


def find_chromium() -> str:
    """Return the path of Chromium; without one the test is skipped, or fails under CI=true."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    without("chromium", "no chromium on this machine")


def measure_page(page: str, width_px: int, folder: Path) -> dict[str, Any]:
    """Load an HTML document in a frame of `width_px` and return its images, text, scroll width and console messages,
    and at which height the banner, the table of tests and the environment begin (`tops`, px, None where absent).

    Images are [natural width, natural height, shown width] in px.
    """
    browser = find_chromium()
    outer = folder / f"outer_{width_px}.html"
    frame = f'<iframe id="page" width="{width_px}" height="900" style="border:0" srcdoc="{html.escape(page)}"></iframe>'
    script, rest = PROBE.split("<script>")[1], PROBE.split("<script>")[0]
    body = f"{rest}{frame}<script>{script}"
    outer.write_text(f"<!doctype html><meta charset='utf-8'><body>{body}</body>", encoding="utf-8")
    switches = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
    done = subprocess.run(
        [
            browser,
            *(f"--{name}" for name in switches.split()),
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            f"--user-data-dir={folder / f'profile_{width_px}'}",
            "--window-size=1400,1000",
            "--virtual-time-budget=10000",
            "--dump-dom",
            outer.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    found = re.search(r'<pre id="measured">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    if not (found and found[1]):
        pytest.fail(f"the browser measured nothing (exit {done.returncode}): {done.stderr[-800:]}")
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    measured: dict[str, Any] = json.loads(html.unescape(found[1]))
    return {**measured, "console": console}
