#!/usr/bin/env bash
# Ten seeds of the default fine-tuning with either optimizer, and from random weights: the table of
# docs/embedded-model.md. `bin/embedded/ten-seeds.sh [FOLDER]` keeps the runs in FOLDER and continues
# where it was stopped; it uses target/release/l2sp (or $PROGRAM) and takes about ten minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=${1:-target/ten-seeds}
program=${PROGRAM:-target/release/l2sp}
mkdir -p "$folder"

finetune() { # NAME FLAG...
    [ -e "$folder/$1/summary.json" ] && return
    "$program" finetune --output "$folder/$1" --overwrite --dashboard off "${@:2}"
}

# The net before its first step of pretraining.
[ -e "$folder/random/config.json" ] ||
    "$program" pretrain --output "$folder/random" --overwrite --steps 1 --learning-rate 0
setting() { sed -n "s/^$1 = //p" "$folder/adamw-l2sp-1/config.toml"; }
for seed in {1..10}; do
    finetune "adamw-l2sp-$seed" --seed "$seed" --data-seed "$seed"
    finetune "adamw-$seed" --optimizer adamw --seed "$seed" --data-seed "$seed"
    finetune "random-$seed" --model "$folder/random" --data embedded --seed "$seed" --data-seed "$seed" \
        --learning-rate "$(setting learning-rate)" --epochs "$(setting epochs)"
done

value() { sed -n "s/.*\"$2\": *\([^,}]*\).*/\1/p" "$1/summary.json"; }
echo "| validation accuracy, % | mean | standard deviation | lowest | highest | failed |"
echo "|---|---|---|---|---|---|"
for kind in adamw-l2sp adamw random; do
    for seed in {1..10}; do
        echo "$(value "$folder/$kind-$seed" eval_accuracy) $(value "$folder/$kind-$seed" failed)"
    done | awk -v kind="$kind" '
        { x = 100 * $1; sum += x; squares += x * x; failed += ($2 == "true")
          if (NR == 1 || x < low) low = x; if (NR == 1 || x > high) high = x }
        END { mean = sum / NR; deviation = sqrt((squares - NR * mean * mean) / (NR - 1))
              printf "| %s | %.2f | %.2f | %.2f | %.2f | %d of %d |\n", kind, mean, deviation, low, high, failed, NR }'
done
