"""Settings files: one mapping per file, dotted keys, and their validation against a schema."""

from __future__ import annotations

import reprlib
import stat
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from tinyworlds_gate.config.strict_yaml import LARGEST_BYTES, parse_yaml, problem_text
from tinyworlds_gate.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 300
_SHORT.maxlist = _SHORT.maxdict = 10


def parse_value(text: str) -> Any:
    """Parse one YAML value: ``false`` → bool, ``3e-4`` → float, ``null`` → None, ``a b`` → str.

    Raises:
        yaml.YAMLError: the text is not valid YAML, or no value that all YAML readers read alike (`strict_yaml.py`).
    """
    return parse_yaml(text)


def read_mapping(path: Path) -> dict[str, Any]:
    """Read the mapping of a YAML file; an empty file is an empty mapping.

    Raises:
        ConfigError: the file is missing, unreadable, not YAML, or not a mapping.
    """
    try:
        value = parse_yaml(_text_of(path))
    except FileNotFoundError:
        raise ConfigError(f"The settings file {path} does not exist. Create it or choose another folder.") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"The settings file {path} cannot be read ({why}). Make it a readable text file.") from error
    except yaml.YAMLError as error:
        raise ConfigError(
            f"The settings file {path} is not valid YAML: {problem_text(error)}. Correct that line."
        ) from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(
            f"The settings file {path} contains a {type(value).__name__}; it must contain `key: value` lines."
        )
    return value


def _text_of(path: Path) -> str:
    """Return the text of a regular file in UTF-8; one that is too large is read up to a byte beyond the limit."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is no regular file")
    with path.open("rb") as file:
        data = file.read(LARGEST_BYTES + 1)
    if len(data) > LARGEST_BYTES:
        raise ValueError(f"it has {path.stat().st_size:,} bytes; at most {LARGEST_BYTES:,} are allowed")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not UTF-8: it has the byte 0x{data[error.start]:02x}") from None


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
                if item["type"] == "bool_type" and str(item["input"]).lower() in ("yes", "no", "on", "off"):
                    message = "Write true or false"
                problems.append(f"`{dotted}` is {_SHORT.repr(item['input'])}; {message[0].lower()}{message[1:]}.")
        raise ConfigError(f"{where}: " + " ".join(problems)) from None
