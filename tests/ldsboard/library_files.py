"""Write scores in exactly the form in which attribution libraries save them. torch is imported only by the forms that need it.

Legend: n training examples, N targets.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Write = Callable[[Path, NDArray[Any]], None]


def write_trak(path: Path, scores_nN: NDArray[Any]) -> None:
    """Write ``scores/NAME.mmap`` as traker 0.3.2 does: an .npy of float16 that is filled through a memory map."""
    made = np.lib.format.open_memmap(path, mode="w+", dtype="f2", shape=scores_nN.shape)
    made[:] = scores_nN
    made.flush()
    (path.parent / "experiments.json").write_text(json.dumps({"toy": {"num_targets": scores_nN.shape[1]}}))


def write_safetensors(path: Path, tensors: dict[str, NDArray[Any]], metadata: dict[str, str] | None = None) -> None:
    """Write a .safetensors file by hand; uint16 stands for the bits of bfloat16."""
    names = {"f2": "F16", "f4": "F32", "f8": "F64", "u2": "BF16", "i8": "I64"}
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    body = b""
    for name, values in tensors.items():
        data = np.ascontiguousarray(values).tobytes()
        kind = names[values.dtype.str[1:]]
        header[name] = {"dtype": kind, "shape": list(values.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def bfloat16_bits(values: NDArray[Any]) -> NDArray[np.uint16]:
    """Return the upper halves of float32 values, which are their bits in bfloat16 after rounding towards 0."""
    return (np.ascontiguousarray(values, "<f4").view("<u4") >> 16).astype("<u2")


def write_kronfluence(path: Path, scores_nN: NDArray[Any]) -> None:
    """Write ``pairwise_scores.safetensors`` as kronfluence 1.0.1 does: ``all_modules``, (query, train), and its settings."""
    settings = {"damping_factor": "1e-08", "compute_per_module_scores": "False", "data_partitions": "1"}
    write_safetensors(path, {"all_modules": scores_nN.T}, settings)


def modules_of(scores_nN: NDArray[Any], rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Return the scores of two modules, (query, train), whose sum is exactly `scores_nN`, float64."""
    part = np.round(rng.normal(size=scores_nN.T.shape) * 8) / 8
    return {"fc.0": part, "fc.2": scores_nN.T.astype("f8") - part}


def write_kronfluence_modules(path: Path, scores_nN: NDArray[Any]) -> None:
    """Write kronfluence's file of the setting ``compute_per_module_scores``: a tensor for each module."""
    write_safetensors(path, modules_of(scores_nN, np.random.default_rng(2)), {"compute_per_module_scores": "True"})


def write_kronfluence_partitions(folder: Path, scores_nN: NDArray[Any]) -> None:
    """Write kronfluence's files of two partitions of training examples and two of modules."""
    folder.mkdir()
    modules = list(modules_of(scores_nN, np.random.default_rng(2)).values())
    for i, columns in enumerate((slice(0, 11), slice(11, None))):
        for j, scores_Nn in enumerate(modules):
            name = f"pairwise_scores_data_partition{i}_module_partition{j}.safetensors"
            write_safetensors(folder / name, {"all_modules": scores_Nn[:, columns]})


def write_bergson(
    folder: Path,
    scores_nN: NDArray[Any],
    *,
    higher_is_better: bool | None = True,
    written_nN: NDArray[np.bool_] | None = None,
    dtype: str = "float32",
) -> None:
    """Write a folder as bergson 2.5.1 does: records of interleaved scores and flags, aligned to powers of 2."""
    n, N = scores_nN.shape
    size = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}[dtype]
    step = 1 << size.bit_length()
    layout: dict[str, Any] = {
        "names": [name for j in range(N) for name in (f"score_{j}", f"written_{j}")],
        "formats": [dtype, "bool"] * N,
        "offsets": [offset for j in range(N) for offset in (j * step, j * step + size)],
        "itemsize": -(-N * step // 8) * 8,
    }
    kept = "u2" if dtype == "bfloat16" else dtype
    records_n: Any = np.zeros(n, np.dtype({**layout, "formats": [kept, "bool"] * N}))  # type: ignore[call-overload]  # a dict
    for j in range(N):
        records_n[f"score_{j}"] = bfloat16_bits(scores_nN[:, j]) if dtype == "bfloat16" else scores_nN[:, j]
        records_n[f"written_{j}"] = True if written_nN is None else written_nN[:, j]
    folder.mkdir()
    records_n.tofile(folder / "scores.bin")
    about = {"attribute_tokens": False, "num_items": n, "num_rows": n, "num_scores": N, "dtype": layout}
    (folder / "info.json").write_text(json.dumps(about, indent=2))
    if higher_is_better is not None:
        (folder / "config.yaml").write_text(
            "steps:\n- score:\n    score_cfg:\n      query_path: runs/queries\n      modules: []\n      candidates:\n"
            f"        higher_is_better: null\n      higher_is_better: {str(higher_is_better).lower()}\n"
            "    index_cfg:\n      run_path: runs/score\n"
        )


def write_magic(folder: Path, scores_nN: NDArray[Any]) -> None:
    """Write a folder of bergson's magic, whose scores are low where an example helps."""
    write_bergson(folder, -scores_nN, higher_is_better=False)


def write_zarr_2(folder: Path, scores_nN: NDArray[Any], chunk: tuple[int, int] = (2, 11), **changes: Any) -> None:
    """Write a zarr array of version 2, (target, train), without compression."""
    folder.mkdir()
    about: dict[str, Any] = {
        "zarr_format": 2,
        "shape": list(scores_nN.T.shape),
        "chunks": list(chunk),
        "dtype": scores_nN.dtype.str,
        "compressor": None,
        "fill_value": 0.0,
        "order": "C",
        "filters": None,
    }
    (folder / ".zarray").write_text(json.dumps(about | changes))
    for index, values in chunks_of(scores_nN.T, chunk):
        order: Literal["C", "F"] = "F" if changes.get("order") == "F" else "C"
        (folder / ".".join(map(str, index))).write_bytes(values.tobytes(order))


def write_zarr_3(folder: Path, scores_nN: NDArray[Any], chunk: tuple[int, int] = (2, 11), **changes: Any) -> None:
    """Write a zarr array of version 3, (target, train), without compression."""
    folder.mkdir()
    about: dict[str, Any] = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(scores_nN.T.shape),
        "data_type": scores_nN.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
        "fill_value": 0.0,
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
    }
    (folder / "zarr.json").write_text(json.dumps(about | changes))
    for index, values in chunks_of(scores_nN.T, chunk):
        path = folder.joinpath("c", *map(str, index))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(values.tobytes())


def chunks_of(array: NDArray[Any], chunk: tuple[int, int]) -> list[tuple[tuple[int, ...], NDArray[Any]]]:
    """Return the index and the values of each chunk of an array; chunks at the edges are filled up with 9."""
    found: list[tuple[tuple[int, ...], NDArray[Any]]] = []
    for i, j in np.ndindex(-(-array.shape[0] // chunk[0]), -(-array.shape[1] // chunk[1])):
        part = array[i * chunk[0] : (i + 1) * chunk[0], j * chunk[1] : (j + 1) * chunk[1]]
        values = np.full(chunk, 9, array.dtype)
        values[: part.shape[0], : part.shape[1]] = part
        found.append(((i, j), values))
    return found


def saved_by_torch(path: Path, content: Any) -> None:
    """Write a file with ``torch.save``."""
    import torch  # noqa: PLC0415 -- optional

    torch.save(content, path)


def tensor(array: NDArray[Any]) -> Any:
    """Return an array as a torch tensor."""
    import torch  # noqa: PLC0415 -- optional

    return torch.from_numpy(np.ascontiguousarray(array))


def write_dattri(path: Path, scores_nN: NDArray[Any]) -> None:
    """Write a tensor, (train, target), as dattri 0.3.0 returns it."""
    saved_by_torch(path, tensor(scores_nN).requires_grad_())


def write_target_by_train(path: Path, scores_nN: NDArray[Any]) -> None:
    """Write a tensor, (target, train), as dattri's KNNShapley, captum, dualxda and pyinfluence return it."""
    saved_by_torch(path, tensor(scores_nN.T))


def write_batches(folder: Path, scores_nN: NDArray[Any]) -> None:
    """Write a folder of ``0.pt``, ``1.pt``, …, in each a tensor (targets of one batch, train), as quanda 0.5.0 does."""
    folder.mkdir()
    for number, batch in enumerate(tensor(scores_nN.T).split(1)):
        saved_by_torch(folder / f"{number}.pt", batch.clone())


def write_logix(path: Path, scores_nN: NDArray[Any]) -> None:
    """Write the dict that logix-ai 0.1.1 returns: ids of the sources and targets, and ``influence``, (target, train)."""
    n, N = scores_nN.shape
    ids = {"src_ids": [f"query {j}" for j in range(N)], "tgt_ids": [f"example {i}" for i in range(n)]}
    saved_by_torch(path, {**ids, "influence": tensor(scores_nN.T)})


def write_datamodels(path: Path, scores_nN: NDArray[Any]) -> None:
    """Write the dict of the regression of datamodels: ``weight`` (train, target), ``bias`` and ``lam``."""
    N = scores_nN.shape[1]
    saved_by_torch(path, {"weight": tensor(scores_nN), "bias": tensor(np.zeros(N)), "lam": tensor(np.full(N, 0.01))})


def write_lists(path: Path, scores_nN: NDArray[Any]) -> None:
    """Write nested lists of floats in JSON, (target, train)."""
    path.write_text(json.dumps(scores_nN.T.astype("f8").tolist()))


LIBRARIES: dict[str, tuple[str, Write]] = {
    "TRAK": ("scores/NAME.mmap", write_trak),
    "dattri": ("scores.pt", write_dattri),
    "dattri, KNNShapley": ("scores.pt", write_target_by_train),
    "kronfluence": ("pairwise_scores.safetensors", write_kronfluence),
    "kronfluence, scores per module": ("pairwise_scores.safetensors", write_kronfluence_modules),
    "kronfluence, partitions": ("scores_NAME", write_kronfluence_partitions),
    "bergson": ("scores", write_bergson),
    "bergson, magic": ("scores", write_magic),
    "captum": ("influence.pt", write_target_by_train),
    "quanda": ("cache", write_batches),
    "logix": ("influence.pt", write_logix),
    "datamodels": ("datamodels.pt", write_datamodels),
    "pyDVL": ("influences.zarr", write_zarr_2),
    "pyinfluence": ("influence.json", write_lists),
    "dualxda": ("attributions.pt", write_target_by_train),
}
"""The name of the file or folder that each library leaves, and the function that writes it."""
