# run and shell.
load common
setup() { common_setup; tiny; }

# app builds ./Dockerfile from standard input as app.
app() {
    cat >Dockerfile
    virga build -t app . >log 2>&1 || { cat log; return 1; }
}

@test "a command, with and without --" {
    virga_run 0 run tiny -- echo a b
    prints "a b"
    virga_run 0 run tiny echo -n x
    prints x
    virga_run 0 run tiny echo -- -v
    prints "-- -v"
}

@test "the exit status is the program's" {
    virga_run 7 run tiny -- sh -c 'exit 7'
    [ -z "$stderr" ]
    virga_run 143 run tiny -- sh -c 'kill -TERM $$'
    virga_run 137 run tiny -- sh -c 'kill -KILL $$'
}

@test "125, 126, 127" {
    virga_run 125 run nothing -- true
    fails nothing "not in storage"
    virga_run 126 run tiny -- /etc/passwd
    fails /etc/passwd
    virga_run 127 run tiny -- no-such-program
    fails no-such-program
    virga_run 125 run -c /nowhere tiny -- true
    fails /nowhere
    virga_run 125 run -b /nowhere:/mnt tiny -- true
    fails /nowhere
}

@test "without a command: ENTRYPOINT, CMD, ENV, WORKDIR" {
    app <<'EOF'
FROM tiny
ENV GREETING="good day"
WORKDIR /where
ENTRYPOINT ["sh", "-c", "echo $GREETING; pwd; echo $0 $@"]
CMD ["a", "b"]
EOF
    virga_run 0 run app
    prints "$(printf 'good day\n/where\na b')"
    virga_run 0 run --entrypoint /bin/echo app -- x
    prints x
    app <<<$'FROM tiny\nCMD echo only cmd'
    virga_run 0 run app
    prints "only cmd"
    app <<<$'FROM tiny\nENTRYPOINT []\nCMD []'
    virga_run 125 run app
    fails "no ENTRYPOINT or CMD"
}

@test "arguments: ENTRYPOINT gets them in place of CMD, as with docker" {
    app <<<$'FROM tiny\nENTRYPOINT ["/bin/echo", "entry"]\nCMD ["cmd"]'
    virga_run 0 run app
    prints 'entry cmd'
    virga_run 0 run app a -b
    prints 'entry a -b'
    virga_run 0 run app -- a
    prints 'entry a'
    virga_run 0 run --force app a
    prints 'entry a'
    virga_run 0 run --entrypoint /bin/echo app
    prints ''
    virga_run 0 run --entrypoint= app echo x
    prints x
    virga_run 0 shell app <<<'echo in a shell'
    prints 'in a shell'
    app <<<$'FROM tiny\nCMD ["echo", "cmd"]'
    virga_run 0 run app echo other
    prints other
    # Not where a build failed: what is given there is the program.
    dockerfile <<<$'FROM tiny\nENTRYPOINT ["/bin/echo", "entry"]\nRUN exit 1'
    virga_run 1 build -t no .
    virga_run 0 run --state "$(sed -n 's/^hint: .*run --state //p' <<<"$stderr")" echo there
    prints there
}

@test "the caller's name, files and network are there" {
    virga_run 0 run tiny -- id -un
    prints "$(id -un)"
    virga_run 0 run tiny -- id -u
    prints "$(id -u)"
    virga_run 0 run -u 0 -g 0 tiny -- id -u
    prints 0
}

@test "the image is read-only, -w writes, -W forgets" {
    virga_run 1 run tiny -- touch /etc/x
    virga_run 0 run -W tiny -- sh -c 'touch /etc/x && ls /etc/x'
    prints /etc/x
    virga_run 1 run tiny -- ls /etc/x
}

@test "an image in a directory" {
    virga unpack -o d tiny
    virga_run 0 run ./d -- echo dir
    prints dir
    virga_run 0 run -w ./d -- touch /etc/new
    [ -e d/etc/new ]
}

@test "--bind, --cd, --env, --env-file, --set-env, --unset-env" {
    mkdir h && echo x >h/f
    virga_run 0 run -b "$PWD/h:/mnt" -c /mnt tiny -- cat f
    prints x
    virga_run 1 run -b "$PWD/h:/mnt:ro" tiny -- touch /mnt/g
    virga_run 0 run --env A=1 --env B='2 3' tiny -- sh -c 'echo "$A,$B"'
    prints "1,2 3"
    printf '# c\nA=file\n' >vars
    virga_run 0 run --env-file vars --env C=3 tiny -- sh -c 'echo "$A$C"'
    prints file3
    export FOO_A=1 FOO_B=2
    virga_run 0 run --unset-env 'FOO_*' --set-env=FOO_C=3 tiny -- sh -c 'env | grep ^FOO_'
    prints FOO_C=3
    app <<<$'FROM tiny\nENV OF_IMAGE=yes'
    virga_run 0 run app -- sh -c 'echo $OF_IMAGE'
    prints yes
}

@test "a container in a container, of an image on the same base" {
    app <<<$'FROM tiny\nRUN echo inner >/which'
    virga build -q -t outer - <<<$'FROM tiny\nRUN echo outer >/which'
    local bin
    bin=$(dirname "$(command -v virga)")
    for image in tiny outer app; do
        virga_run 0 run -b "$VIRGA_STORAGE" -b "$bin" --env "VIRGA_STORAGE=$VIRGA_STORAGE" "$image" -- "$bin/virga" run app -- cat /which
        prints inner
    done
}

@test "standard input, output and error are the caller's" {
    run --separate-stderr virga run tiny -- sh -c 'cat; echo err >&2' <<<in
    [ "$status" -eq 0 ]
    prints in
    [ "$stderr" = err ]
    [ "$(printf 'b\na\n' | virga run tiny -- sort | virga run tiny -- head -1)" = a ]
}

@test "signals reach the program" {
    local sig
    for sig in INT TERM HUP USR1; do
        env --default-signal=INT,HUP virga run tiny -- sh -c "trap 'echo got; exit 5' $sig; echo ready; while :; do sleep 0.1; done" >out 2>err 3>&- &
        local pid=$!
        wait_for 10 grep -q ready out
        kill -$sig $pid
        status=0
        wait $pid || status=$?
        [ $status -eq 5 ]
        grep -q got out
    done
}

@test "killed, it leaves no process" {
    virga run tiny -- sleep 4246 3>&- &
    local pid=$!
    wait_for 10 pgrep -f 'sleep 4246'
    kill -KILL $pid
    wait $pid || true
    ended 'sleep 4246'
}

@test "a terminal: size, Ctrl-C, job control" {
    local out
    out=$(script -qec "stty rows 33 cols 77; virga run tiny -- sh -c 'stty size; tty'" /dev/null </dev/null | tr -d '\r')
    [[ $out == *"33 77"* && $out != *"not a tty"* ]]
    out=$({ wait_for 20 grep -q '^ready' typed; printf '\003'; sleep 1; } | timeout 60 env --default-signal=INT script -qefc "trap : INT; virga run tiny -- sh -c 'trap \"echo caught; exit 9\" INT; echo ready; while :; do sleep 0.1; done'; echo status=\$?" typed | tr -d '\r')
    [[ $out == *caught* && $out == *status=9* ]]
}

@test "shell" {
    run --separate-stderr virga shell tiny <<<'echo from the shell'
    prints "from the shell"
    app <<<$'FROM tiny\nSHELL ["/bin/busybox", "ash", "-c"]'
    run --separate-stderr virga shell app <<<'echo $0'
    prints_like "*ash*"
}

@test "many at once" {
    local i pids=()
    for i in 1 2 3 4 5 6 7 8; do
        virga run tiny -- echo $i >out$i &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i"; done
    [ "$(cat out? | sort | tr -d '\n')" = 12345678 ]
}

@test "wrong usage" {
    virga_run 2 run
    fails "IMAGE is missing"
    virga_run 2 run --nope tiny -- true
    fails "unknown option --nope"
    virga_run 2 run -w -W tiny -- true
    fails "exclude each other"
}
