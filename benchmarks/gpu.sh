#!/usr/bin/env bash
# A bare machine with a GPU, this checkout, and Python 3.11 or later: installs, tests on the device, benchmarks.
# Wheels for a machine without network: pip download -d wheels . pytest; then WHEELS=wheels benchmarks/gpu.sh
# Under ten minutes. It has not run on a GPU yet.
set -euo pipefail
cd "$(dirname "$0")/.."
python -m venv "${VENV:=.venv-gpu}"
source "$VENV/bin/activate"
if [ -n "${WHEELS:-}" ]; then
  pip install -q --no-index --find-links "$WHEELS" . pytest
else
  pip install -q . pytest
fi
python - <<'PY'
import sys, torch
if not torch.cuda.is_available():
    sys.exit("torch finds no GPU: install a torch with CUDA (https://pytorch.org) and run this again")
print(torch.__version__, torch.cuda.get_device_name())
PY
echo "== tests on the device"
timeout 240 python -m pytest -q -k cuda tests/kernels tests/algorithms || failed=1
echo "== kernels"
timeout 120 python benchmarks/gpu.py
echo "== a simulated session from movies to its tomogram, on the processor and on the device"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cryoloom simulate "$work/session" --set seed=1
for device in cpu cuda; do
  start=$(date +%s.%N)
  cryoloom process "$work/session" --project "$work/$device" --device "$device" >"$work/$device.log"
  printf '| raw to tomogram on %-4s | %6.1f s |\n' "$device" "$(echo "$(date +%s.%N) - $start" | bc)"
done
exit "${failed:-0}"
