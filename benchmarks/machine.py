"""What the figures of a benchmark depend on; used by the benchmarks beside it."""

import platform
import re
from pathlib import Path


def processor() -> str:
    """Name this machine's processor."""
    listed = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", listed.read_text(), re.M) if listed.is_file() else None
    return found[1] if found else platform.processor() or platform.machine()
