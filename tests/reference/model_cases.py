#!/usr/bin/env python3
"""Write model cases: tiny random model folders, inputs, and the outputs of transformers.

OUT/TYPE/NAME/                  TYPE is albert, bert or roberta: a folder of its …ForSequenceClassification (config.json,
                                model.safetensors) with
    inputs.safetensors          input_ids, attention_mask, token_type_ids [batch, seq], labels [batch]
    expected.safetensors        logits [batch, labels], loss [1], grad/PARAM for every parameter
OUT/pretraining/NAME/           an AlbertForPreTraining folder with
    inputs.safetensors          as above, labels [batch, seq] (-100: not predicted), sentence_order_label [batch]
    expected.safetensors        prediction_logits [batch, seq, vocab], sop_logits [batch, 2], loss [1], grad/PARAM

Values are computed in float64 and stored as float32; the float32 model must agree with them.
"""
import json
import pathlib

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AlbertConfig, AlbertForPreTraining, AlbertForSequenceClassification, BertConfig, BertForSequenceClassification,
    RobertaConfig, RobertaForSequenceClassification, XLMRobertaConfig, XLMRobertaForSequenceClassification,
)

from case_files import out_folder, relative_error, write_tensors

MASK, FIRST_WORD = 4, 5
SIZES = dict(vocab_size=60, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
             max_position_embeddings=24, initializer_range=0.2)
NO_DROPOUT = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
CONFIGS = {
    AlbertForSequenceClassification: AlbertConfig(**SIZES, embedding_size=8, classifier_dropout_prob=0.0),
    AlbertForPreTraining: AlbertConfig(**SIZES, embedding_size=8, classifier_dropout_prob=0.0),
    BertForSequenceClassification: BertConfig(**SIZES, **NO_DROPOUT),
    RobertaForSequenceClassification: RobertaConfig(**SIZES, **NO_DROPOUT, type_vocab_size=1),
    XLMRobertaForSequenceClassification: XLMRobertaConfig(**SIZES, **NO_DROPOUT, type_vocab_size=1),
}


def draw_model(kind, seed: int, **changes):
    """A model whose every parameter counts: no zero bias, no unit norm, no zero padding row."""
    torch.manual_seed(seed)
    config = CONFIGS[kind]
    config = type(config)(**config.to_diff_dict() | changes)
    model = kind._from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for param in model.parameters():
            param.add_(0.05 * torch.randn(param.shape))
    return model


def draw_pairs(config, lengths: list[int], padded_to: int, seed: int) -> dict[str, torch.Tensor]:
    """Pairs of the given lengths, padded on the right: `[CLS] a… [SEP] b… [SEP]`, or `<s> a… </s></s> b… </s>`."""
    is_roberta = config.model_type in ("roberta", "xlm-roberta")
    cls, sep = (0, 2) if is_roberta else (2, 3)
    random = torch.Generator().manual_seed(seed)
    ids = torch.full((len(lengths), padded_to), config.pad_token_id)
    mask = torch.zeros_like(ids)
    types = torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(FIRST_WORD, config.vocab_size, (length,), generator=random)
        end_of_first = int(torch.randint(2, length - 2, (), generator=random))
        ids[row, 0], ids[row, end_of_first], ids[row, length - 1] = cls, sep, sep
        mask[row, :length] = 1
        if is_roberta:
            ids[row, end_of_first + 1] = sep
        else:
            types[row, end_of_first + 1:length] = 1
    return dict(input_ids=ids, attention_mask=mask, token_type_ids=types)


def results(model, inputs: dict[str, torch.Tensor], names: list[str]) -> dict[str, torch.Tensor]:
    model.zero_grad()
    output = model(**inputs)
    output.loss.backward()
    grads = {f"grad/{name}": param.grad for name, param in model.named_parameters()}
    return {name: output[name] for name in names} | {"loss": output.loss.reshape(1)} | grads


def write_case(folder: pathlib.Path, model, inputs: dict[str, torch.Tensor], names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    single = {key: value.clone() for key, value in results(model, inputs, names).items()}
    expected = results(model.double(), inputs, names)
    error = max(relative_error(single[key], value) for key, value in expected.items()
                if not key.endswith("key.bias"))  # zero in exact arithmetic
    print(f"{folder.parent.name}/{folder.name}: float32 differs by {error:.1e}")
    assert error < 2e-5, folder
    write_tensors(folder / "inputs.safetensors", inputs)
    write_tensors(folder / "expected.safetensors", expected)


def write_classifier(folder: pathlib.Path, seed: int, lengths: list[int], padded_to: int,
                     kind=AlbertForSequenceClassification, **changes) -> None:
    model = draw_model(kind, seed, **changes)
    labels = torch.randint(0, model.num_labels, (len(lengths),), generator=torch.Generator().manual_seed(seed))
    inputs = draw_pairs(model.config, lengths, padded_to, seed) | dict(labels=labels)
    write_case(folder, model, inputs, ["logits"])


def write_pretraining(folder: pathlib.Path, seed: int, lengths: list[int], padded_to: int, **changes) -> None:
    model = draw_model(AlbertForPreTraining, seed, **changes)
    inputs = draw_pairs(model.config, lengths, padded_to, seed)
    random = torch.Generator().manual_seed(seed)
    predicted = (torch.rand(inputs["input_ids"].shape, generator=random) < 0.4) & (inputs["input_ids"] >= FIRST_WORD)
    inputs["labels"] = torch.where(predicted, inputs["input_ids"], -100)
    inputs["input_ids"] = torch.where(predicted, MASK, inputs["input_ids"])
    inputs["sentence_order_label"] = torch.arange(len(lengths)) % 2
    write_case(folder, model, inputs, ["prediction_logits", "sop_logits"])


def age_config(folder: pathlib.Path) -> None:
    """Make config.json look like those of the first ALBERT release: unused keys, and newer keys missing."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for key in ("dtype", "tie_word_embeddings", "transformers_version", "architectures"):
        del config[key]
    config |= dict(net_structure_type=0, gap_size=0, num_memory_blocks=0, down_scale_factor=1)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def add_decoder_copies(folder: pathlib.Path) -> None:
    """Store the tied decoder under separate names as well, as many published checkpoints do."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["predictions.decoder.weight"] = tensors["albert.embeddings.word_embeddings.weight"].clone()
    tensors["predictions.decoder.bias"] = tensors["predictions.bias"].clone()
    save_file(tensors, path, metadata={"format": "pt"})


def main() -> None:
    out = out_folder(__doc__)
    albert, pretraining = out / "albert", out / "pretraining"
    write_classifier(albert / "inner-groups", 11, [12, 7], 14, num_hidden_layers=4, num_hidden_groups=2, inner_group_num=2)
    write_classifier(albert / "gelu", 12, [9, 13, 6], 13, hidden_act="gelu")
    write_classifier(albert / "relu", 13, [9, 13, 6], 13, hidden_act="relu", num_attention_heads=1, layer_norm_eps=1e-5)
    write_classifier(albert / "three-labels", 14, [8, 11, 5, 9], 11, num_labels=3)
    write_classifier(albert / "long-padding", 15, [5, 8], 24, num_attention_heads=4)
    write_classifier(albert / "max-length", 16, [24, 17], 24)
    write_classifier(albert / "layer-groups", 17, [10, 12], 12, num_hidden_layers=3, num_hidden_groups=3, hidden_act="gelu")
    age_config(albert / "layer-groups")

    bert = dict(kind=BertForSequenceClassification)
    write_classifier(out / "bert" / "deep-relu", 41, [9, 13, 6], 13, **bert, hidden_act="relu", num_hidden_layers=4)
    write_classifier(out / "bert" / "three-labels-max-length", 42, [24, 8], 24, **bert, num_labels=3, num_attention_heads=4)
    roberta = dict(kind=RobertaForSequenceClassification)
    write_classifier(out / "roberta" / "long-padding", 43, [8, 5, 12], 20, **roberta, layer_norm_eps=1e-5)
    write_classifier(out / "roberta" / "three-labels-max-length", 44, [22, 9], 22, **roberta, num_labels=3)
    write_classifier(out / "roberta" / "two-segments", 45, [11, 7], 12, **roberta, type_vocab_size=2)
    write_classifier(out / "roberta" / "xlm", 46, [6, 10], 10, kind=XLMRobertaForSequenceClassification)

    write_pretraining(pretraining / "shared-layer", 21, [16, 11, 8], 18)
    write_pretraining(pretraining / "decoder-copies", 22, [14, 20], 20, num_hidden_groups=2, hidden_act="gelu")
    add_decoder_copies(pretraining / "decoder-copies")


if __name__ == "__main__":
    main()
