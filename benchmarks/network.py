"""The network alone: every engine and precision beside what others run, in one run.

    python benchmarks/network.py [--model u2net] [--weights FILE] [--rounds 15] [--cpu-time]

Each contender is a process of its own, so that none gains or loses by the settings, the memory or
the threads of another. Interleaved: a round runs each contender once, so that a busy machine
slows all of them alike. Prints the median of each, and how many times faster than torch as
published and than ONNX Runtime (what rembg runs) it is: the median of the rounds' ratios.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Batch = NDArray[np.float32]
Run = Callable[[Batch], Batch]

TORCH, ONNX_RUNTIME = "torch, as published", "ONNX Runtime"
ENGINES = [
    ("torch", "fp32"),
    ("torch", "bf16"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
]


@dataclass(frozen=True)
class Setting:
    """What all contenders run."""

    weights: Path
    size: int
    threads: int
    cpu_time: bool

    @property
    def batch(self) -> Batch:
        noise = np.random.default_rng(0).normal(size=(1, 3, self.size, self.size))
        return noise.astype(np.float32)


def published(setting: Setting) -> Run:
    import torch

    from u2cut.weights.load import load_network

    network = load_network(setting.weights)

    @torch.inference_mode()
    def run(batch: Batch) -> Batch:
        return network(torch.from_numpy(batch))[0].sigmoid()[:, 0].numpy()

    return run


def onnx_runtime(setting: Setting) -> Run:
    import onnxruntime

    from u2cut.engines.torch_engine import FusedNetwork
    from u2cut.export.onnx_graph import onnx_model
    from u2cut.weights.load import load_network

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = setting.threads
    model = onnx_model(FusedNetwork(load_network(setting.weights))).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, {"photo": batch})[0][:, 0]


def preprocess(name: str, setting: Setting) -> Run:
    if name == TORCH:
        return published(setting)
    if name == ONNX_RUNTIME:
        return onnx_runtime(setting)
    from u2cut.engines.base import open_engine

    engine, precision = name.split()[1:]
    opened = open_engine(
        setting.weights, engine=engine, device="cpu", precision=precision, size=setting.size
    )
    return opened.predict


def contend(name: str, setting: Setting, line: Connection) -> None:
    """Run the network whenever something comes down the line; answer with seconds and the map."""
    from u2cut.errors import DeviceError

    try:
        run = preprocess(name, setting)
    except DeviceError as e:
        line.send(str(e))
        return
    if "openvino" not in name:
        import torch

        torch.set_num_threads(setting.threads)
    clock = time.process_time if setting.cpu_time else time.perf_counter
    batch = setting.batch
    run(batch)
    line.send(None)
    while line.recv():
        time.sleep(0.3)  # until the threads of the one before no longer spin
        run(batch)  # warms up
        start = clock()
        found = run(batch)
        line.send((clock() - start, found))


def start(name: str, setting: Setting) -> Connection | None:
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    context.Process(target=contend, args=(name, setting, theirs), daemon=True).start()
    if (fault := ours.recv()) is not None:
        print(f"left out: {name}: {fault}")
        return None
    return ours


def report(seconds: dict[str, list[float]], maps: dict[str, Batch]) -> None:
    print("| | ms | × torch | × ONNX Runtime | max difference |\n|---|---:|---:|---:|---:|")
    for name, own in seconds.items():
        ratios = [np.median(np.divide(seconds[other], own)) for other in (TORCH, ONNX_RUNTIME)]
        difference = np.abs(maps[name] - maps[TORCH]).max()
        print(
            f"| {name} | {1000 * np.median(own):.0f} | {ratios[0]:.2f} | {ratios[1]:.2f} "
            f"| {difference:.1g} |"
        )


def write_random(model: str, path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from u2cut.model import VARIANTS, U2Net

    torch.manual_seed(0)
    save_file(U2Net(VARIANTS[model]).state_dict(), path)


def compare(setting: Setting, rounds: int) -> None:
    names = [TORCH, ONNX_RUNTIME, *(f"u2cut, {engine} {kind}" for engine, kind in ENGINES)]
    lines = {name: line for name in names if (line := start(name, setting)) is not None}
    seconds: dict[str, list[float]] = {name: [] for name in lines}
    maps = {}
    for _ in range(rounds):
        for name, line in lines.items():
            line.send(True)
            taken, maps[name] = line.recv()
            seconds[name].append(taken)
    for line in lines.values():
        line.send(False)
    report(seconds, maps)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=("u2net", "u2netp"), default="u2net")
    parser.add_argument("--weights", type=Path, help="instead of random ones")
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--calibrate", action="store_true", help="int8 on noise: for its speed")
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="count the CPU's time, not the clock's: for a machine busy with other work; pin the "
        "run to one core then (taskset -c 0)",
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        weights = options.weights or Path(folder) / "random.safetensors"
        if options.weights is None:
            write_random(options.model, weights)
        setting = Setting(weights, options.size, options.threads, options.cpu_time)
        if options.calibrate:
            from u2cut.engines.openvino_engine import calibrate

            calibrate(weights, setting.batch, size=options.size)
        compare(setting, options.rounds)


if __name__ == "__main__":
    main()
