"""The machine: what a number was measured on, and whether its memory has run out."""

import os
import platform

import torch


def machine(device: torch.device) -> dict[str, str | int]:
    """What the numbers were measured on."""
    facts: dict[str, str | int] = {
        "processor": _processor(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": str(device),
    }
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error says so, of a GPU's memory or the machine's, for which PyTorch has no class of its own."""
    said = ("out of memory", "allocate memory", "not enough memory", "alloc_failed")
    by_torch = isinstance(error, RuntimeError) and any(part in str(error).lower() for part in said)
    return by_torch or isinstance(error, MemoryError)


def memory_reason(error: BaseException) -> str:
    """What such an error says, in a line."""
    return f"out of memory: {str(error).partition(chr(10))[0]}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
