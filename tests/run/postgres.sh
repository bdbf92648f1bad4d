# A PostgreSQL of a script's own, on a Unix socket: . tests/run/postgres.sh, then database_begin and, at the end, database_end.
# Sets store, what --store takes. Exits with 77 where PostgreSQL 15 is not installed.
pg_bin=/usr/lib/postgresql/15/bin
[ -x $pg_bin/initdb ] || { echo "PostgreSQL 15 is not installed"; exit 77; }
as_server() { # the server refuses to be root
  if [ "$(id -u)" = 0 ]; then (cd / && setpriv --reuid=postgres --regid=postgres --clear-groups "$@"); else "$@"; fi
}
database() { # database start|restart|stop, as by a power cut
  as_server $pg_bin/pg_ctl -D "$pg/data" -l "$pg/log" -m immediate -w \
    -o "-c listen_addresses='' -c unix_socket_directories=$pg -c fsync=${pg_fsync:-off}" "$1" >/dev/null
}
database_begin() {
  pg=$(mktemp -d /tmp/waggle_pg.XXXXXX)
  [ "$(id -u)" != 0 ] || chown postgres "$pg"
  as_server $pg_bin/initdb -D "$pg/data" -U waggle --auth=trust --no-sync --no-instructions >/dev/null
  database start
  $pg_bin/createdb -h "$pg" -U waggle run
  store="postgresql://waggle@/run?host=$pg"
}
database_end() {
  database stop 2>/dev/null || true
  rm -rf "$pg"
}
ask_database() { $pg_bin/psql -h "$pg" -U waggle -Atc "$1" run; }
