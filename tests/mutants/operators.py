"""Mutation operators: a selection of cosmic-ray's, and three of our own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import parso
from cosmic_ray.operators.exception_replacer import ExceptionReplacer
from cosmic_ray.operators.operator import Example, Operator
from cosmic_ray.operators.provider import OperatorProvider

SELECTION = (
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt", "Eq_NotEq", "NotEq_Eq")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Is_IsNot", "IsNot_Is")),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "Pow_Mul")),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("FloorDiv_Mul", "Mod_FloorDiv", "BitOr_BitAnd", "BitAnd_BitOr")),
    *(f"ReplaceUnaryOperator_Delete_{name}" for name in ("USub", "Invert", "Not")),
    "AddNot",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "ReplaceAndWithOr",
    "ReplaceOrWithAnd",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "NumberReplacer",
    "ZeroIterationForLoop",
)


class DropStatement(Operator):
    """Replaces a call whose result nobody uses, or an augmented assignment, with ``pass``."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        if node.parent is not None and node.parent.type in ("simple_stmt", "file_input") and _has_effect(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        return parso.parse("pass")

    @classmethod
    def examples(cls) -> Sequence[Example]:
        return (Example("os.fsync(fd)", "pass"), Example("count += 1", "pass"))


class DropOperand(Operator):
    """Removes one operand of ``and`` or ``or``."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        if node.type in ("and_test", "or_test"):
            yield from ((operand.start_pos, operand.end_pos) for operand in node.children[::2])

    def mutate(self, node: Any, index: int) -> Any:
        at = 2 * index
        del node.children[max(at - 1, 0) : max(at - 1, 0) + 2]
        return node

    @classmethod
    def examples(cls) -> Sequence[Example]:
        return (Example("a and b", "b"), Example("a and b", "a", occurrence=1))


class ReplaceException(ExceptionReplacer):
    """cosmic-ray's, which breaks off at a dotted name in brackets: ``except (json.JSONDecodeError, OSError)``."""

    def mutate(self, node: Any, index: int) -> Any:
        leaves = list(_leaves(self._name_nodes(node)[index]))
        for leaf, text in zip(leaves, ["CosmicRayTestingException", *[""] * len(leaves)], strict=False):
            leaf.value = text
        return node

    @staticmethod
    def _name_nodes(node: Any) -> Sequence[Any]:
        caught = node.children[1]
        inside = caught.children[1] if caught.type == "atom" else caught
        return inside.children[::2] if inside.type == "testlist_comp" else (inside,)

    @classmethod
    def examples(cls) -> Sequence[Example]:
        before, after = "try: pass\nexcept (a.B, C): pass", "try: pass\nexcept ({}): pass"
        new = "CosmicRayTestingException"
        return Example(before, after.format(f"{new}, C")), Example(before, after.format(f"a.B, {new}"), occurrence=1)


def _leaves(node: Any) -> Iterator[Any]:
    for child in getattr(node, "children", ()):
        yield from _leaves(child)
    if not hasattr(node, "children"):
        yield node


def _has_effect(node: Any) -> bool:
    if node.type == "expr_stmt":
        return bool(node.children[1].type == "operator" and node.children[1].value not in ("=", ":="))
    call = node.children[-1] if node.type == "await_expr" else node
    if call.type not in ("atom_expr", "power"):
        return False
    last = call.children[-1]
    return bool(last.type == "trailer" and last.children[0].value == "(")


def operators() -> dict[str, Operator]:
    """Return the operators of the mutation run by name."""
    provider = OperatorProvider()
    chosen = {name: provider[name]() for name in SELECTION}
    return chosen | {own.__name__: own() for own in (DropStatement, DropOperand, ReplaceException)}
