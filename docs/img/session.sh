#!/bin/bash
# session.sh - draw a terminal in which virga builds: docs/img/session.svg
#
# usage: session.sh VIRGA >session.svg
#
# A real one: tmux runs the commands, and what it shows is drawn, once in the
# middle of the build and once at the end. Needs tmux, and debian:bookworm in
# storage or a registry to pull it from. To be run as a normal user.
set -euo pipefail

[ $# -eq 1 ] || {
    echo "usage: session.sh VIRGA >session.svg" >&2
    exit 2
}
virga=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
tmux() { command tmux -L "virga-session-$$" -f /dev/null "$@"; }
end() {
    tmux kill-server 2>/dev/null || true
    "$virga" --storage "$work/storage" reset 2>/dev/null || true
    rm -rf "$work"
}
trap end EXIT

# screen_has PATTERN waits until the screen shows it.
screen_has() {
    local end=$((SECONDS + 120))
    until tmux capture-pane -p | grep -qE "$1"; do
        [ $SECONDS -lt $end ] || {
            echo "session.sh: the screen does not show $1:" >&2
            tmux capture-pane -p >&2
            exit 1
        }
        sleep 0.1
    done
}

# type_in COMMAND is as if somebody had typed it.
type_in() { tmux send-keys -l "$1" && tmux send-keys Enter; }

# shot FILE keeps what the screen shows, without empty lines at its end.
shot() { tmux capture-pane -e -p | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' >"$1"; }

mkdir "$work/hello" "$work/bin"
ln -s "$virga" "$work/bin/virga"
cd "$work/hello"
printf '#include <stdio.h>\nint main(void) { puts("Hello!"); return 0; }\n' >hello.c
cat >Dockerfile <<'END'
FROM debian:bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev
COPY hello.c .
RUN gcc -static -o /hello hello.c
FROM debian:bookworm AS docs
RUN for i in $(seq 100); do echo "page $i"; sleep 0.2; done >/pages
FROM scratch
COPY --from=docs /pages /pages
COPY --from=build /hello /hello
ENTRYPOINT ["/hello"]
END
# A storage directory of its own, so that nothing is in the cache.
"$virga" list | grep -qx debian:bookworm || "$virga" pull -q debian:bookworm
"$virga" save -q debian:bookworm | "$virga" --storage "$work/storage" load -q >/dev/null

tmux new-session -d -x 96 -y 26 "env PATH='$work/bin:$PATH' VIRGA_STORAGE='$work/storage' PS1='\$ ' bash --norc"
screen_has '^\$'
type_in 'cat Dockerfile && virga build -t hello .'
screen_has '(Unpacking|Setting up) '
shot "$work/1"
screen_has '^grown in '
type_in clear
sleep 0.5
type_in 'virga build -t hello . && virga run hello && virga history hello'
screen_has 'CREATED BY'
shot "$work/2"
awk -f "$here/session.awk" "$work/1" "$work/2"
