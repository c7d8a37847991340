"""The choice of a route, and what is printed about the choice."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import ldsboard
from ldsboard.arrays.packed import PackedMasks
from ldsboard.core import kernel, products
from ldsboard.core.kernel import LIBRARY, ROUTE_VARIABLE, choose_route, load
from ldsboard.core.ranking import CompactRanking
from tests.ldsboard.kernel.routes import HERE, VARIANTS


@pytest.fixture
def no_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "LIBRARY", tmp_path / LIBRARY.name)


def test_the_fastest_available_route_is_chosen() -> None:
    route = choose_route()
    assert (route.name, route.forced) == (HERE[-1], False)


@pytest.mark.parametrize("route", HERE)
def test_variable_forces_each_route_and_config_shows_it(
    route: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(ROUTE_VARIABLE, route)
    assert choose_route()[::2] == (route, True)
    ldsboard.show_config()
    names = {"blas": "BLAS", "avx2": "the compiled kernel with AVX2", "avx512": "the compiled kernel with AVX-512"}
    name = names.get(route, "the compiled kernel")
    assert capsys.readouterr().out == f"ldsboard adds scores with {name}, because LDSBOARD_PRODUCT={route} is set.\n"


@pytest.mark.parametrize("value", ["AVX2", "kernel", " blas", "0"])
def test_unknown_route_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ROUTE_VARIABLE, value)
    with pytest.raises(ValueError, match=re.escape(f"expected auto, avx512, avx2, portable or blas, got {value!r}.")):
        ldsboard.GroundTruth(np.eye(2, dtype=bool), [[0.0], [1.0]])


@pytest.mark.usefixtures("no_kernel")
def test_without_a_kernel_blas_is_used_and_the_reason_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    ldsboard.show_config()
    assert capsys.readouterr().out == (
        "ldsboard adds scores with BLAS, because ldsboard was installed without a working C compiler.\n"
    )


@pytest.mark.usefixtures("no_kernel")
@pytest.mark.parametrize("route", ["avx512", "avx2", "portable"])
def test_forcing_a_missing_kernel_is_refused(route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ROUTE_VARIABLE, route)
    with pytest.raises(ValueError, match=rf"'{route}' is not available, because ldsboard was installed without"):
        choose_route()


def test_damaged_library_is_not_used(tmp_path: Path) -> None:
    damaged = tmp_path / LIBRARY.name
    damaged.write_bytes(b"\x7fELF")
    library, problem = load(damaged)
    assert library is None
    assert problem.startswith("the compiled kernel cannot be loaded (")


def test_library_of_another_source_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in kernel.SOURCES:
        (tmp_path / name).write_text("/* newer */")
    copies = [Path(shutil.copy(LIBRARY, tmp_path)) for _ in VARIANTS[:1]]
    monkeypatch.setattr(kernel, "FOLDER", tmp_path)
    for copy in copies:
        assert load(copy) == (None, "the compiled kernel is that of another version (install ldsboard again)")


def test_kernel_refuses_arrays_that_it_would_misread() -> None:
    words = np.zeros((1, 5), dtype=np.uint64)
    with pytest.raises(ValueError, match="2 words, got 1"):
        kernel.sums(words, np.zeros((65, 2)), variant="portable")
    with pytest.raises(TypeError, match="expected uint64 and float64, got uint64 and float32"):
        kernel.sums(np.zeros((1, 2), np.uint64), np.zeros((64, 2), np.float32), variant="portable")
    with pytest.raises(ValueError, match="C order"):
        kernel.sums(words, np.zeros((2, 64)).T, variant="portable")
    for variant in VARIANTS:
        assert not kernel.sums(words, np.ones((64, 2)), variant=variant).any()


@pytest.mark.usefixtures("no_kernel")
def test_kernel_that_is_missing_is_reported() -> None:
    with pytest.raises(ValueError, match="installed without a working C compiler"):
        kernel.sums(np.zeros((1, 5), dtype=np.uint64), np.zeros((64, 2)), variant="portable")
    margins = CompactRanking.of(np.array([[1.0, 2.0, 3.0]]))
    with pytest.raises(ValueError, match="installed without a working C compiler"):
        kernel.ranks(np.zeros((1, 3)), margins, 1.0, variant="portable")


@pytest.mark.parametrize("forced", [False, True])
def test_few_subsets_use_blas_unless_a_route_is_forced(forced: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def used(M: int) -> bool:
        product = products.Product(PackedMasks.of(np.ones((M, 9), dtype=bool)))
        is_used = getattr(product._sums, "func", None) is kernel.sums
        assert product.by_tiles == is_used
        return is_used

    if forced:
        monkeypatch.setenv(ROUTE_VARIABLE, HERE[-1])
    limit = products.MIN_KERNEL_SUBSETS
    assert [used(limit - 1), used(limit)] == [bool(VARIANTS) and forced, bool(VARIANTS)]
