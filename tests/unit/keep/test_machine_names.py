"""What a kept text must not say: the folders of a machine and its name.

python -m pytest tests/unit/keep/test_machine_names.py
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest

from tinyworlds_gate.keep.machine_names import MachineNames, machine_names, plain_without_machine, without_machine

# In two parts: this file is looked at for paths of machines too (tests/unit/test_repository.py).
TMP, HOME, OPT = "/" + "tmp", "/" + "home", "/" + "opt"
ROOT = f"{HOME}/ann/games/my project"
NAMES = MachineNames(roots=(ROOT,))


def started(**fields: Any) -> dict[str, Any]:
    return {"seq": 0, "time": 0.0, "event": "run_started", "project_root": ROOT, **fields}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"frames {ROOT}/data/frames.h5.", "frames ./data/frames.h5."),
        (f"the folder {ROOT}.", "the folder .."),
        (f"data={ROOT}/x:{ROOT}/y", "data=./x:./y"),
        (f'"-I{ROOT}/src"', '"-I./src"'),
        (f"file://{ROOT}/page.html", "file://./page.html"),
        (f'href="{ROOT.replace(" ", "%20")}/page.html"', 'href="./page.html"'),
        (f"{ROOT}-old/x", "[outside]/my project-old/x"),
        (f"python {OPT}/conda/bin/python -u", "python [outside]/python -u"),
        (f'"{TMP}/a/b.h5", ({TMP}/c.csv)', '"[outside]/b.h5", ([outside]/c.csv)'),
        (f"my home is {HOME}/ann", "my home is [outside]"),
        (f"\\n{OPT}/lib/torch/x.py:12: warning", "\\n[outside]/x.py:12: warning"),
        (f"\x1b[31m{OPT}/lib/x.py\x1b[0m", "\x1b[31m[outside]/x.py\x1b[0m"),
    ],
)
def test_a_path_of_the_machine_becomes_one_of_the_project_or_its_last_part(text: str, kept: str) -> None:
    assert without_machine(text, NAMES) == kept
    assert without_machine(kept, NAMES) == kept


@pytest.mark.parametrize(
    "text",
    [
        "135 updates/s and 3/4 of data/frames.h5",
        "https://example.org/home/index.html",
        "results/run/journal.jsonl, ../shared/eval/clips.h5",
        "/usr/bin/env, /dev/shm/x, /proc/self/stat",
        "text.replace(/bar/gm, '')",
        "<td>1</td> </data>",
        "",
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert without_machine(text, NAMES) == text


def test_a_path_with_quotes_and_marks_is_found_as_json_html_and_markdown_write_it() -> None:
    root = f'{HOME}/ann/a "b" & [c]'
    names = machine_names([started(project_root=root)])
    told = json.dumps({"x": f"{root}/data.h5"}) + f" {root.replace('&', '&amp;').replace(chr(34), '&quot;')}/y"
    assert without_machine(told, names) == '{"x": "./data.h5"} ./y'


def test_pictures_that_are_embedded_in_a_page_stay_to_the_byte() -> None:
    picture = f'<img src="data:image/png;base64,AAAA+{TMP}/abc/def=">'
    assert without_machine(f"{picture} {TMP}/abc/def", NAMES) == f"{picture} [outside]/def"


def test_top_folders_that_the_journal_names_are_known() -> None:
    events = [started(), {"event": "dataset_ready", "path": "/disk7/games/frames.h5", "seq": 1, "time": 0.0}]
    names = machine_names(events)
    assert (
        without_machine("read /disk7/other/clips.h5 and /usr/lib/x", names) == "read [outside]/clips.h5 and /usr/lib/x"
    )


def test_every_place_where_a_resumed_run_lay_is_known_and_the_present_one() -> None:
    events = [started(), started(project_root="/a/b", seq=1)]
    assert machine_names(events, ["/a/b/c"]).roots == (ROOT, "/a/b/c", "/a/b")


def test_a_host_is_found_by_the_hash_that_the_journal_has() -> None:
    hashed = sha256(b"node-7").hexdigest()[:12]
    names = machine_names([started(machine={"hostname_hash": hashed})])
    text = "rank 0 on node-7.cluster (node-7:1234); node-77 is another\\nnode-7"
    assert without_machine(text, names) == "rank 0 on [host].cluster ([host]:1234); node-77 is another\\n[host]"


def test_hosts_of_other_nodes_are_known_by_their_names() -> None:
    nodes = [{"node": 1, "host": "trainer"}, {"node": 2, "host": "localhost"}, {"node": 3, "host": "seed"}]
    names = machine_names([started(seed=3), {"event": "chunk_finished", "seq": 1, "time": 0.0, "nodes": nodes}])
    assert names.hosts == {"trainer"}, "a word of the journal itself is no name"
    assert plain_without_machine({"host": "trainer", "a": ["on trainer", 3, None]}, names) == {
        "host": "[host]",
        "a": ["on [host]", 3, None],
    }
