#!/usr/bin/env bash
# Unpacks one part of the bundle (run inside it) into PREFIX and writes PREFIX/env.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
prefix=${PREFIX:-/opt/galvatron}
mkdir -p "$prefix/bin" "$prefix/lib"
for file in *.xz; do
  case $file in
    node.xz) xz -dc -T0 node.xz >"$prefix/bin/node" && chmod +x "$prefix/bin/node" ;;
    app.tar.xz) xz -dc -T0 app.tar.xz | tar x -C "$prefix" ;;
    *.so*.xz) xz -dc -T0 "$file" >"$prefix/lib/${file%.xz}" ;;
  esac
done
for file in *.so; do [ -e "$file" ] && cp "$file" "$prefix/lib/"; done
ort=$prefix/app/node_modules/onnxruntime-node/bin/napi-v6/linux/x64
if [ -d "$ort" ]; then
  for file in "$prefix"/lib/libonnxruntime*; do
    if [ -e "$file" ]; then ln -sf "$file" "$ort/"; fi
  done
fi
cat >"$prefix/env.sh" <<EOT
export PATH=$prefix/bin:\$PATH
export GALVATRON_ONNX_RUNTIME=$prefix/lib/libonnxruntime.so.1
EOT
