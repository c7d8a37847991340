"""Read pickles of numbers, text, containers and NumPy arrays, without running anything that a pickle asks for.

A pickle can call any function that it names. This module looks every name up in a fixed table of its own harmless functions, the
stand-ins, and refuses a name that is not in the table. Stand-ins make only numbers, bytes, dicts, arrays and their types.
"""

from __future__ import annotations

import io
import pickle  # ArrayUnpickler restricts it
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

MAX_DEPTH = 32
"""Largest depth of nested containers. Deeper ones are refused, because a pickle can hold a list that contains itself."""

MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")


class ArrayPickleError(ValueError):
    """The error for a pickle that is damaged, or that holds something other than numbers, text, containers and arrays."""


def load_arrays(content: bytes, encoding: str = "ASCII") -> Any:
    """Return the content of a pickle; an array of objects becomes nested lists.

    Parameters
    ----------
    content
        The bytes of the pickle.
    encoding
        Encoding of the text in a pickle of Python 2. A pickle of Python 2 with arrays needs ``latin1``.

    Raises
    ------
    ArrayPickleError
        A ValueError: the pickle is damaged, is nested more deeply than `MAX_DEPTH`, has an array of an unsupported type, or names
        a function or class that no array needs.
    """
    return ArrayUnpickler(content, encoding).content()


class ArrayUnpickler(pickle.Unpickler):
    """Reads a pickle in the bytes `content`, see `load_arrays`, or at the position of a stream, which is then behind the pickle.

    Call the method `content` once, and not `load`, which leaves stand-ins in the place of arrays. The attribute `names` maps each
    allowed (module, name) to its stand-in; a subclass can add names.
    """

    def __init__(self, content: bytes | io.BytesIO, encoding: str = "ASCII") -> None:
        super().__init__(content if isinstance(content, io.BytesIO) else io.BytesIO(content), encoding=encoding)
        self.names: dict[tuple[str, str], StandIn | str] = {
            ("numpy", "ndarray"): "ndarray",
            ("numpy", "dtype"): StandIn(_type),
            ("_codecs", "encode"): StandIn(_bytes),
            ("__builtin__", "bytes"): StandIn(_no_bytes),
            ("collections", "OrderedDict"): StandIn(_mapping),
            **{(module, "_reconstruct"): StandIn(_array) for module in MULTIARRAY},
            **{(module, "scalar"): StandIn(_scalar) for module in MULTIARRAY},
            **{(module, "_frombuffer"): StandIn(_from_buffer) for module in NUMERIC},
        }

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a name, without an import; raise an ArrayPickleError if the name has none."""
        if (module, name) not in self.names:
            raise ArrayPickleError(f"it asks for {module[:60]}.{name[:60]}, which no array needs")
        return self.names[module, name]

    def content(self) -> Any:
        """Return the content of the pickle, with arrays in the place of their stand-ins; every error is an ArrayPickleError."""
        try:
            return _resolve(self.load(), 0)
        except ArrayPickleError:
            raise
        except Exception as error:  # a damaged pickle makes pickle raise nearly every kind of exception
            raise ArrayPickleError(f"it is damaged ({type(error).__name__}: {str(error)[:100]})") from error


class StandIn:
    """A function that takes the place of one that a pickle asks for; a pickle can call it, but cannot set its attributes."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        """Return what the function returns."""
        return self._function(*arguments)

    def __setstate__(self, _: object) -> None:
        """Refuse to set attributes. Without this method, a pickle could set attributes of a stand-in."""
        raise ArrayPickleError("it changes a function")


class _Type:
    """Stand-in for ``numpy.dtype``. With numpy's own ``__setstate__``, a pickle could declare any bytes to be objects."""

    __slots__ = ("dtype",)

    def __init__(self, code: str) -> None:
        dtype = np.dtype(str(code))
        if dtype.kind not in "biufOSU":
            raise ArrayPickleError(f"it has an array of type {str(dtype)[:60]}")
        self.dtype = dtype

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] == ">":
            self.dtype = self.dtype.newbyteorder(">")


class _Array:
    """Stand-in for ``numpy.ndarray``; `value` is the array, or the nested lists of an array of objects."""

    __slots__ = ("value",)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, is_fortran, content = state
        if isinstance(content, list):
            objects = np.empty(len(content), dtype=object)
            for position, value in enumerate(content):
                objects[position] = value
            self.value: Any = objects.reshape(shape).tolist()  # numpy lists objects with the last index fastest
        else:
            self.value = _numbers(kind, content).reshape(shape, order="F" if is_fortran else "C")


def _array(*_: object) -> _Array:
    return _Array()


def _type(code: str, *_: object) -> _Type:
    return _Type(code)


def _no_bytes() -> bytes:
    return b""


def _bytes(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ArrayPickleError(f"it encodes bytes as {encoding[:20]}")
    return text.encode(encoding)


def _mapping() -> dict[Any, Any]:
    return {}


def _scalar(kind: _Type, content: bytes | str) -> Any:
    return _numbers(kind, content)[0]


def _from_buffer(content: bytes | bytearray, kind: _Type, shape: tuple[int, ...], order: str) -> NDArray[Any]:
    return _numbers(kind, content).reshape(shape, order="F" if order == "F" else "C")


def _numbers(kind: _Type, content: bytes | bytearray | str) -> NDArray[Any]:
    if kind.dtype.kind == "O":
        raise ArrayPickleError("it declares bytes to be objects")
    # Python 2 pickled bytes as text.
    return np.frombuffer(content.encode("latin1") if isinstance(content, str) else content, kind.dtype)


def _resolve(content: Any, depth: int) -> Any:
    """Return `content` with arrays in the place of their stand-ins."""
    if depth > MAX_DEPTH:
        raise ArrayPickleError(f"its containers are nested more than {MAX_DEPTH} times")
    if isinstance(content, _Array):
        return _resolve(content.value, depth + 1)
    if isinstance(content, dict):
        return {key: _resolve(value, depth + 1) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(_resolve(value, depth + 1) for value in content)
    return content
