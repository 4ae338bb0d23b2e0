"""Strict YAML settings: one mapping per file, no duplicate keys, ``1e-3`` is a number."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from tinyworlds_gate.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that also reads ``1e-3`` as a float (YAML 1.2) and rejects duplicate keys."""


# YAML 1.1 requires a dot in a float, so `learning_rate: 1e-3` would be read as a string.
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _construct_mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise yaml.MarkedYAMLError(problem=f"the key {key!r} is not a string", problem_mark=key_node.start_mark)
        if key in seen:
            raise yaml.MarkedYAMLError(problem=f"the key {key!r} appears twice", problem_mark=key_node.start_mark)
        seen[key] = loader.construct_object(value_node, deep=True)
    return seen


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)


def parse_value(text: str) -> Any:
    """Parse one YAML value: ``false`` → bool, ``3e-4`` → float, ``null`` → None, ``a b`` → str.

    Raises:
        yaml.YAMLError: the text is not valid YAML.
    """
    return yaml.load(text, Loader=_StrictLoader)


def read_mapping(path: Path) -> dict[str, Any]:
    """Read the mapping of a YAML file; an empty file is an empty mapping.

    Raises:
        ConfigError: the file is missing, unreadable, not YAML, or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"The settings file {path} does not exist. Create it or choose another folder.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The settings file {path} cannot be read ({error}). Make it a readable text file."
        ) from error
    try:
        value = parse_value(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"The settings file {path} is not valid YAML: {error}. Correct that line.") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(
            f"The settings file {path} contains a {type(value).__name__}; it must contain `key: value` lines."
        )
    return value


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a nested mapping as (dotted key, value), in order; empty mappings have none."""
    for key, value in tree.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flatten(value, f"{dotted}.")
        else:
            yield dotted, value


def set_dotted(tree: dict[str, Any], dotted: str, value: Any) -> None:
    """Set ``a.b.c`` in nested mappings; missing mappings are created, and plain values at their place replaced."""
    *parents, leaf = dotted.split(".")
    for parent in parents:
        below = tree.get(parent)
        if not isinstance(below, dict):
            below = tree[parent] = {}
        tree = below
    tree[leaf] = value


def unflatten(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted keys as nested mappings, the inverse of :func:`flatten`."""
    tree: dict[str, Any] = {}
    for key, value in leaves.items():
        set_dotted(tree, key, value)
    return tree


def field_paths(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Return every dotted key of a schema, with those of nested schemas."""
    paths: list[str] = []
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            paths += field_paths(annotation, f"{prefix}{name}.")
        else:
            paths.append(f"{prefix}{name}")
    return paths


def did_you_mean(word: str, known: list[str]) -> str:
    """Return `` Did you mean `x`?`` for the most similar known word; an empty string if none is similar."""
    begun = [name for name in known if len(word) >= 3 and name.startswith(word)]
    near = begun or get_close_matches(word, known, n=1, cutoff=0.6)
    return f" Did you mean `{near[0]}`?" if near else ""


def validate_tree(model: type[Model], tree: Mapping[str, Any], where: str) -> Model:
    """Validate nested mappings against a schema and return the frozen settings object.

    Raises:
        ConfigError: a key is unknown or missing, or a value is not allowed; the message lists all of them.
    """
    try:
        return model.model_validate(dict(tree))
    except ValidationError as error:
        known = field_paths(model)
        problems = []
        for item in error.errors():
            dotted = ".".join(str(part) for part in item["loc"])
            if item["type"] == "extra_forbidden":
                problems.append(f"unknown key `{dotted}`.{did_you_mean(dotted, known)}")
            elif item["type"] == "missing":
                problems.append(f"`{dotted}` is missing; add it.")
            elif not dotted:
                problems.append(f"{item['msg'].removeprefix('Value error, ')}.")
            else:
                message = item["msg"].removeprefix("Value error, ")
                problems.append(f"`{dotted}` is {item['input']!r}; {message[0].lower()}{message[1:]}.")
        raise ConfigError(f"{where}: " + " ".join(problems)) from None
