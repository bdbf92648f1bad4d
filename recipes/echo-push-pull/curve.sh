#!/bin/sh
# Draws the runs of staleness.sh as one SVG: held-out accuracy over steps, a colour for each age, seeds alike.
#
#   recipes/echo-push-pull/curve.sh RATE > curve.svg        Environment: OUT as in staleness.sh
set -eu
rate=$1 out=${OUT:-runs/staleness}
for run in "$out/lr$rate"-a*-s*/; do
  age=${run##*-a}
  sed -n 's/^{"step":\([0-9]*\),.*"accuracy":\([0-9.e-]*\),.*/\1 \2/p' "$run/evaluations.jsonl" |
    awk -v run="$run" -v age="${age%%-s*}" '{ print run, age, $1, $2 }'
done | awk -v rate="$rate" '
  function x(step) { return 50 + 420 * step / 80 }
  function y(share) { return 240 - 210 * share }
  BEGIN {
    split("0 #1a7f37 4 #b45309 11 #b3261e", c, " ")
    for (i = 1; i < 6; i += 2) color[c[i]] = c[i + 1]
    print "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 560 280\" font-family=\"sans-serif\" font-size=\"11\">"
    print "<rect width=\"560\" height=\"280\" fill=\"#fff\"/>"
    printf "<text x=\"50\" y=\"18\">held-out accuracy, learning rate %s, by how old the batches are</text>\n", rate
    for (s = 0; s <= 1; s += 0.25) {
      printf "<path d=\"M50 %g H470\" stroke=\"#ddd\"/><text x=\"14\" y=\"%g\">%d %%</text>\n", y(s), y(s) + 4, 100 * s
    }
    for (s = 0; s <= 80; s += 20) printf "<text x=\"%g\" y=\"258\">%d</text>\n", x(s) - 6, s
    print "<text x=\"240\" y=\"274\">step</text>"
  }
  $1 != last { if (last) print "\"/>"; last = $1; printf "<polyline fill=\"none\" stroke-width=\"1.6\" stroke=\"%s\" points=\"", color[$2]; seen[$2] = 1 }
  { printf "%.1f,%.1f ", x($3), y($4) }
  END {
    if (last) print "\"/>"
    for (i = 1; i < 6; i += 2) if (seen[c[i]]) printf "<text x=\"478\" y=\"%d\" fill=\"%s\">%s old</text>\n", 60 + 10 * i, color[c[i]], c[i] == 0 ? "0 versions" : c[i] " versions"
    print "</svg>"
  }'
