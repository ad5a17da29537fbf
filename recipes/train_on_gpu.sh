#!/usr/bin/env bash
# Train the lite weights on a machine with a CUDA GPU, for a given time.
#
#   recipes/train_on_gpu.sh pack COLLECTED PIECES     here: the data in pieces of at most 60 MiB
#   recipes/train_on_gpu.sh train PIECES OUT MINUTES [MODEL]   there: prepare, train, hand over
#
# COLLECTED is what prepare_lite.py reads. MODEL is u2netp (the default, lite) or u2net. The
# speed is measured first, and the schedule made as long as the time allows: 25 and 120 minutes
# are both sensible. OUT gets model.safetensors, model.md, metrics.jsonl, curves.png, preview.png.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)

pack() {
    local collected=$1 pieces=$2
    mkdir -p "$pieces"
    tar -C "$collected" -cf - animals people pets objects cutouts backgrounds unlabelled |
        split --bytes=60M --numeric-suffixes - "$pieces/data.tar."
    ls -l "$pieces"
}

train() {
    local pieces=$1 out=$2 minutes=$3 model=${4:-u2netp}
    local work began probe speed steps batch=64
    began=$(date +%s)
    work=$(mktemp -d)
    mkdir -p "$work/collected" "$out"
    cat "$pieces"/data.tar.* | tar -C "$work/collected" -xf -
    python "$here/recipes/prepare_lite.py" "$work/collected" "$work/lite"
    cd "$work" # the recipe's paths are relative
    ln -s collected/backgrounds backgrounds
    [ "$model" = u2net ] && batch=32
    local recipe=(--config "$here/weights/lite.toml" --model "$model" --batch-size "$batch"
        --resize 320 --crop 0 --device cuda --precision bf16 --workers 14 --cache "$work/cache"
        --warmup 200 --ema 0.999 --ssim 0.5 --log-every 20)
    local start=none
    [ "$model" = u2netp ] && start=$here/weights/lite.safetensors

    # The teacher labels the photos without masks.
    python "$here/recipes/pseudo_label.py" "$work/lite/unlabelled" \
        "$here/weights/lite.safetensors" "$work/lite/train/unlabelled-labelled"

    probe=$work/probe
    u2cut train "${recipe[@]}" --init "$start" --out "$probe" --steps 120 --eval-every 1000
    speed=$(tail -n 3 "$probe/metrics.jsonl" | python -c '
import json, sys
print(max(json.loads(line).get("images_per_s", 0) for line in sys.stdin))')
    steps=$(python -c "
import sys, time
left = $minutes * 60 - (time.time() - $began) - 90  # the rest is for evaluations and the end
print(max(200, int(left * 0.93 * $speed / $batch)))")
    echo "$speed images/s: $steps steps of $batch"
    u2cut train "${recipe[@]}" --init "$start" --lr 0.002 --out "$work/run" --steps "$steps" \
        --eval-every $((steps / 10 + 1)) --save-every $((steps / 10 + 1))
    cp "$work"/run/{model.safetensors,model.md,metrics.jsonl,curves.png,preview.png,config.toml} "$out"
}

command=${1:?pack or train}
shift
"$command" "$@"
