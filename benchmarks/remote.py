"""What distance costs: the same photos from a folder, and from a store that answers late.

    python benchmarks/remote.py PHOTO [--count 100] [--latency 0.1] [--model u2netp]

The store is the one of the tests, on this machine; every request waits so many seconds first.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.remote.conftest import environment
from tests.remote.s3 import serving


def seconds(words: list[str], address: str) -> float:
    start = time.perf_counter()
    command = [sys.executable, "-m", "u2cut", "remove", *words, "--quiet"]
    subprocess.run(command, env=environment(address), check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("photo", type=Path)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--latency", type=float, default=0.1)
    parser.add_argument("--model", default="u2netp")
    options = parser.parse_args()
    data = options.photo.read_bytes()
    names = [f"{number:04}{options.photo.suffix}" for number in range(options.count)]
    with TemporaryDirectory() as folder, serving() as (store, address):
        (Path(folder) / "in").mkdir()
        for name in names:
            (Path(folder) / "in" / name).write_bytes(data)
            store.objects["shop", f"in/{name}"] = data
        store.latency = options.latency
        network = ["--model", options.model, "--overwrite"]
        here, there = os.path.join(folder, "in"), os.path.join(folder, "out")  # noqa: PTH118
        for _ in range(2):
            local = seconds([here, "-o", there, *network], address)
            remote = seconds(["s3://shop/in/", "-o", "s3://shop/out/", *network], address)
            print(f"local {local:.1f} s, remote {remote:.1f} s: {remote / local:.2f} x", flush=True)


if __name__ == "__main__":
    main()
