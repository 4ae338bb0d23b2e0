"""Plain data of checkpoints: inert stand-ins for unknown classes, their conversion, and what may be saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from tinyworlds_gate.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor


class ForeignType(type):
    """The type of stand-in classes: it is named after the unknown class and a pickle cannot write to it."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise TypeError(f"the stand-in for {cls.__module__}.{cls.__qualname__} is read-only")


class Foreign(metaclass=ForeignType):
    """An object of an unknown class: it stores the data of the pickle and does nothing with it."""

    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    states: list[Any]
    appended: list[Any]
    entries: list[tuple[Any, Any]]

    def __new__(cls, *arguments: Any, **keywords: Any) -> Foreign:
        made = super().__new__(cls)
        made.arguments, made.keywords = arguments, keywords
        made.states, made.appended, made.entries = [], [], []
        return made

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        """Do nothing: ``__new__``, which a pickle may call alone, has stored the arguments."""

    def __setstate__(self, state: Any) -> None:
        self.states.append(state)

    def append(self, item: Any) -> None:
        self.appended.append(item)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.entries.append((key, value))

    def plain(self, convert: _Converter) -> Any:
        """Fields as a dictionary; else items; else the only argument (an enum member's value) or the arguments."""
        fields: dict[Any, Any] = dict(self.keywords)
        for state in self.states:
            for part in state if isinstance(state, tuple) else (state,):
                if isinstance(part, dict):
                    fields.update(part)
                elif part is not None:
                    fields["state"] = part
        fields.update(self.entries)
        if fields:
            return convert(fields)
        if self.appended:
            return convert(self.appended)
        if len(self.arguments) == 1:
            return convert(self.arguments[0])
        return convert(list(self.arguments)) if self.arguments else {}


def foreign_class(module: str, name: str) -> type[Foreign]:
    """A new stand-in class that carries the unknown class's name."""
    return cast("type[Foreign]", ForeignType(name, (Foreign,), {"__module__": module, "__qualname__": name}))


class Intermediate:
    """Base class of intermediate objects that builders make; ``plain()`` converts them at the end."""

    __slots__ = ()

    def plain(self) -> Any:
        raise TypeError(f"{type(self).__name__} is no data")


class _Converter:
    """Walks an unpickled object once; shared objects stay shared, an object that contains itself is refused."""

    def __init__(self) -> None:
        self._done: dict[int, Any] = {}
        self._alive: list[Any] = []  # an id is unique only while its object lives
        self._open: set[int] = set()

    def __call__(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float | str | bytes | complex):
            return value
        key = id(value)
        if key in self._done:
            return self._done[key]
        if key in self._open:
            raise ValueError("an object that contains itself")
        self._open.add(key)
        self._alive.append(value)
        self._done[key] = self._convert(value)
        self._open.discard(key)
        return self._done[key]

    def _convert(self, value: Any) -> Any:
        if isinstance(value, Foreign):
            return value.plain(self)
        if isinstance(value, ForeignType):
            return f"{value.__module__}.{value.__qualname__}"
        if isinstance(value, Intermediate):
            return value.plain()
        if isinstance(value, dict):
            return {self._key(key): self(item) for key, item in dict.items(value)}
        if isinstance(value, list):
            return [self(item) for item in value]
        if isinstance(value, tuple):
            return tuple(self(item) for item in value)
        if isinstance(value, set | frozenset):
            return {self._key(item) for item in value}
        return value

    def _key(self, key: Any) -> Any:
        converted = self(key)
        try:
            hash(converted)
        except TypeError:
            return str(converted)
        return converted


def to_plain(value: Any) -> Any:
    """``value`` with every stand-in replaced by dictionaries, lists and scalars; tensors and arrays stay as they are.

    Raises ValueError for an object that contains itself and TypeError for a name in place of data.
    """
    return _Converter()(value)


_SCALARS = (type(None), bool, int, float, str, bytes)


def require_plain(value: Any, where: str) -> None:
    """Require numbers, text, lists, mappings and tensors, which load without running code.

    Raises:
        CheckpointError: naming the place in ``value`` (``where`` is its own name) and the type found there.
    """
    import torch

    if type(value) in _SCALARS or isinstance(value, torch.Tensor):
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            if type(key) not in _SCALARS:
                raise CheckpointError(f"{where} has a key of type {type(key).__qualname__}; allowed: text and numbers")
            require_plain(item, f"{where}[{key!r}]")
    elif type(value) in (list, tuple, torch.Size):
        for index, item in enumerate(value):
            require_plain(item, f"{where}[{index}]")
    else:
        raise CheckpointError(
            f"{where} is a {type(value).__module__}.{type(value).__qualname__}; a checkpoint holds numbers, text, "
            "lists, mappings and tensors only, so that it loads without running code. Convert it (.item(), str(), "
            "from_numpy)"
        )


def on_cpu(value: Any) -> Any:
    """Plain data with its tensors on the CPU, each with its own bytes only, and its mappings as dictionaries."""
    import torch

    if isinstance(value, torch.Tensor):
        tensor = value.detach().cpu()
        return tensor if _is_whole(tensor) else tensor.clone()
    if isinstance(value, Mapping):
        return {key: on_cpu(item) for key, item in value.items()}
    if isinstance(value, list):
        return [on_cpu(item) for item in value]
    return tuple(on_cpu(item) for item in value) if isinstance(value, tuple) else value


def tensor_bytes(value: Any) -> int:
    """Return the bytes that the tensors take in a file, at least; a shared storage counts once."""
    shared: dict[tuple[str, int], int] = {}
    own = 0
    for tensor in _tensors(value):
        size = tensor.numel() * tensor.element_size()
        if _is_whole(tensor):
            shared[str(tensor.device), tensor.untyped_storage().data_ptr()] = size
        else:
            own += size
    return own + sum(shared.values())


def _tensors(value: Any) -> Iterator[Tensor]:
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(item)


def _is_whole(tensor: Tensor) -> bool:
    return tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
