"""Recognise errors which mean that memory ran out while a group of models trained, and choose a smaller group."""

from __future__ import annotations

MESSAGES = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
"""Texts by which error messages of torch, CUDA, cuBLAS and cuDNN are recognised; most of the errors are plain RuntimeErrors."""


class OutOfMemory(RuntimeError):  # noqa: N818  # like MemoryError and torch.OutOfMemoryError, without the suffix Error
    """The models of a group need more memory than the device has.

    Attributes
    ----------
    group
        Number of models that trained at once (K).
    smaller_group
        The group size to try next; None if even one model needs too much memory.
    """

    def __init__(self, group: int, reason: str) -> None:
        self.group = group
        self.smaller_group = next_smaller_group(group)
        together = "One model alone needs" if self.smaller_group is None else f"{group} models at once (K) need"
        super().__init__(f"{together} more memory than is available: {reason}.")

    @property
    def advice(self) -> str:
        """Text for the user of the command line: what to do after memory ran out."""
        if self.smaller_group is None:
            return "Use fewer --processes, or a machine or device with more memory."
        return (
            f"Either restart with --group {self.smaller_group} in another folder, because the shards in this folder were trained "
            f"with {self.group} models at once, and another number gives other bytes. Or continue in this folder with fewer "
            "--processes, or on a device with more memory."
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(message in str(error) for message in MESSAGES)
    )


def next_smaller_group(group: int) -> int | None:
    """Return the largest divisor of the group size K that is at most K / 2, or None for K = 1.

    Since the new size divides K, a shard that holds whole groups of K models also holds whole groups of the new size.
    """
    return next((fewer for fewer in range(group // 2, 0, -1) if group % fewer == 0), None)
