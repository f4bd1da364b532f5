#!/usr/bin/env bash
# The first minutes on a borrowed GPU: parity with the CPU, every benchmark, then training until the time is up.
#
#   benchmarks/first_ten_minutes.sh             on a GPU; stops after nine minutes, and goes on when started again
#   benchmarks/first_ten_minutes.sh --smoke     the same on a CPU, in small, to try the script
#
# What is done is noted in $OUT/done, so that a second call goes on. Files stay below 16 MB: logs, records, and the
# checkpoint of a finished training; states of an unfinished one lie in $RUNS. PYTHON names the interpreter.
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python} OUT=${OUT:-_build/first_ten_minutes} RUNS=${RUNS:-$OUT/runs}
MINUTES=${MINUTES:-9} RECIPE=${RECIPE:-diinn} TIER=gpu SMOKE=
if [ "${1:-}" = --smoke ]; then TIER=smoke MINUTES=${MINUTES_SMOKE:-9} SMOKE=1; fi
export PYTHONPATH=$PWD
mkdir -p "$OUT" "$RUNS"
end=$(($(date +%s) + 60 * MINUTES))

part() { # part NAME SECONDS COMMAND...: once, with a limit; a failure is noted and does not stop the rest
  local name=$1 limit=$2 left status
  shift 2
  grep -qx "$name" "$OUT/done" 2>/dev/null && return
  left=$((end - $(date +%s)))
  [ $left -lt 5 ] && { echo "$name: no time left"; return; }
  echo "== $name"
  timeout $((left < limit ? left : limit)) "$@" >"$OUT/$name.log" 2>&1
  status=$?
  tail -n 4 "$OUT/$name.log"
  if [ $status -eq 0 ]; then echo "$name" >>"$OUT/done"; else echo "$name: ended with $status"; fi
}

part parity 240 "$PYTHON" benchmarks/device_parity.py
if [ -n "$SMOKE" ]; then
  part training 240 "$PYTHON" benchmarks/bench_training.py --rounds 1 --steps 6
else
  part training 60 "$PYTHON" benchmarks/bench_training.py --json "$OUT/training.json"
  part implicit_training 60 "$PYTHON" benchmarks/bench_implicit_training.py --json "$OUT/implicit_training.json"
  part rrdb 60 "$PYTHON" benchmarks/bench_rrdb.py --json "$OUT/rrdb.json"
  part kernelgan 60 "$PYTHON" benchmarks/bench_kernelgan.py
  part resampling 30 "$PYTHON" benchmarks/bench_resampling.py
fi
left=$((end - $(date +%s) - 20)) # seconds to save and stop in
if [ $left -gt 0 ] && ! grep -qx train "$OUT/done" 2>/dev/null; then
  echo "== train $RECIPE at tier $TIER"
  "$PYTHON" -m restore_lib train "$RECIPE" --tier "$TIER" --folder "$RUNS/$RECIPE" --keep --checkpoints "$OUT/checkpoints" \
    --max-minutes "$(awk "BEGIN { print $left / 60 }")" --quiet | tee "$OUT/train.log"
  grep -q finished "$OUT/train.log" && echo train >>"$OUT/done"
  cp "$RUNS/$RECIPE/metrics.jsonl" "$OUT/" 2>/dev/null
fi
find "$OUT" -path "$RUNS" -prune -o -type f -size +16M -print | sed 's/^/too large: /'
echo "done: $(tr '\n' ' ' <"$OUT/done" 2>/dev/null)"
