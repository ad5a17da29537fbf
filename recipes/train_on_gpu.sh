#!/usr/bin/env bash
# Train the lite weights (or the full network) on a machine with a CUDA GPU, in a given time.
#
#   recipes/train_on_gpu.sh pack COLLECTED PIECES
#       Here: the data in pieces of 50 MiB, to be sent one by one (limits of 60 MiB are common).
#   recipes/train_on_gpu.sh train PIECES OUT MINUTES [MODEL]
#       There: unpack, prepare, self-label, measure the speed, train for as long as the time
#       allows, and leave in OUT: model.safetensors, model.md, metrics.jsonl, curves.png,
#       preview.png, config.toml. Where commands have a time limit of their own, start it with
#       setsid nohup and look at OUT/log later. 25 and 120 minutes are both sensible.
#
# COLLECTED is what prepare_lite.py reads. MODEL is u2netp (the default: lite goes on from the
# weights in the tree) or u2net (from scratch). PYTHON names the interpreter; u2cut itself is
# taken from this checkout.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH}

pack() {
    local collected=$1 pieces=$2
    mkdir -p "$pieces"
    tar -C "$collected" -cf - animals people pets objects cutouts backgrounds unlabelled |
        split --bytes=50M --numeric-suffixes - "$pieces/data.tar."
    ls -l "$pieces"
}

train() {
    local pieces out minutes=$3 model=${4:-u2netp}
    pieces=$(realpath "$1")
    mkdir -p "$2"
    out=$(realpath "$2")
    exec > >(tee "$out/log") 2>&1
    local began work
    began=$(date +%s)
    work=$(mktemp -d)
    mkdir "$work/collected"
    cat "$pieces"/data.tar.* | tar -C "$work/collected" -xf -
    cd "$work" # the recipe's paths start here
    ln -s collected/backgrounds backgrounds
    "$python" "$here/recipes/prepare_lite.py" collected lite
    local teacher=$here/weights/lite.safetensors train=lite/train
    "$python" "$here/recipes/pseudo_label.py" lite/unlabelled "$teacher" $train/self-labelled
    "$python" "$here/recipes/pseudo_label.py" lite/unions "$teacher" $train/unions
    "$python" "$here/recipes/grounds.py" grounds $train/{VOC-animals,COCO-mini,OxfordPets} \
        $train/{HumanSeg290,CCP-person,self-labelled,FeralCats296,DogCat,Cats81}

    local start=none batch=32
    [ "$model" = u2netp ] && start=lite && batch=64
    local recipe=(--config "$here/weights/lite.toml" --model "$model" --init "$start"
        --batch-size "$batch" --resize 320 --device cuda --workers 14 --cache cache
        --lr 0.002 --warmup 200 --ema 0.999 --ssim 0.5)

    "$python" -m u2cut train "${recipe[@]}" --out probe --steps 100 --eval-every 100000
    local steps
    steps=$("$python" - "$began" "$minutes" "$batch" <<'END'
import json, sys, time
began, minutes, batch = (float(word) for word in sys.argv[1:])
speeds = [json.loads(line).get("images_per_s", 0) for line in open("probe/metrics.jsonl")]
left = minutes * 60 - (time.time() - began) - 60  # a minute for the way back
print(max(100, int(0.9 * left * max(speeds) / batch)))  # a tenth for the evaluations
END
    )
    echo "$steps steps of $batch photos"
    "$python" -m u2cut train "${recipe[@]}" --out run --steps "$steps" \
        --eval-every $((steps / 10 + 1)) --save-every $((steps / 10 + 1))
    cp run/{model.safetensors,model.md,metrics.jsonl,curves.png,preview.png,config.toml} "$out"
}

command=${1:?pack or train}
shift
"$command" "$@"
