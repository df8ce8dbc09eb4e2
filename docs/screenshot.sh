#!/bin/sh
# A picture of TensorBoard as a headless Chromium shows it:
#
#   docs/screenshot.sh LOGDIR OUT.png [TAB] [WIDTHxHEIGHT]
#
# TAB is what follows the # of TensorBoard's address: custom_scalars (default), timeseries, images, hparams ...
# PYTHON and CHROMIUM name the programs where they are called otherwise; SECONDS_TO_DRAW, how long the page may take.
set -eu

[ $# -ge 2 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
logdir=$1 out=$2 tab=${3:-custom_scalars} size=${4:-1500x1080}
python=${PYTHON:-python3} chromium=${CHROMIUM:-chromium} seconds=${SECONDS_TO_DRAW:-30}

server= profile=$(mktemp -d)
trap '[ -z "$server" ] || kill "$server"; rm -rf "$profile"' EXIT
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("localhost", 0)); print(s.getsockname()[1])')
"$python" -m tensorboard.main --logdir "$logdir" --port "$port" --load_fast=false \
    --reload_interval 0 --reload_task blocking >"$profile/server.log" 2>&1 &
server=$!

# Blocking: the server answers once it has read all runs.
"$python" - "$port" <<'PYTHON'
import sys, time, urllib.request
for _ in range(1200):
    try:
        urllib.request.urlopen(f"http://localhost:{sys.argv[1]}/data/runs", timeout=60)
        break
    except OSError:
        time.sleep(0.5)
else:
    sys.exit("TensorBoard does not answer")
PYTHON

"$chromium" --headless=new --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$profile/browser" \
    --window-size="$(echo "$size" | tr x ,)" --virtual-time-budget="${seconds}000" \
    --screenshot="$out" "http://localhost:$port/#$tab" 2>"$profile/browser.log" ||
    { cat "$profile/browser.log" >&2; exit 1; }
"$python" - "$out" <<'PYTHON'
import sys
from PIL import Image
with Image.open(sys.argv[1]) as shot:  # 256 colours: a third of the bytes, and no difference to be seen
    shot.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(sys.argv[1], optimize=True)
PYTHON
