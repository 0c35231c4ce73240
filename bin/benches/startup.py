#!/usr/bin/env python3
"""Everything that `l2sp finetune` does up to the end of its first step, in PyTorch and transformers; then writes the file DONE.

    python startup.py MODEL DATA DONE
"""
import argparse
import pathlib

import torch
from transformers import AlbertForSequenceClassification

from compare import read, tokenizer_in


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "data", "done"):
        parser.add_argument(name, type=pathlib.Path)
    args = parser.parse_args()

    tokenizer = tokenizer_in(args.model)
    train, _validation = (read(args.data / name, tokenizer) for name in ("train.tsv", "dev.tsv"))
    model = AlbertForSequenceClassification.from_pretrained(args.model, dtype=torch.float32, attn_implementation="sdpa")
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, eps=1e-6)

    ids, types, label = train[0]
    model.train()
    logits = model(input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([types])).logits
    torch.nn.functional.cross_entropy(logits, torch.tensor([label])).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    args.done.touch()


if __name__ == "__main__":
    main()
