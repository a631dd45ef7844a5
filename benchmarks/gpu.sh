#!/usr/bin/env bash
# A machine with a GPU and Python 3.11 or later, and this checkout: installs, tests on the device, benchmarks.
# torch and Triton of the machine are used where it has them: those of the registry are 3 GB. Without network:
#   pip download -d wheels . pytest        (elsewhere, for the machine's Python and platform)
#   WHEELS=wheels benchmarks/gpu.sh
# Under ten minutes. It has not run on a GPU yet; DEVICE=cpu goes through all of it, small, without one.
set -uo pipefail
cd "$(dirname "$0")/.."
: "${DEVICE:=cuda}" "${PYTHON:=python3}" "${VENV:=.venv-gpu}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
set -e
"$PYTHON" -m venv --system-site-packages "$VENV"
source "$VENV/bin/activate"
if [ -n "${WHEELS:-}" ]; then
  pip install -q --no-index --find-links "$WHEELS" . pytest
else
  pip install -q . pytest
fi
DEVICE="$DEVICE" python - <<'PY'
import os, sys, torch
if os.environ["DEVICE"] == "cuda" and not torch.cuda.is_available():
    sys.exit("torch finds no GPU: install a torch with CUDA (https://pytorch.org) and run this again")
print(torch.__version__, torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU")
PY
set +e
failed=0
size=2048 smaller=() devices=(cpu "$DEVICE")
if [ "$DEVICE" = cpu ]; then
  size=256 smaller=(--set tilt_step_deg=12 --set "image_shape_yx=[256, 360]") devices=(cpu)
fi
echo "== tests on the device"
timeout 240 python -m pytest -q -k "cuda or triton" tests/kernels tests/algorithms || failed=1
echo "== kernels"
timeout 120 python benchmarks/gpu.py --device "$DEVICE" --size "$size" || failed=1
echo "== a simulated session from movies to its tomogram, on the processor and on the device"
timeout 120 cryoloom simulate "$work/session" --set seed=1 "${smaller[@]}" || failed=1
for device in "${devices[@]}"; do
  SECONDS=0
  timeout 180 cryoloom process "$work/session" --project "$work/on-$device" --device "$device" \
    >"$work/$device.log" 2>&1 || { failed=1; tail -n 20 "$work/$device.log"; }
  printf '| raw to tomogram on %-4s | %4d s |\n' "$device" "$SECONDS"
done
exit "$failed"
