"""Reading pickles of numbers and arrays without running what they ask for."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard.formats.array_pickles import ArrayPickleError, load_arrays

if TYPE_CHECKING:
    from pathlib import Path

rng = np.random.default_rng(0)
ARRAYS = [
    rng.normal(size=(3, 4)),
    rng.normal(size=(3, 4)).astype(">f4"),
    np.asfortranarray(rng.normal(size=(3, 4)).astype(np.float16)),
    np.arange(6, dtype=np.int64)[::2],
    rng.random((2, 3)) < 0.5,
    np.zeros((0, 3)),
    np.array(["a", "bc"]),
]


@pytest.mark.parametrize("protocol", range(2, 6))
def test_load_arrays_returns_arrays_of_every_protocol(protocol: int) -> None:
    for array in ARRAYS:
        found = load_arrays(pickle.dumps(array, protocol))
        assert found.tolist() == array.tolist()
        assert (found.shape, found.dtype) == (array.shape, array.dtype)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_load_arrays_returns_containers_and_lists_of_objects(protocol: int) -> None:
    ragged = np.array([np.array([1, 2]), np.array([3])], dtype=object)
    content = OrderedDict(ragged=ragged, pair=(np.ones(2), [np.float32(3)]), text="a", none=None, raw=b"\xff")
    found = load_arrays(pickle.dumps(content, protocol))
    assert [row.tolist() for row in found["ragged"]] == [[1, 2], [3]]
    assert isinstance(found["pair"], tuple)
    assert (found["pair"][0].tolist(), found["pair"][1]) == ([1, 1], [3])
    assert (found["text"], found["none"], found["raw"]) == ("a", None, b"\xff")


def test_load_arrays_returns_arrays_of_objects_as_nested_lists() -> None:
    whole = np.empty((), dtype=object)
    whole[()] = {"margins": np.ones((2, 1))}  # as numpy.save saves a dict
    assert load_arrays(pickle.dumps(whole))["margins"].tolist() == [[1], [1]]
    for order in ("C", "F"):
        table = np.array([[1, None], [[2], "a"], [3, (4,)]], dtype=object, order=order)
        assert load_arrays(pickle.dumps(table)) == [[1, None], [[2], "a"], [3, (4,)]]


def test_load_arrays_reads_bytes_of_python_2_as_latin1() -> None:
    array = np.array([0, 255, 128], dtype=np.uint8)
    dtype = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array_of_nothing = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
    content = b"\x80\x02" + array_of_nothing + b"(K\x01(K\x03t" + dtype + b"\x89U\x03\x00\xff\x80tb."
    assert load_arrays(content, encoding="latin1").tolist() == array.tolist()


class Trap:
    """An object whose pickle calls a function."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def test_load_arrays_runs_nothing(tmp_path: Path) -> None:
    for protocol in range(6):
        trap = pickle.dumps([Trap(open, (str(tmp_path / "sprung"), "w"))], protocol)
        with pytest.raises(ArrayPickleError, match=r"asks for \w+\.open, which no array needs"):
            load_arrays(trap)
    assert not (tmp_path / "sprung").exists()


HEADER = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R"


def array_pickle(kind: bytes, state: bytes) -> bytes:
    """Return the pickle of an array of this type code, with the given opcodes in the place of its content."""
    return (
        HEADER
        + b"(K\x01K\x02\x85cnumpy\ndtype\n(X"
        + len(kind).to_bytes(4, "little")
        + kind
        + b"tR\x89"
        + state
        + b"tb."
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is damaged"),
        (b"\x80\x02", "is damaged"),
        (b"\x80\x04no pickle", "is damaged"),
        (array_pickle(b"f8", b"U\x08" + bytes(8)), "is damaged .ValueError"),
        (array_pickle(b"O8", b"U\x10" + bytes(16)), "declares bytes to be objects"),
        (array_pickle(b"c8", b"U\x10" + bytes(16)), "has an array of type complex64"),
        (array_pickle(b"f4,f4", b"U\x10" + bytes(16)), "has an array of type"),
        (b"\x80\x02(c_codecs\nencode\n(U\x01aU\x06utf-16tRt.", "encodes bytes as utf-16"),
        (b"\x80\x02]q\x00h\x00a.", "nested more than 32 times"),
        (b"\x80\x02cnumpy\ndtype\n}U\x01aK\x01sb.", "changes a function"),
    ],
)
def test_load_arrays_refuses_damaged_and_hostile_pickles(content: bytes, message: str) -> None:
    with pytest.raises(ArrayPickleError, match=message):
        load_arrays(content)


def test_pickles_cannot_change_how_later_pickles_are_read() -> None:
    """Opcode b sets attributes of the object on the stack from the second member of a pair."""
    for name in (b"numpy\ndtype", b"numpy.core.multiarray\n_reconstruct", b"_codecs\nencode"):
        with pytest.raises(ArrayPickleError):
            load_arrays(b"\x80\x02c" + name + b"\n(N}U\x0c__setstate__K\x01stb.")
    assert load_arrays(pickle.dumps(np.arange(3))).tolist() == [0, 1, 2]


def test_load_arrays_fails_in_one_way_on_any_damage() -> None:
    content = pickle.dumps([np.arange(3), np.float32(1), np.array([np.ones(2), None], dtype=object)], 2)
    for _ in range(2000):
        damaged = bytearray(content)
        damaged[rng.integers(len(damaged))] = rng.integers(256)
        with suppress(ArrayPickleError):
            load_arrays(bytes(damaged))
