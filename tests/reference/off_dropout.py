#!/usr/bin/env python3
"""Set every dropout in the config.json of model folders to 0: model types differ in where they have dropout.

    python off_dropout.py FOLDER …
"""
import json
import pathlib
import sys

for folder in sys.argv[1:]:
    path = pathlib.Path(folder) / "config.json"
    config = json.loads(path.read_text())
    classifier = "classifier_dropout_prob" if config["model_type"] == "albert" else "classifier_dropout"
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, classifier: 0.0}
    path.write_text(json.dumps(config, indent=2) + "\n")
