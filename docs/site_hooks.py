"""Hooks of mkdocs: the site also has the repository's own pages, and links between the two places work in both.

make docs
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel
from pygments.formatters import HtmlFormatter

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "CODE_OF_CONDUCT.md")
WORKFLOWS = (str(path.relative_to(ROOT)) for path in ROOT.glob(".github/workflows/*.yml"))
FILES = ("LICENSE", "CITATION.cff", "action.yml", *WORKFLOWS)
LINK = re.compile(r"(\]\(|^\[[^\]]+\]: )(?![a-z]+:|#)([^)#\s]+)", re.MULTILINE)


class Kept(File):
    """A report of a kept run: shown as the run wrote it, since its links lead to files of that run's machine."""

    def is_documentation_page(self) -> bool:
        return False


def on_files(files: Files, config: Any) -> Files:
    for name in (*PAGES, *FILES):
        place = File.generated(
            config, f"repository/{name}", abs_src_path=str(ROOT / name), inclusion=InclusionLevel.INCLUDED
        )
        files.append(place)
    for file in list(files.documentation_pages()):
        if "/reports/" in file.src_uri:
            files.remove(file)
            kept = Kept(file.src_uri, config.docs_dir, config.site_dir, config.use_directory_urls)
            kept.inclusion = InclusionLevel.INCLUDED
            files.append(kept)
    style = HtmlFormatter(style="default").get_style_defs(".highlight")
    files.append(File.generated(config, "site.css", content=f"{style}\n{CSS}", inclusion=InclusionLevel.INCLUDED))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links between docs/ and the repository's root, as the site has them."""
    place = page.file.src_uri
    source = place.removeprefix("repository/") if place.startswith("repository/") else f"docs/{place}"

    def moved(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), found[2]))
        here = target.removeprefix("docs/") if target.startswith("docs/") else f"repository/{target}"
        return found[1] + posixpath.relpath(here, posixpath.dirname(place) or ".")

    return LINK.sub(moved, markdown)


CSS = """
.wy-nav-content { max-width: 1000px; }
.wy-table-responsive table td, .wy-table-responsive table th { white-space: normal; }
.rst-content code { color: #333; }
.rst-content .highlight pre, .rst-content pre code { border: 0; }
.rst-content .highlight { padding: 0; }
"""
