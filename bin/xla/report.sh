#!/usr/bin/env bash
# Tests an XLA device and prints what docs/xla.md reports: the devices, the tests, the graphs and speed of a run of the
# bundled model, and a training step compared with PyTorch's. Takes the folder with RTE's files; needs the Python environment of
# docs/xla.md with the packages of tests/reference/requirements.txt. Most of its time is compilation.
#
#     bash bin/xla/report.sh RTE | tee xla-report.txt
set -euo pipefail
data=$(realpath "$1")
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cargo() { python bin/xla/cargo.py "$@"; }
release=target/xla/build/release

cargo build --release -p bin --features xla --bin l2sp --example stopwatch
echo "== Devices"
"$release/l2sp" devices

echo "== Tests"
PARITY_DEVICES=xla cargo test --release -p bin -p tests --features bin/xla,tests/xla \
    --no-fail-fast --test devices --test parity -- --test-threads 1 --nocapture 2>&1 |
    grep -E "^error|^test |^on |tolerance" || echo "not all tests have passed"

echo "== A run of the bundled model, twice: the first steps compile"
for run in first second; do
    "$release/l2sp" finetune --device xla --max-steps 100 --dashboard plain --output "$folder/$run" 2>&1
done
cmp "$folder/first/metrics.jsonl" "$folder/second/metrics.jsonl" && echo "both have the same bits"

echo "== A training step of MiniLM's size, compared with PyTorch's"
python bin/benches/compare.py --tokenizer tests/cases/tokens/unigram-own --data "$data" --device xla --size minilm \
    --stopwatch "$release/examples/stopwatch" --program "$release/l2sp" --only "train 16 x 128" --rounds 9 --warm-up 3
