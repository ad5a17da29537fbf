"""The network alone: every engine and precision beside what others run, in one run.

    python benchmarks/network.py [--model u2net] [--weights FILE] [--rounds 15] [--cpu-time]

Interleaved: a round runs each contender once, so that a busy machine slows all of them alike.
Prints the median of each, and how many times faster than torch as published and than ONNX Runtime
(what rembg runs) it is: the median of the rounds' ratios.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from u2cut.engines.base import open_engine
from u2cut.engines.onnx_graph import onnx_model
from u2cut.engines.torch import FusedNetwork
from u2cut.errors import DeviceError
from u2cut.model import VARIANTS, U2Net
from u2cut.weights.load import load_network

Batch = NDArray[np.float32]
Contender = Callable[[Batch], Batch]


def published(weights: Path) -> Contender:
    network = load_network(weights)

    @torch.inference_mode()
    def run(batch: Batch) -> Batch:
        return network(torch.from_numpy(batch))[0].sigmoid()[:, 0].numpy()

    return run


def onnx_runtime(weights: Path, threads: int) -> Contender:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    model = onnx_model(FusedNetwork(load_network(weights))).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, {"photo": batch})[0][:, 0]


def contenders(weights: Path, size: int, threads: int) -> dict[str, Contender]:
    found = {
        "torch, as published": published(weights),
        "ONNX Runtime": onnx_runtime(weights, threads),
    }
    for engine, precision in (
        ("torch", "fp32"),
        ("torch", "bf16"),
        ("openvino", "fp32"),
        ("openvino", "bf16"),
        ("openvino", "int8"),
    ):
        try:
            opened = open_engine(
                weights, engine=engine, device="cpu", precision=precision, size=size
            )
        except DeviceError as e:
            print(f"left out: {engine} {precision}: {e}")
            continue
        found[f"u2cut, {engine} {precision}"] = opened.predict
    return found


def measure(
    found: dict[str, Contender], batch: Batch, rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(rounds):
        for name, run in found.items():
            run(batch)  # warms up, and outlasts the threads that the one before left spinning
            start = clock()
            run(batch)
            seconds[name].append(clock() - start)
    return seconds


def report(seconds: dict[str, list[float]], found: dict[str, Contender], batch: Batch) -> None:
    expected = found["torch, as published"](batch)
    columns = ("torch, as published", "ONNX Runtime")
    print("| | ms | × torch | × ONNX Runtime | max difference |\n|---|---:|---:|---:|---:|")
    for name, own in seconds.items():
        ratios = [np.median(np.divide(seconds[other], own)) for other in columns]
        difference = np.abs(found[name](batch) - expected).max()
        print(
            f"| {name} | {1000 * np.median(own):.0f} | {ratios[0]:.2f} | {ratios[1]:.2f} "
            f"| {difference:.1g} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=sorted(VARIANTS), default="u2net")
    parser.add_argument("--weights", type=Path, help="instead of random ones")
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--calibrate", action="store_true", help="int8 on noise: for its speed")
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="count the CPU's time, not the clock's: for a machine busy with other work; pin the "
        "run to one core then (taskset -c 0)",
    )
    options = parser.parse_args()
    clock = time.process_time if options.cpu_time else time.perf_counter
    torch.set_num_threads(options.threads)
    batch = np.random.default_rng(0).normal(size=(1, 3, options.size, options.size))
    batch = batch.astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        weights = options.weights
        if weights is None:
            weights = Path(folder) / "random.safetensors"
            torch.manual_seed(0)
            save_file(U2Net(VARIANTS[options.model]).state_dict(), weights)
        if options.calibrate:
            from u2cut.engines.openvino import calibrate

            calibrate(weights, batch, size=options.size)
        found = contenders(weights, options.size, options.threads)
        report(measure(found, batch, options.rounds, clock), found, batch)


if __name__ == "__main__":
    main()
