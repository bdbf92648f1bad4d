#!/bin/sh
# Mirrors that are no program of ours: a relay fills itself from another relay within its disk, a static HTTPS server serves its
# folder, and a volunteer who trusts that server has its policies from there. One who does not trust it has them from the host.
# Usage: mirror_test.sh WAGGLE SOURCE_DIR
set -eu
. "$(dirname "$0")/lib.sh"
for tool in python3 openssl; do
  command -v $tool >/dev/null || { echo "skipped: no $tool"; exit 77; }
done
steps=orchestrator.steps=40
relay() { # relay NAME WHENCE...: sets relay_url
  name=$1
  shift
  start "$name" "$waggle" relay "$@" --listen 127.0.0.1:0 --folder "$dir/$name" --key "$dir/$name.key"
  wait_for "$dir/$name.log" 30 "relay on port"
  relay_url=http://127.0.0.1:$(sed -n 's/^relay on port \([0-9]*\),.*/\1/p' "$dir/$name.log")
}

local_run --set $steps
host run "$source/tests/run/tiny.toml" --set $steps --out "$dir/run"
invite_of "$dir/run"
disk=300000
relay first "$invite"
relay second --from "$relay_url" --disk $disk

openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
  -keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null
cat >"$dir/server.py" <<'PYTHON'
import functools, http.server, ssl, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
server.socket = context.wrap_socket(server.socket, server_side=True)
print("port", server.server_address[1])
server.serve_forever()
PYTHON
start server python3 -u "$dir/server.py" "$dir/second" "$dir/cert.pem" "$dir/key.pem"
wait_for "$dir/server.log" 30 "port"
url=https://localhost:$(sed -n 's/^port //p' "$dir/server.log")
full=$(ls "$dir"/run/policies | sed -n 's/^full-//p' | sort -n | tail -n 1)
has_newest() { [ -s "$dir/second/blob/$(sha256sum "$dir/run/policies/full-$full/manifest.bin" | cut -d' ' -f1)" ]; }
until_true 30 "the second relay has not got the snapshot" has_newest

SSL_CERT_FILE=$dir/cert.pem volunteer trusting one --relay "$url"
trusting=$volunteer_pid
volunteer doubting two --relay "$url"
doubting=$volunteer_pid
wait "$host_pid" || fail "the host"
[ "$(hash_of "$dir/run")" = "$expected" ] || fail "weights $(hash_of "$dir/run"), the local run's are $expected"
wait "$trusting" || fail "the volunteer that trusts the server"
wait "$doubting" || fail "the volunteer that does not"
[ "$(from_mirrors trusting)" -gt 0 ] || fail "nothing came over HTTPS"
[ "$(from_mirrors doubting)" -eq 0 ] || fail "bytes from a server that nobody vouches for"
[ "$(from_host doubting)" -gt 0 ] || fail "the doubting one had its policies from nowhere"
kept=$(cat "$dir"/second/blob/* | wc -c)
[ "$kept" -le $disk ] || fail "the relay keeps $kept bytes, it may keep $disk"
echo "same weights: $expected; $(from_mirrors trusting) bytes over HTTPS, the second relay keeps $kept"
