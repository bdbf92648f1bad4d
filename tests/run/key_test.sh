#!/usr/bin/env bash
# `waggle key` as people use it: created once, shown, backed up on paper, restored elsewhere; never lost by accident and
# never left open to others.
# Usage: key_test.sh WAGGLE SOURCE_DIR
set -euo pipefail
waggle=$(realpath "$1") failures=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
export XDG_CONFIG_HOME=$scratch/config
fail() { echo "FAILED: $*"; failures=1; }
refuse() {  # refuse TEXT COMMAND...
  local text=$1 code=0; shift
  "$@" > log 2>&1 < /dev/null || code=$?
  if [ "$code" -ne 2 ] || ! grep -qF -- "$text" log; then cat log; fail "$*: exit code $code, wanted 2 and '$text'"; fi
}
address() { sed -n 's/^address  //p'; }

(umask 0; "$waggle" key create > created)
file=$XDG_CONFIG_HOME/waggle/node.key
[ "$(stat -c %a "$file")" = 600 ] || fail "mode of the key file"
mine=$(address < created)
[[ $mine =~ ^wgl1[a-z0-9]{58}$ ]] || fail "address '$mine'"
[ "$("$waggle" key show | address)" = "$mine" ] || fail "show"

refuse "exists already" "$waggle" key create
[ "$("$waggle" key show | address)" = "$mine" ] || fail "a refused create changed the key"

"$waggle" key backup > paper 2> note
[ "$(wc -l < paper)" -eq 1 ] || fail "a backup is one line"
if grep -q wglkey1 note; then fail "the secret is in the remarks too"; fi
"$waggle" key restore --file restored.key < paper > restored
[ "$(address < restored)" = "$mine" ] || fail "restore"
tr 'a-z' 'A-Z' < paper | tr -d ' ' | "$waggle" key restore --file shouted.key > /dev/null || fail "restore in upper case"
sed 's/.$//; s/ \(.\)\(.\)/ \2\1/3' paper > typo
code=0; "$waggle" key restore --file typo.key < typo > log 2>&1 || code=$?
[ "$code" -eq 2 ] && [ ! -e typo.key ] || fail "a typo was accepted"
if grep -q "$(cut -d' ' -f2 paper)" log; then fail "a refusal quotes the secret"; fi

chmod 644 restored.key
refuse "chmod 600 restored.key" "$waggle" key show --file restored.key
refuse "chmod 600 restored.key" "$waggle" key backup --file restored.key

echo "correct horse" > words
"$waggle" key create --file sealed.key --passphrase-file words > sealed
grep -q "sealed with a passphrase" sealed || fail "sealed"
if grep -q "^seed" sealed.key; then fail "the seed lies open"; fi
[ "$("$waggle" key show --file sealed.key | address)" = "$(address < sealed)" ] || fail "show needs no passphrase"
"$waggle" key backup --file sealed.key --passphrase-file words 2> /dev/null | grep -q '^wglkey1 ' || fail "backup of a sealed key"
echo "wrong horse" > other
refuse "not its passphrase" "$waggle" key backup --file sealed.key --passphrase-file other
refuse "--passphrase-file" "$waggle" key backup --file sealed.key

"$waggle" key create --force > replaced
[ "$(address < replaced)" != "$mine" ] || fail "--force makes a new key"
refuse "waggle key create" "$waggle" key show --file nowhere.key
exit "$failures"
