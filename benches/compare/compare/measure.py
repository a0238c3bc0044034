"""Time, CPU, memory and the page cache."""

from __future__ import annotations

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def pin(threads: int) -> None:
    """Binds this process, and those that it starts, to as many cores as it may have threads."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:threads])


def cpu_seconds(pids: list[int]) -> float:
    """What the processes have used, of all their threads."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def peak_bytes(pids: list[int]) -> int:
    """The sum of the processes' peaks of resident memory since the last reset."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                total += int(line.split()[1]) * 1024
    return total


def reset_peak(pids: list[int]) -> None:
    """Begins a new peak, where the kernel allows it; else the peak is that of the process."""
    for pid in pids:
        try:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        except OSError:
            return


def drop_page_cache(folder: Path) -> str:
    """Makes the next read of the folder's files cold, and says how well that went."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
        return "page cache dropped"
    except OSError:
        pass
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        try:
            file = os.open(path, os.O_RDONLY)
        except OSError:
            continue  # merged away meanwhile
        try:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)
    return "files evicted from the page cache"
