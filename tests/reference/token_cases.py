#!/usr/bin/env python3
"""Write tokenizer cases: sentence pairs and their tokens.

OUT/tokens/NAME/tokenizer.json
OUT/tokens/NAME/pairs.tsv                 the pairs, as GLUE's TSV: index, sentence1, sentence2, label
OUT/tokens/NAME/pairs-LENGTH.safetensors  input_ids (int32), attention_mask and token_type_ids (uint8)
                                          [pairs, LENGTH]: longest-first truncation to LENGTH, padded to LENGTH

`wordpiece` has a small generated tokenizer, whose padding and truncation must have no effect.
`unigram-own` has a SentencePiece-like tokenizer, whose existing tokenizer.json is only read.
"""
import collections
import json
import pathlib
import re
import shutil

import torch
from tokenizers import Tokenizer
from tokenizers.normalizers import BertNormalizer

from case_files import out_folder, write_json, write_tensors

LENGTHS = [128, 25, 8]
HARBOUR = ("The harbour of the small town froze over in the second week of January, and the ferry, which had carried "
           "passengers, letters and the occasional cow across the bay since 1911, was tied to the quay until spring. ")
BAKERY = ("Mrs. O'Hara-Lindqvist sold 1,204 cinnamon rolls on Saturday, 37% more than a week before, and paid $2.75 "
          "for each pound of butter; nobody asked her why the price had gone up again. ")
PAIRS = [
    ("The ferry did not sail in January.", "The ferry sailed every day."),
    ("Rain fell.", "It was dry."),
    ("A bakery in the old town sold more rolls than ever.", "More rolls were sold."),
    ('The mayor said "the bridge stays open" and left.', 'The mayor closed the "bridge".'),
    ("She called it ``a very good year'' for apples.", "It was 'a good year' for pears."),
    ('A lone " in the middle of a line is only a letter.', 'So is this one: "'),
    ("Café Zoë, a naïve façade in Zürich, reopened after the ﬁre.", "Cafe Zoe in Zurich is closed."),
    ("Cafe\u0301 with a combining accent, and a Straße with a sharp s.", "Caf\u00e9 with one letter, and a STRASSE."),
    ("Поезд прибыл в Омск в 6:45 утра.", "The train reached Omsk in the evening."),
    ("東京の天気は晴れです。", "It is sunny in 東京."),
    ("The cat 🐈 sat on the mat 👍🏽, didn't it?", "A cat — or two cats… — sat there."),
    ("Wide\u00a0spaces,\u2003thin\u2009ones  and   doubled ones, all in a row.", "There are spaces."),
    ("A separator\u2028inside a row is no end of the row.", "The row\u0085goes on."),
    ("Soft\u00adhyphens and zero\u200bwidth spaces cannot be seen.", "Nobody sees them."),
    ("On 03/04/2021 the index rose 12.5%, to 4,321.09 points (+$480 million).", "The index fell by 12.5 %."),
    ("Visit https://example.org/a_b?c=d&e=f#g or write to someone@example.org.", "There is an address."),
    ("x² + y² ≤ 10⁻³ and ½ of ℵ₀ is still ℵ₀.", "½ is a half."),
    ("[CLS] and [SEP] and [MASK] written by hand.", "<pad> and <unk> too."),
    ("Donaudampfschifffahrtsgesellschaftskapitänsmütze" * 3, "A word beyond all measure."),
    ("Short first.", HARBOUR * 4),
    (HARBOUR * 4, "Short second."),
    (HARBOUR * 3, BAKERY * 3),
    (BAKERY * 6, HARBOUR * 2),
    (HARBOUR.upper(), BAKERY.title()),
    ("a b c d e f g h i j k l m n o p q r s t u v w x y z", "z y x w v u t s r q p o n m l k j i h g f e d c b a"),
    ("One two three four five six seven eight nine ten.", "One two three four five six seven eight nine ten."),
    ("Nine", "Ten"),
]
PAIRS = [(first.strip(), second.strip()) for first, second in PAIRS]


def wordpiece() -> dict:
    """A BERT-like tokenizer: frequent words of the pairs, their letters, a few endings."""
    normalize = BertNormalizer(lowercase=True).normalize_str
    words = collections.Counter(re.findall(r"[a-z]+", normalize(" ".join(text for pair in PAIRS for text in pair))))
    frequent = sorted(word for word, count in words.items() if count >= 2 and len(word) > 1)
    letters = sorted("abcdefghijklmnopqrstuvwxyz0123456789.,;:!?'\"`$%()-/+&#=@_東京")
    endings = ["##ing", "##ed", "##er", "##es", "##ly", "##ion", "##th", "##st"]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *frequent, *endings, *(f"##{letter}" for letter in letters)]
    special = [dict(id=id, content=token, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
               for id, token in enumerate(tokens[:5])]

    def special_token(token: str, type_id: int) -> dict:
        return {"SpecialToken": {"id": token, "type_id": type_id}}

    def sequence(name: str, type_id: int) -> dict:
        return {"Sequence": {"id": name, "type_id": type_id}}

    single = [special_token("[CLS]", 0), sequence("A", 0), special_token("[SEP]", 0)]
    return {
        "version": "1.0",
        "truncation": {"direction": "Left", "max_length": 10, "strategy": "OnlySecond", "stride": 2},
        "padding": {"strategy": {"Fixed": 40}, "direction": "Left", "pad_to_multiple_of": 8,
                    "pad_id": 1, "pad_type_id": 1, "pad_token": "[UNK]"},
        "added_tokens": special,
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": single + [sequence("B", 1), special_token("[SEP]", 1)],
            "special_tokens": {token: {"id": token, "ids": [tokens.index(token)], "tokens": [token]}
                               for token in ("[CLS]", "[SEP]")},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": {token: id for id, token in enumerate(tokens)}},
    }


def write_pairs(path: pathlib.Path) -> None:
    rows = [("index", "sentence1", "sentence2", "label")]
    rows += [(str(index), first, second, ("entailment", "not_entailment")[index % 2])
             for index, (first, second) in enumerate(PAIRS)]
    path.write_bytes("".join("\t".join(row) + "\n" for row in rows).encode("utf-8"))


def write_tokens(folder: pathlib.Path, pad_id: int = 0) -> None:
    write_pairs(folder / "pairs.tsv")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    for length in LENGTHS:
        tokenizer.enable_truncation(length, stride=0, strategy="longest_first", direction="right")
        encodings = tokenizer.encode_batch(PAIRS)

        def padded(field: str, filler: int, dtype: torch.dtype) -> torch.Tensor:
            values = [getattr(encoding, field) for encoding in encodings]
            return torch.tensor([value + [filler] * (length - len(value)) for value in values], dtype=dtype)

        write_tensors(folder / f"pairs-{length}.safetensors", {
            "input_ids": padded("ids", pad_id, torch.int32),
            "attention_mask": padded("attention_mask", 0, torch.uint8),
            "token_type_ids": padded("type_ids", 0, torch.uint8),
        })
        full = sum(len(encoding.ids) == length for encoding in encodings)
        print(f"tokens/{folder.name}: {len(PAIRS)} pairs, {full} fill {length} tokens")


def main() -> None:
    out = out_folder(__doc__) / "tokens"
    write_json(out / "wordpiece" / "tokenizer.json", wordpiece())
    write_tokens(out / "wordpiece")

    given = pathlib.Path(__file__).parent.parent / "cases" / "tokens" / "unigram-own" / "tokenizer.json"
    copy = out / "unigram-own" / "tokenizer.json"
    if copy.resolve() != given.resolve():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(given, copy)
    write_tokens(out / "unigram-own")


if __name__ == "__main__":
    main()
