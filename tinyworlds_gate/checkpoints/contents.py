"""What a checkpoint may hold, numbers, text, lists, mappings and tensors, and how many bytes its tensors take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tinyworlds_gate.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_SCALARS = (type(None), bool, int, float, str, bytes)


def require_plain(value: Any, where: str) -> None:
    """Refuse anything that would need code to load; nothing is copied.

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
    """Bytes that the tensors of plain data take in a file, at least; a storage that several share counts once."""
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
