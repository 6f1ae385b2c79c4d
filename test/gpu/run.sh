#!/usr/bin/env bash
# One command for a GPU machine: unpacks what was brought, then checks and times, part by part.
#   bash test/gpu/run.sh [PART ...]    parts: machine smoke kernels timings sanitizer blocks programs peers (all but smoke by
#   default); benchmarks: predict-gpt gpt predict-llama llama one verify budgets-gpt budgets-llama curve collectives
#   communicators gpt-blocks stalled beside
# Reads BUNDLE (default .gpu), writes logs and JSON under OUT (default out/gpu), results to RESULTS (default
# docs/benchmarks/gpu.json). A part whose .done file lies in STATE
# (default /tmp/galvatron-gpu) is skipped, so a second call goes on where the first stopped; RESUME=0 starts over.
# PACK=FOLDER puts what each part wrote, small files only, into FOLDER/PART.tgz when it ends: a later part that is cut off
# does not take it along. The summary comes last.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bundle=${BUNDLE:-.gpu}
out=${OUT:-out/gpu}
state=${STATE:-/tmp/galvatron-gpu}
prefix=${PREFIX:-/opt/galvatron}
mkdir -p "$out" "$state"
[ "${RESUME:-1}" = 0 ] && rm -f "$state"/*.done
export PREFIX=$prefix PYTHONUNBUFFERED=1 TORCHINDUCTOR_CACHE_DIR=/tmp/inductor NCCL_NVLS_ENABLE=${NCCL_NVLS_ENABLE:-0}
for part in provider product; do
  if [ -f "$bundle/$part/unpack.sh" ] && [ ! -f "$prefix/.$part" ]; then
    bash "$bundle/$part/unpack.sh" && touch "$prefix/.$part"
  fi
done
[ -f "$prefix/env.sh" ] && . "$prefix/env.sh"
# The product as brought, where this checkout has not built its own.
for folder in dist node_modules build; do
  [ -e "$folder" ] || { [ -e "$prefix/app/$folder" ] && ln -s "$prefix/app/$folder" "$folder"; }
done
export GALVATRON_CUDA=${GALVATRON_CUDA:-$PWD/build/native/libgalvatron_cuda.so}
runtime=${GALVATRON_ONNX_RUNTIME:-$prefix/lib/libonnxruntime.so.1}

machine() {
  nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.max.sm,temperature.gpu --format=csv
  nproc; free -g | head -2
  python3 -c 'import torch;print(torch.__version__, torch.version.cuda, torch.backends.cudnn.version(), torch.cuda.nccl.version(), torch.cuda.device_count())'
  nvcc --version | tail -2 | head -1
  python3 -c 'import nvidia,glob;print(*[d for p in nvidia.__path__ for d in glob.glob(p+"/*/lib")],sep="\n")'
}
kernels() { timeout 200 python3 test/gpu/kernels.py --json "$out/kernels.json"; }
sanitizer() {
  # Only our kernels are instrumented: PyTorch's and the libraries' are not ours to check.
  timeout 150 compute-sanitizer --tool memcheck --kernel-name kernel_substring=gv --error-exitcode 9 --print-limit 20 \
    python3 test/gpu/kernels.py --small
}
timings() { timeout 240 python3 test/gpu/timings.py --json "$out/timings.json"; }
blocks() { timeout 270 python3 test/gpu/blocks.py "$bundle/graphs" "$runtime" --json "$out/blocks.json"; }
programs() {
  local gpus
  gpus=$(nvidia-smi -L | wc -l)
  timeout 200 node test/gpu/programs.mjs --gpus "$gpus" --plans 6 --time "gpt2$([ "$gpus" -gt 1 ] && echo ,gpt2-dp)" \
    --runtime "$runtime" --json "$out/programs.json"
}
stalled() { timeout 60 env GALVATRON_ONNX_RUNTIME="$runtime" node test/gpu/stalled-rank.mjs; }
# Benchmarks (test/bench/gpu): ours and the peer of a ratio in one part.
bench() { timeout "$1" node "test/bench/gpu/$2.mjs" "${@:3}" --results "${RESULTS:-docs/benchmarks/gpu.json}"; }
verify() { bench "${VERIFY_LIMIT:-240}" verify --plans "${VERIFY_PLANS:-32}" --seconds "${VERIFY_SECONDS:-200}" --json "$out/verify.json"; }
communicators() { bench 60 communicators --json "$out/communicators.json"; }
collectives() { bench 120 collectives --json "$out/collectives.json"; }
gpt() { bench 420 whole gpt --plans "${GPT_PLANS:-searched,zero2,ddp}" --json "$out/gpt.json"; }
# Not recorded: whether fewer blocks for reductions and gathers leave more to the computing beside them.
gpt-blocks() {
  local blocks
  for blocks in ${NCCL_BLOCKS:-0 8 16}; do
    GALVATRON_NCCL_REDUCE_BLOCKS=$blocks GALVATRON_NCCL_GATHER_BLOCKS=$blocks RESULTS=$out/blocks.json \
      bench 60 whole gpt --plans zero3 --no-peer --json "$out/gpt-blocks-$blocks.json" | sed "s/^/$blocks blocks: /"
  done
}
# On one machine of four GPUs, beside each other: predictions on two and one, both models, and plans verified on two. What
# runs on equally many GPUs at one time keeps its profiles apart.
beside() {
  (
    export CUDA_VISIBLE_DEVICES=0,1
    bench 270 predict gpt --ranks 2 --plans 14 --seconds 230 --json "$out/predict-gpt-2.json"
    bench 200 verify --plans 60 --seconds 120 --json "$out/verify-2.json"
  ) >"$out/beside-0.log" 2>&1 &
  (
    export CUDA_VISIBLE_DEVICES=2,3 PROFILES=$state/llama
    bench 270 predict llama --layers 4 --ranks 2 --plans 14 --seconds 230 --json "$out/predict-llama-2.json"
    (
      export CUDA_VISIBLE_DEVICES=2 PROFILES=$state
      bench 250 predict gpt --ranks 1 --plans 14 --seconds 215 --json "$out/predict-gpt-1.json"
    ) >"$out/beside-2.log" 2>&1 &
    CUDA_VISIBLE_DEVICES=3 bench 250 predict llama --layers 4 --ranks 1 --plans 14 --seconds 215 --json "$out/predict-llama-1.json"
    wait
  ) >"$out/beside-3.log" 2>&1 &
  wait
  cat "$out"/beside-[0-3].log | grep -vE "^(\{|  )"
}
llama() { bench 420 whole llama --plans "${LLAMA_PLANS:-searched,zero2}" --json "$out/llama.json"; }
predict-gpt() { bench "${PREDICT_LIMIT:-470}" predict gpt --plans "${PREDICT_PLANS:-24}" --seconds "${PREDICT_SECONDS:-420}" ${PREDICT_OPTIONS:-} --json "$out/predict-gpt.json"; }
predict-llama() { bench "${PREDICT_LIMIT:-470}" predict llama --layers 4 --plans "${PREDICT_PLANS:-24}" --seconds "${PREDICT_SECONDS:-420}" --json "$out/predict-llama.json"; }
budgets-gpt() { bench 330 budgets gpt --seconds "${BUDGET_SECONDS:-240}" --json "$out/budgets-gpt.json"; }
budgets-llama() { bench 330 budgets llama --layers "${BUDGET_LLAMA_LAYERS:-16}" --seconds "${BUDGET_SECONDS:-240}" --json "$out/budgets-llama.json"; }
curve() { bench 300 curve ${CURVE_OPTIONS:-} --json "$out/curve.json"; }
one() { bench "${ONE_LIMIT:-470}" one ${ONE_OPTIONS:-} --json "$out/one.json"; }
smoke() { timeout 60 python3 test/gpu/blocks.py "$bundle/graphs" "$runtime" --json "$out/smoke.json" --cases small-gpt,small-llama; }
peers() { (cd test/bench/peers && timeout 120 python3 gpt2_step.py --batch 32) | tee "$out/gpt2-peer.json"; }
declare -A shown=([communicators]=14 [smoke]=6 [budgets-gpt]=40 [budgets-llama]=40 [curve]=8 [verify]=36 [collectives]=24 [gpt]=40 [llama]=40 [predict-gpt]=75 [predict-llama]=60 [beside]=90 [gpt-blocks]=60 [one]=60 [machine]=20 [kernels]=12 [timings]=75 [sanitizer]=8 [blocks]=24 [programs]=45 [peers]=4)

parts=("$@")
[ ${#parts[@]} -eq 0 ] && parts=(machine kernels timings sanitizer blocks programs peers)
summary=()
for part in "${parts[@]}"; do
  if [ -f "$state/$part.done" ]; then
    summary+=("$part: done before")
    continue
  fi
  echo "== $part"
  begin=$(date +%s)
  export GALVATRON_CUDA_TRACE=$out/trace-$part
  "$part" 2>&1 | tee "$out/$part.log" | tail -n "${shown[$part]:-40}" | cut -c1-400
  code=${PIPESTATUS[0]}
  [ "$code" -eq 0 ] && touch "$state/$part.done"
  if [ -n "${PACK:-}" ]; then
    mkdir -p "$PACK"
    find "$out" "$state" -maxdepth 2 -type f -size -4000k -print0 | tar czf "$PACK/$part.tgz" --null -T - 2>/dev/null
  fi
  summary+=("$part: exit $code, $(($(date +%s) - begin)) s")
done
echo "== summary"
printf '%s\n' "${summary[@]}"
