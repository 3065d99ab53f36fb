# Stages of one build, and builds side by side on one storage directory.
load common
setup() {
    common_setup
    tiny
    mkdir meet
}

# four NAME COMMAND writes a Dockerfile of four stages that run it.
four() {
    local i
    {
        for i in 1 2 3 4; do printf 'FROM tiny AS s%d\nRUN : %d; %s; echo %d >/n\n' $i $i "$1" $i; done
        echo "FROM tiny"
        for i in 1 2 3 4; do echo "COPY --from=s$i /n /n$i"; done
    } >Dockerfile
}

@test "independent stages are worked on at the same time" {
    # Each waits for the other to open its end of a pipe: one after the other
    # they would wait for ever.
    mkfifo meet/there meet/back
    dockerfile <<'EOF'
FROM tiny AS a
RUN echo hello >/meet/there; cat /meet/back >/heard
FROM tiny AS b
RUN cat /meet/there >/heard; echo bye >/meet/back
FROM tiny AS unneeded
RUN echo nobody listens >/meet/there
FROM tiny
COPY --from=a /heard /a
COPY --from=b /heard /b
EOF
    TIME_LIMIT=60 virga_run 0 build --jobs 2 -b "$PWD/meet:/meet" -t app .
    virga_run 0 run app -- cat /a /b
    prints "$(printf 'bye\nhello')"
}

@test "--jobs bounds them" {
    # A stage takes one of as many places as there are jobs, and fails if it
    # finds none.
    four 'mkdir /meet/1 || exit 1; for i in 1 2 3 4 5 6 7 8 9; do sleep 0.02; done; rmdir /meet/1'
    virga_run 0 build --jobs 1 -b "$PWD/meet:/meet" -t app .
    four 'p=1; mkdir /meet/1 2>/dev/null || { p=2; mkdir /meet/2; } || exit 1; sleep 0.1; rmdir /meet/$p'
    virga_run 0 build --jobs 2 -b "$PWD/meet:/meet" -t app .
    virga_run 0 run app -- cat /n1 /n2 /n3 /n4
    prints "$(printf '1\n2\n3\n4')"
    # The bound is used: with four, all four meet.
    four 'mkdir -p /meet/x; echo >/meet/x/$(cat /proc/sys/kernel/random/uuid); until [ $(ls /meet/x | wc -l) -ge 4 ]; do sleep 0.05; done'
    TIME_LIMIT=60 virga_run 0 build --jobs 4 -b "$PWD/meet:/meet" -t app .
}

@test "ten builds at once: none fails, what they share is computed once" {
    local i n
    for i in 0 1 2 3 4 5 6 7 8 9; do
        printf 'FROM tiny\nRUN echo x >>/meet/shared; sleep 0.2\nRUN echo %d >/mine\n' $i >Dockerfile.$i
        virga build -b "$PWD/meet:/meet" -t "app$i" -f Dockerfile.$i . >log.$i 2>&1 3>&- &
        pids[i]=$!
    done
    for i in 0 1 2 3 4 5 6 7 8 9; do
        wait "${pids[i]}" || { cat log.$i; false; }
    done
    [ "$(wc -l <meet/shared)" -eq 1 ]
    for n in 0 5 9; do
        virga_run 0 run "app$n" -- cat /mine
        prints "$n"
    done
    no_work_left
}

@test "builds at once that need one base pull it once" {
    local i
    for i in 0 1 2 3; do
        printf 'FROM %s/tiny\nLABEL n=%d\n' "$REGISTRY" $i >Dockerfile.$i
        virga build -s "$BATS_TEST_TMPDIR/fresh" -t "app$i" -f Dockerfile.$i . >log.$i 2>&1 3>&- &
        pids[i]=$!
    done
    for i in 0 1 2 3; do
        wait "${pids[i]}" || { cat log.$i; false; }
    done
    [ "$(cat log.? | grep -c transferring)" -eq 1 ]
    [ "$(find "$BATS_TEST_TMPDIR/fresh/trees" -mindepth 1 -maxdepth 1 | wc -l)" -eq 1 ]
}

@test "a build that dies at a step lets the next one do it" {
    mkfifo meet/go
    printf 'FROM tiny\nRUN echo x >>/meet/count; [ -e /meet/done ] || cat /meet/go; echo ok >/f\n' >Dockerfile
    virga build -b "$PWD/meet:/meet" -t first . >first 2>&1 3>&- &
    local one=$!
    wait_for 20 test -s meet/count
    virga build -b "$PWD/meet:/meet" -t second . >second 2>&1 3>&- &
    local two=$!
    wait_for 20 grep -q 'waiting for another build' second
    # Others do not wait meanwhile.
    TIME_LIMIT=10 virga_run 0 list
    TIME_LIMIT=10 virga_run 0 inspect tiny
    TIME_LIMIT=10 virga_run 0 tag tiny other
    TIME_LIMIT=10 virga_run 0 run other -- true
    touch meet/done
    kill -9 $one
    wait $two
    [ "$(wc -l <meet/count)" -eq 2 ]
    virga_run 0 run second -- cat /f
    prints ok
    virga_run 1 inspect first
    no_work_left
}
