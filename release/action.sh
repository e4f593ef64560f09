#!/usr/bin/env bash
# The step of action.yml: run the command through pgtrace, annotate, summarise, and fail where it says so. Inputs come as PGTRACE_ACTION_*.
set -euo pipefail

out=$(mktemp -d "${RUNNER_TEMP:-/tmp}/pgtrace-XXXXXX")
capture=$out/run.pgtrace
options=(-q -w "$capture")
[ -z "$PGTRACE_ACTION_UPSTREAM" ] || options+=(--upstream "$PGTRACE_ACTION_UPSTREAM")
[ "$PGTRACE_ACTION_CALL_SITES" != true ] || options+=(--call-sites)
[ -z "$PGTRACE_ACTION_REDACT" ] || options+=(--redact "$PGTRACE_ACTION_REDACT")
budgets=()
while IFS= read -r line; do
    line=${line//[[:space:]]/}
    [ -z "$line" ] || budgets+=(--max "$line")
done <<<"$PGTRACE_ACTION_MAX"
judged=()
[ -z "$PGTRACE_ACTION_FAIL_ON" ] || judged+=(--fail-on "$PGTRACE_ACTION_FAIL_ON")
[ -z "$PGTRACE_ACTION_BASELINE" ] || judged+=(--baseline "$PGTRACE_ACTION_BASELINE")

status=0
pgtrace run "${options[@]}" -- bash -eo pipefail -c "$PGTRACE_ACTION_RUN" || status=$?
[ -e "$capture" ] || exit "$status"

worst() { [ "$status" != 0 ] || status=$1; }
pgtrace advise -q --format sarif "$capture" >"$out/findings.sarif"
pgtrace export -q --to html "$capture" -o "$out/report.html"
{
    echo "capture=$capture"
    echo "report=$out/report.html"
    echo "sarif=$out/findings.sarif"
    echo "round-trips=$(pgtrace stats -q --json "$capture" | python3 -c 'import json, sys; print(json.load(sys.stdin)["totals"]["round_trips"])')"
} >>"$GITHUB_OUTPUT"
{
    echo "## PostgreSQL round trips"
    echo
    if [ ${#budgets[@]} != 0 ]; then
        pgtrace check -q --format markdown "${budgets[@]}" "$capture" || worst $?
        echo
    fi
    pgtrace export -q --to markdown "$capture"
} >>"$GITHUB_STEP_SUMMARY"
if [ ${#budgets[@]} != 0 ]; then
    pgtrace check -q --format github "${budgets[@]}" "$capture" || worst $?
fi
pgtrace advise -q --format github "${judged[@]}" "$capture" || worst $?
exit "$status"
