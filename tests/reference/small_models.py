#!/usr/bin/env python3
"""Write small untrained BERT, RoBERTa and XLM-RoBERTa folders whose tokenizers are trained on a data set's sentences.

    python small_models.py --data train.tsv --out FOLDER

OUT/TYPE gets config.json, model.safetensors (an encoder without a head) and tokenizer.json, of the kind that each type
has on the hub: WordPiece, byte-level BPE, Unigram.
"""
import argparse
import pathlib

import torch
from tokenizers import ByteLevelBPETokenizer, BertWordPieceTokenizer, SentencePieceUnigramTokenizer
from tokenizers.processors import RobertaProcessing, TemplateProcessing
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel, XLMRobertaConfig, XLMRobertaModel

from rte import read_tsv

VOCABULARY = 2000
ROBERTA_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
SIZES = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, initializer_range=0.2)


def word_piece(sentences: list[str]):
    tokenizer = BertWordPieceTokenizer(lowercase=True)
    tokenizer.train_from_iterator(sentences, vocab_size=VOCABULARY, show_progress=False)
    cls, sep = (tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", cls), ("[SEP]", sep)])
    return tokenizer


def byte_level(sentences: list[str]):
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(sentences, vocab_size=VOCABULARY, special_tokens=ROBERTA_TOKENS, show_progress=False)
    tokenizer._tokenizer.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return tokenizer


def unigram(sentences: list[str]):
    tokenizer = SentencePieceUnigramTokenizer()
    tokenizer.train_from_iterator(sentences, vocab_size=VOCABULARY, unk_token="<unk>", special_tokens=ROBERTA_TOKENS,
                                  show_progress=False)
    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="GLUE's TSV")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()

    sentences = [sentence for first, second, _ in read_tsv(args.data) for sentence in (first, second)]
    roberta = dict(max_position_embeddings=130, type_vocab_size=1)
    for name, train, kind, config, changes in [
        ("bert", word_piece, BertModel, BertConfig, dict(max_position_embeddings=128)),
        ("roberta", byte_level, RobertaModel, RobertaConfig, roberta),
        ("xlm-roberta", unigram, XLMRobertaModel, XLMRobertaConfig, roberta),
    ]:
        tokenizer = train(sentences)
        torch.manual_seed(1)
        kind(config(vocab_size=tokenizer.get_vocab_size(), **SIZES, **changes)).save_pretrained(args.out / name)
        # What the file says of truncation and padding must not matter.
        tokenizer._tokenizer.enable_truncation(10, stride=2, strategy="only_second", direction="left")
        tokenizer._tokenizer.enable_padding(direction="left", length=40, pad_id=3)
        tokenizer.save(str(args.out / name / "tokenizer.json"))
        print(f"{args.out / name}: {tokenizer.get_vocab_size()} tokens")


if __name__ == "__main__":
    main()
