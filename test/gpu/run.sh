#!/usr/bin/env bash
# One command for a GPU machine: unpacks what was brought, then checks and times, part by part.
#   bash test/gpu/run.sh [PART ...]    parts: machine kernels sanitizer timings blocks peers   (all by default)
# Reads BUNDLE (default .gpu), writes logs and JSON under OUT (default out/gpu). A part whose .done file lies in STATE
# (default /tmp/galvatron-gpu) is skipped, so a second call goes on where the first stopped; RESUME=0 starts over.
# The summary comes last.
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
if [ -f "$bundle/lib/libgalvatron_cuda.so.xz" ]; then
  mkdir -p build/native && xz -dc "$bundle/lib/libgalvatron_cuda.so.xz" >build/native/libgalvatron_cuda.so
fi
# CUDA's libraries lie in Python's nvidia packages; our library finds them itself, ONNX Runtime's core does not.
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
  timeout 240 compute-sanitizer --tool memcheck --kernel-name-exclude kernel_substring=at:: --error-exitcode 9 --print-limit 20 \
    python3 test/gpu/kernels.py --small
}
timings() { timeout 240 python3 test/gpu/timings.py --json "$out/timings.json"; }
blocks() { timeout 280 python3 test/gpu/blocks.py "$bundle/graphs" "$runtime" --json "$out/blocks.json"; }
peers() { (cd test/bench/peers && timeout 150 python3 gpt2_step.py --batch 32) | tee "$out/gpt2-peer.json"; }

parts=("$@")
[ ${#parts[@]} -eq 0 ] && parts=(machine kernels timings blocks peers sanitizer)
summary=()
for part in "${parts[@]}"; do
  if [ -f "$state/$part.done" ]; then
    summary+=("$part: done before")
    continue
  fi
  echo "== $part"
  begin=$(date +%s)
  "$part" 2>&1 | tee "$out/$part.log" | tail -n "${LINES_SHOWN:-60}"
  code=${PIPESTATUS[0]}
  [ "$code" -eq 0 ] && touch "$state/$part.done"
  summary+=("$part: exit $code, $(($(date +%s) - begin)) s")
done
echo "== summary"
printf '%s\n' "${summary[@]}"
