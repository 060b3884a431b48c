"""Code in a process of its own, whose time and memory are no others'; used by the benchmarks beside it."""

import json
import os
import subprocess
import sys


def run(code: str, *arguments: str, python: str = sys.executable) -> dict:
    """Run code on one core, and give what it printed last."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [python, "-c", code, *arguments]
    found = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return json.loads(found.stdout.splitlines()[-1])
