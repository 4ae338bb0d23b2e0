"""Give every rank but 0 a run folder of its own; Python imports this at its start, from the front of PYTHONPATH.

Some checkouts save on every rank to the same path, and the state of the other ranks is empty: the checkpoint of rank 0
would be overwritten (hazard 2). Only the checkpoint that rank 0 writes is used. An environment's own sitecustomize,
which this one hides, runs afterwards.
"""

import importlib.machinery
import importlib.util
import os
import sys

_root, _rank = os.environ.get("NG_RUN_ROOT_DIR"), os.environ.get("RANK", "0")
if _root and _rank.isdigit() and int(_rank) and "TINYWORLDS_GATE_RANK_FOLDER" not in os.environ:
    os.environ["NG_RUN_ROOT_DIR"] = os.path.join(_root, "other_ranks", f"rank{_rank}")
    os.environ["TINYWORLDS_GATE_RANK_FOLDER"] = _rank  # a child of this rank inherits the folder

_own = os.path.dirname(os.path.abspath(__file__))
_others = [_path for _path in sys.path if os.path.abspath(_path or os.curdir) != _own]
_spec = importlib.machinery.PathFinder.find_spec("sitecustomize", _others)
if _spec is not None and _spec.loader is not None:
    _spec.loader.exec_module(importlib.util.module_from_spec(_spec))
