# What tests of refereed delegation share: . it after lib.sh, with $cheat (the program that lies) and $recipe set.

field() { # field FILE NAME: of a JSON file, with what is on every machine
  sed -n "s/.*\"$2\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}\$/\1/p" "$1" | head -1
}
answer() { # answer NAME THREADS [OPTION...]: sets invite_NAME
  name=$1 threads=$2
  shift 2
  start "answer-$name" "$waggle" answer "$dir/$name" --listen 127.0.0.1:0 --key "$dir/$name.key" --threads "$threads" --quiet "$@"
  wait_for "$dir/answer-$name.log" 60 waggle://
  eval "invite_$name=\$(grep -o 'waggle://.*' \"\$dir/answer-$name.log\" | head -1)"
}
liar() { # liar NAME ARGUMENT...: those of $cheat after recipe and folder; sets invite_NAME
  name=$1
  shift
  start "liar-$name" "$cheat" "$recipe" "$dir/$name" "$@"
  wait_for "$dir/$name/invite.txt" 60
  eval "invite_$name=\$(cat \"\$dir/$name/invite.txt\")"
}
referee_key=referee
referee() { # referee OUT OPTION...: sets out and code
  out=$dir/$1
  shift
  code=0
  "$waggle" referee --recipe "$recipe" --out "$out" --key "$dir/$referee_key.key" "$@" >"$out.log" 2>"$out.err" || code=$?
}
