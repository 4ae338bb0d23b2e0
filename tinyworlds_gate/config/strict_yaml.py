"""Read one small YAML document with the values of YAML 1.2; what YAML readers read differently is an error.

``1e-3`` is a number; ``8:00``, ``2025-01-01``, ``NO`` and ``on`` are texts. ``0120``, ``1_000``, ``0b1`` are refused.
Merge keys (``<<: *base``) work. Limits: 256 KiB, 32 levels, 10,000 values with those that aliases repeat.
"""

from __future__ import annotations

import math
import re
from typing import Any, ClassVar

import yaml

LARGEST_BYTES = 256 * 1024
DEEPEST = 32
MOST_VALUES = 10_000
MOST_DIGITS = 19
_TAG = "tag:yaml.org,2002:"
_AMBIGUOUS = "!ambiguous"
_RESOLVERS: tuple[tuple[str, str, str], ...] = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("merge", r"<<", "<"),
    ("int", r"0|[-+]?[1-9][0-9]*|[-+]0|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+", "-+.0123456789"),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
)
_OTHER_NUMBERS = r"[-+]?0[0-9_]+|[-+]?[0-9]+_[0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?|[-+]?0[bBxXoO][0-9a-fA-F_]+"


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]
    yaml_constructors: ClassVar[dict[str | None, Any]] = {}

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise _problem(f"it is nested deeper than the {DEEPEST} levels that are allowed", self.peek_event())
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def read(self) -> Any:
        node = self.get_single_node()
        if node is None:
            return None
        _count(node, {})
        return self.construct_document(node)


for _name, _pattern, _first in _RESOLVERS:
    _Loader.add_implicit_resolver(
        f"{_TAG}{_name}", re.compile(rf"(?:{_pattern})\Z"), [*_first, ""] if _name == "null" else list(_first)
    )
_Loader.add_implicit_resolver(_AMBIGUOUS, re.compile(rf"(?:{_OTHER_NUMBERS})\Z"), list("-+0123456789"))


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML document; None for an empty one.

    Raises:
        yaml.YAMLError: it is not valid YAML, beyond the limits, or holds a value that YAML readers read differently.
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > LARGEST_BYTES:
        raise yaml.YAMLError(f"it has {size:,} bytes; at most {LARGEST_BYTES:,} are allowed")
    try:
        return _Loader(text).read()
    except RecursionError:
        raise yaml.YAMLError(f"it is nested deeper than the {DEEPEST} levels that are allowed") from None


def problem_text(error: yaml.YAMLError) -> str:
    """Return in one sentence, without its full stop, what is wrong and where."""
    if isinstance(error, yaml.reader.ReaderError):
        return f"it has the control character U+{error.character:04X}"
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split())
    said = ", ".join(part for part in (error.context, error.problem) if part)
    mark = error.problem_mark or error.context_mark
    return said if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: {said}"


def _problem(said: str, at: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=said, problem_mark=at.start_mark)


def _count(node: yaml.Node, counted: dict[int, int]) -> int:
    """Return how many values a node has, each alias with all that it repeats (pure Python: no value is built)."""
    known = counted.get(id(node))
    if known == 0:
        raise _problem("an alias refers to the value that contains it", node)
    if known is not None:
        return known
    counted[id(node)] = 0
    total = 1
    children = node.value if isinstance(node, yaml.CollectionNode) else ()
    for child in children:
        total += sum(_count(one, counted) for one in (child if isinstance(child, tuple) else (child,)))
        if total > MOST_VALUES:
            raise _problem(f"it has more than the {MOST_VALUES:,} values that are allowed, with its aliases", node)
    counted[id(node)] = total
    return total


def _mapping(loader: _Loader, node: yaml.Node) -> dict[str, Any]:
    if not isinstance(node, yaml.MappingNode):
        raise _problem("a mapping was expected", node)
    own: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if key_node.tag == f"{_TAG}merge":
            parts = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
            for part in parts:
                if not isinstance(part, yaml.MappingNode):
                    raise _problem("the merge key `<<` needs a mapping or a list of mappings (`<<: *base`)", value_node)
                merged = {**loader.construct_object(part), **merged}
            continue
        key = loader.construct_object(key_node)
        if not isinstance(key, str):
            raise _problem(f"the key {key!r} is not a string; quote it", key_node)
        if key in own:
            raise _problem(f"the key {key!r} appears twice", key_node)
        own[key] = loader.construct_object(value_node)
    return {**{key: value for key, value in merged.items() if key not in own}, **own}


def _sequence(loader: _Loader, node: yaml.Node) -> list[Any]:
    if not isinstance(node, yaml.SequenceNode):
        raise _problem("a list was expected", node)
    return [loader.construct_object(one) for one in node.value]


def _plain(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise _problem("a plain value was expected", node)
    return str(node.value)


def _text(_: _Loader, node: yaml.Node) -> str:
    return _plain(node)


def _bool(_: _Loader, node: yaml.Node) -> bool:
    text = _plain(node)
    if text.lower() not in ("true", "false"):
        raise _problem(f"{text[:40]!r} is neither true nor false", node)
    return text.lower() == "true"


def _int(_: _Loader, node: yaml.Node) -> int:
    text = _plain(node)
    if not re.fullmatch(rf"[-+]?[0-9]{{1,{MOST_DIGITS}}}|0[xo][0-9a-fA-F]{{1,15}}", text):
        shown = text if len(text) <= 40 else f"{text[:20]}… ({len(text):,} characters)"
        raise _problem(f"{shown} is no whole number of at most {MOST_DIGITS} digits", node)
    try:
        return int(text, 0 if text[1:2] in ("x", "o") else 10)
    except ValueError:
        raise _problem(f"{text} is no whole number", node) from None


def _float(_: _Loader, node: yaml.Node) -> float:
    text = _plain(node)
    word = text.lower().lstrip("+-")
    try:
        value = float(word.replace(".inf", "inf").replace(".nan", "nan")) * (-1 if text.startswith("-") else 1)
    except ValueError:
        raise _problem(f"{text[:40]!r} is no number", node) from None
    if math.isinf(value) and word != ".inf":
        raise _problem(f"{text[:40]} is too large for a number", node)
    return value


def _null(_: _Loader, node: yaml.Node) -> None:
    _plain(node)


def _ambiguous(_: _Loader, node: yaml.Node) -> Any:
    text = _plain(node)
    shown = text if len(text) <= 40 else f"{text[:40]}…"
    plain = text.replace("_", "").lstrip("+-0")
    fix = f"write {plain[:MOST_DIGITS]} for the number, or " if plain.isdigit() and len(plain) <= MOST_DIGITS else ""
    raise _problem(
        f"{shown} is read differently by different YAML readers: {fix}quote it for the text ('{shown}')", node
    )


def _refuse(_: _Loader, node: yaml.Node) -> Any:
    raise _problem(f"the tag {node.tag.replace(_TAG, '!!')[:60]} is not allowed; use plain values", node)


for _name, _construct in (
    *(("map", _mapping), ("seq", _sequence), ("str", _text), ("bool", _bool), ("int", _int), ("float", _float)),
    *(("null", _null), ("merge", _text), ("value", _text)),
):
    _Loader.add_constructor(f"{_TAG}{_name}", _construct)
_Loader.add_constructor(_AMBIGUOUS, _ambiguous)
_Loader.add_constructor(None, _refuse)
