#!/usr/bin/env bash
# waggle calibrate on a recipe and on a model: both distributions, thresholds and error rates in one file; the same bytes on any
# number of threads; mistakes that are named.
# Usage: calibrate_test.sh WAGGLE SOURCE_DIR
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$dir"

options=(--tasks 6 --samples 2 --max-tokens 34)
"$waggle" calibrate "$source/tests/run/tiny.toml" "${options[@]}" --threads 2 --out two.json > two.log 2> two.err || { cat two.err; fail "a recipe"; }
"$waggle" calibrate "$source/tests/run/tiny.toml" "${options[@]}" --threads 1 --out one.json > one.log 2> one.err || { cat one.err; fail "a recipe"; }
cmp one.json two.json || fail "the number of threads shows in the thresholds"
grep -q "warning: grail-v5: the published limits are above the 0.1 % quantile of the null" two.log || fail "no warning of a void tolerance"
grep -q "honest rollouts on other engines, calibration wants 200" two.log || fail "no warning of too few rollouts"

python3 - two.json <<'PYTHON' || fail "what the file says"
import json, sys
report = json.load(open(sys.argv[1]))
schemes = {s["name"]: s for s in report["schemes"]}
assert len(schemes) == 11, schemes.keys()
def case(scheme, name):
    return next(c for c in schemes[scheme]["cases"] if c["case"] == name)
for name, scheme in schemes.items():
    for statistic in scheme["statistics"]:
        assert statistic["published"] is not None and statistic["calibrated"] is not None, name
    for c in scheme["cases"]:
        assert len(c["histogram"]) == len(report["histogram_edges"]) + 1
        assert sum(c["histogram"]) == c["units"], (name, c["case"])
    if name not in ("sampling", "grail-distribution"):
        assert all(q["max"] == 0 for q in case(name, "canonical")["quantiles"]), name
assert case("grail-v5", "zero-states")["accepted_published"] == 1  # nobody computed anything
assert case("toploc+", "zero-states")["refused"] == 12
assert case("dense", "unrelated")["accepted_calibrated"] == 0
assert case("dense", "draft")["blind"] and not case("race", "draft")["blind"]
assert len(report["nodes"]) == 17
PYTHON

# A model of somebody's, fewer cases, the short table.
"$waggle" run "$source/tests/run/tiny.toml" --out tiny --quiet > /dev/null
"$waggle" calibrate tiny/model --env reverse --tasks 4 --samples 1 --pairs fast-tiles --cases unrelated,no-layer \
  --schemes dense,race --brief > brief.log 2> brief.err || { cat brief.err; fail "a model"; }
[ "$(grep -cE '^(dense|race) ' brief.log)" = 2 ] || fail "the short table"
[ "$(grep -cE '^[a-z-]+ +[0-9]+ rollouts' brief.err)" = 4 ] || fail "other cases than asked for"

# Records of nodes: honest engines are never found, an answer that is not the key's soon is.
"$waggle" calibrate "$source/tests/run/tiny.toml" --records 60 --tasks 6 --samples 4 --record-tolerance 0.01 --pairs fast-tiles \
  --cases best-of-2 --out records.json > records.log 2> records.err || { cat records.err; fail "records"; }
python3 - records.json <<'PYTHON' || fail "what records find"
import json, sys
records = {r["case"]: r for r in json.load(open(sys.argv[1]))["records"]}
assert set(records) == {"canonical", "fast-tiles", "best-of-2"}, records.keys()
assert all(r["groups"] == 60 and r["findings"] == 0 for r in records.values() if r["honest"]), records
assert records["best-of-2"]["findings"] > 0 and "race" in records["best-of-2"]["by"], records
PYTHON

refuses() { # refuses WORDS ARGUMENTS...
  words=$1
  shift
  if "$waggle" calibrate "$@" > no.log 2>&1; then fail "accepted: $*"; fi
  grep -q -- "$words" no.log || fail "no '$words' for: $*"
}
refuses "no case 'nonsense': there are canonical, fast-splitk" "$source/tests/run/tiny.toml" --cases nonsense
refuses "no case 'draft' of records: there are canonical" "$source/tests/run/tiny.toml" --records 5 --cases draft
refuses "there are toploc, toploc+" "$source/tests/run/tiny.toml" --schemes sketch
refuses "a model alone has no tasks" tiny/model
refuses "no-such-model" no-such-model --env reverse
refuses "temperature" "$source/tests/run/tiny.toml" --temperature 0
echo "calibrate: fine"
