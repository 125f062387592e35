"""Painting by PyTorch and by onnxruntime, turn by turn: `python benchmarks/engines.py garden`. Milliseconds of processor time."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

import limner
from limner.cli.export import main as export

if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "garden"
    caption = sys.argv[2] if len(sys.argv) > 2 else "a red flower with five round petals"
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        if export([name, "--to", "onnx", "--out", str(file)]):
            sys.exit(1)
        models = {"PyTorch": limner.load(name), "onnxruntime": limner.load(file)}
        print("| pictures | PyTorch | onnxruntime | ratio |\n|---:|---:|---:|---:|")
        for n in (1, 2, 8, 64):
            taken: dict[str, list[float]] = {engine: [] for engine in models}
            for turn in range(12):
                for engine, model in models.items():
                    begin = time.process_time()
                    model.generate(caption, n=n, seed=turn)
                    taken[engine].append(1e3 * (time.process_time() - begin))
            torch_ms, onnx_ms = (statistics.median(times[2:]) for times in taken.values())
            print(f"| {n} | {torch_ms:.1f} | {onnx_ms:.1f} | {torch_ms / onnx_ms:.2f} |")
