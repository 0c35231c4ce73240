#!/usr/bin/env python3
"""The twin of `stopwatch` (src/main.rs) in PyTorch and transformers: work for each line, seconds to standard output.

    python pytorch.py WORK MODEL [--threads N] [--fused]
"""
import argparse
import json
import sys
import time

import torch
from transformers import AlbertForSequenceClassification

# Steps of the optimizer a line.
STEPS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", choices=["train", "evaluate", "optimizer"])
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--fused", action="store_true", help="AdamW(fused=True) instead of foreach=True")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    model = AlbertForSequenceClassification.from_pretrained(args.model, dtype=torch.float32, attn_implementation="sdpa")
    kind = dict(fused=True) if args.fused else dict(foreach=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, eps=1e-6, **kind)
    model.train()

    def gradients(batch):
        labels = batch.pop("labels")
        loss = torch.nn.functional.cross_entropy(model(**batch).logits, labels)
        optimizer.zero_grad()
        loss.backward()
        return loss.item()

    loss = None
    for line in sys.stdin:
        rows = json.loads(line)
        start = time.perf_counter()
        if args.work == "train":
            loss = gradients({name: torch.tensor(values) for name, values in rows.items()})
            float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0))
            optimizer.step()
        elif args.work == "evaluate":
            model.eval()
            with torch.no_grad():
                batch = {name: torch.tensor(values) for name, values in rows.items()}
                labels = batch.pop("labels")
                loss = torch.nn.functional.cross_entropy(model(**batch).logits, labels).item()
        else:
            if loss is None:
                loss = gradients({name: torch.tensor(values) for name, values in rows.items()})
            start = time.perf_counter()
            for _ in range(STEPS):
                optimizer.step()
        seconds = time.perf_counter() - start
        print(seconds / STEPS if args.work == "optimizer" else seconds, loss, flush=True)


if __name__ == "__main__":
    main()
