#!/usr/bin/env python3
"""The counterpart of `examples/stopwatch.rs` in PyTorch and transformers: measures a step for each line of standard input.

    python pytorch.py WORK MODEL [--threads N] [--fused] [--device cuda] [--precision tf32]
"""
import argparse
import json
import sys
import time

import torch
from transformers import AutoModelForSequenceClassification

# Optimizer steps per line.
STEPS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", choices=["train", "evaluate", "optimizer"])
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--fused", action="store_true", help="AdamW(fused=True) instead of foreach=True")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["fp32", "tf32", "bf16"], default="fp32",
                        help="fp32, matrix products in TF32, or autocast to bf16")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.backends.cuda.matmul.allow_tf32 = args.precision == "tf32"
    lower = torch.autocast(torch.device(args.device).type, torch.bfloat16, enabled=args.precision == "bf16")

    if args.device == "xla":
        import torch_xla
        import torch_xla.debug.metrics

    def compute_recorded():
        if args.device == "xla":
            torch_xla.sync()

    def now():
        if args.device == "xla":
            torch_xla.sync(wait=True)
        if args.device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter()

    def tensors(rows):
        return {name: torch.tensor(values, device=args.device) for name, values in rows.items()}

    model = AutoModelForSequenceClassification.from_pretrained(args.model, dtype=torch.float32, attn_implementation="sdpa")
    model.to(args.device)
    kind = dict(fused=True) if args.fused else dict(foreach=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, eps=1e-6, **kind)
    model.train()

    def gradients(batch):
        labels = batch.pop("labels")
        with lower:
            loss = torch.nn.functional.cross_entropy(model(**batch).logits, labels)
        optimizer.zero_grad()
        loss.backward()
        compute_recorded()
        return loss.item()

    loss = None
    for line in sys.stdin:
        rows = json.loads(line)
        start = now()
        if args.work == "train":
            loss = gradients(tensors(rows))
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            compute_recorded()
            float(norm)
            optimizer.step()
        elif args.work == "evaluate":
            model.eval()
            with torch.no_grad(), lower:
                batch = tensors(rows)
                labels = batch.pop("labels")
                loss = torch.nn.functional.cross_entropy(model(**batch).logits, labels)
                compute_recorded()
                loss = loss.item()
        else:
            if loss is None:
                loss = gradients(tensors(rows))
            start = now()
            for _ in range(STEPS):
                optimizer.step()
        seconds = now() - start
        print(seconds / STEPS if args.work == "optimizer" else seconds, loss, flush=True)
    if args.device == "xla":
        print(f"compiled {torch_xla.debug.metrics.metric_data('CompileTime')[0]} graphs", file=sys.stderr)


if __name__ == "__main__":
    main()
