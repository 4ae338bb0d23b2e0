"""Dotted keys, and what is wrong with a value, in a sentence. ``pytest tests/unit/config/test_yaml_io.py``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field, model_validator

from tinyworlds_gate.config.schema import Schema
from tinyworlds_gate.config.strict_yaml import LARGEST_BYTES
from tinyworlds_gate.config.yaml_io import (
    did_you_mean,
    field_paths,
    flatten,
    read_mapping,
    set_dotted,
    unflatten,
    validate_tree,
)
from tinyworlds_gate.errors import ConfigError


class Below(Schema):
    flag: bool = False
    size: Annotated[int, Field(ge=1)] = 1


class Whole(Schema):
    name: str
    below: Below = Below()
    many: list[int] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Whole:
        if self.name == "bad":
            raise ValueError("the name is bad")
        return self


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({}, "`name` is missing; add it."),
        ({"name": "bad"}, "the name is bad."),
        ({"name": "a", "nam": 1}, "unknown key `nam`. Did you mean `name`?"),
        ({"name": "a", "zzz": 1}, "unknown key `zzz`."),
        ({"name": "a", "below": {"siz": 1}}, "unknown key `below.siz`. Did you mean `below.size`?"),
        ({"name": "a", "below": {"size": 0}}, "`below.size` is 0; input should be greater than or equal to 1."),
        ({"name": "a", "below": {"flag": "yes"}}, "`below.flag` is 'yes'; write true or false."),
        ({"name": "a", "below": {"flag": "OFF"}}, "`below.flag` is 'OFF'; write true or false."),
        ({"name": "a", "below": {"flag": "maybe"}}, "`below.flag` is 'maybe'; input should be a valid boolean."),
        ({"name": "a", "below": {"size": "on"}}, "`below.size` is 'on'; input should be a valid integer."),
        ({"name": "a", "many": [1, "b"]}, "`many.1` is 'b'; input should be a valid integer."),
        ({"name": "a", "many": dict.fromkeys("abcdefghijkl", 1)}, None),
        ({"name": 1, "below": {"size": 0}}, "`name` is 1; input should be a valid string. `below.size` is 0; input "
         "should be greater than or equal to 1."),
        ({"name": ["x"] * 11}, f"`name` is [{repr('x') + ', '}{', '.join([repr('x')] * 9)}, ...]; input should be a "
        f"valid "
         "string."),
        ({"name": 10**400}, None),
    ],
)  # fmt: skip
def test_every_problem_of_a_tree_is_named(tree: dict[str, Any], said: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        validate_tree(Whole, tree, "a.yaml")
    assert str(caught.value).startswith("a.yaml: `") or said is not None
    assert len(str(caught.value)) < 500
    if said is not None:
        assert str(caught.value) == f"a.yaml: {said}"


def test_a_valid_tree_is_the_frozen_object() -> None:
    assert validate_tree(Whole, {"name": "a", "below": {"size": 2}}, "x") == Whole(name="a", below=Below(size=2))
    assert field_paths(Whole) == ["name", "below.flag", "below.size", "many"]


@pytest.mark.parametrize(
    ("word", "nearest"),
    [("lea", "learning"), ("le", None), ("lerning", "learning"), ("b", None), ("batch", "batch_size"), ("xyz", None)],
)
def test_the_nearest_word_is_one_that_begins_so_or_is_similar(word: str, nearest: str | None) -> None:
    said = "" if nearest is None else f" Did you mean `{nearest}`?"
    assert did_you_mean(word, ["learning", "batch_size", "batch_sizes"]) == said


def test_dotted_keys_and_nested_mappings_are_the_same() -> None:
    tree: dict[str, Any] = {"a": {"b": 1, "c": {"d": None}}, "e": []}
    leaves: dict[str, Any] = {"a.b": 1, "a.c.d": None, "e": []}
    assert dict(flatten(tree)) == leaves
    assert unflatten(leaves) == tree
    assert dict(flatten({"a": {}}, "x.")) == {}
    set_dotted(tree, "e.f", 2)
    set_dotted(tree, "a.c.g", 3)
    assert tree == {"a": {"b": 1, "c": {"d": None, "g": 3}}, "e": {"f": 2}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"x" * (LARGEST_BYTES + 1), "cannot be read (it has 262,145 bytes; at most 262,144 are allowed). Make it a "),
        (b"a: 1\nb: \xff", "cannot be read (line 2 is not UTF-8: it has the byte 0xff). Make it a readable text file."),
        (b"a: [", "is not valid YAML: line 1, column 5: while parsing a flow node, expected the node content, but"),
        (b"[]", "contains a list; it must contain `key: value` lines."),
        (b"0", "contains a int; it must contain `key: value` lines."),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_mapping(path)
    assert str(caught.value).startswith(f"The settings file {path} {said}")


def test_a_folder_is_no_file_and_the_largest_one_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read \(it is no regular file\)"):
        read_mapping(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be read \(Not a directory\)"):
        read_mapping(tmp_path / "file" / "a.yaml")
    with pytest.raises(ConfigError, match="does not exist"):
        read_mapping(tmp_path / "none.yaml")
    (tmp_path / "large.yaml").write_bytes(b"\xef\xbb\xbfa: 1 #".ljust(LARGEST_BYTES, b"x"))
    assert read_mapping(tmp_path / "large.yaml") == {"a": 1}
