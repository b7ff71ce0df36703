"""Time to import one model, against `import torch` alone; each in a fresh interpreter, nine times in
turn."""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

from benchmarks.peers import machine
from benchmarks.usage import command_line


def seconds_to_run(statement: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


def main() -> None:
    command_line(__doc__, "imports").parse_args()
    model, torch = "from mg9.d_cgcnn import CGCNN", "import torch"
    pairs = [(seconds_to_run(model), seconds_to_run(torch)) for _ in range(10)][
        1:
    ]  # the first warms the disk
    ours, theirs = (median(times) for times in zip(*pairs, strict=True))
    print(machine())
    print(f"{model}  {ours:.2f} s")
    print(f"{torch}                   {theirs:.2f} s")
    print(f"ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    main()
