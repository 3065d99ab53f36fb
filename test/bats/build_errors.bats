# build, when it fails: one clear error, nothing half-made.
load common
setup() { common_setup; }

# leaves_nothing demands that the failed build left no image but tiny.
leaves_nothing() {
    [ "$(virga list | grep -v '^tiny:latest$')" = "" ]
    no_work_left "$@"
}

@test "a RUN that fails: its command, status and line" {
    tiny
    dockerfile <<<$'FROM tiny\n\nRUN echo before && \\\n    exit 7'
    virga_run 1 build -t app .
    fails "Dockerfile:3" RUN 7
    says "before"
    leaves_nothing
}

@test "a RUN that a signal ends" {
    tiny
    dockerfile <<<$'FROM tiny\nRUN sh -c "kill -KILL \\$\\$"; exit $?'
    virga_run 1 build -t app .
    fails "Dockerfile:2" RUN 137
    leaves_nothing
}

@test "a RUN without its program" {
    tiny
    dockerfile <<<$'FROM tiny\nRUN ["/no/such/program"]'
    virga_run 1 build -t app .
    fails "Dockerfile:2" RUN "/no/such/program"
    leaves_nothing
}

@test "an unknown instruction: line, column, caret, suggestion" {
    dockerfile <<<$'FROM tiny\n  RNU echo x'
    virga_run 1 build -t app .
    fails 'Dockerfile:2:3: unknown instruction "RNU"'
    says 'RNU echo x'
    grep -qE '^ +\| +\^$' <<<"$stderr"
    hints RUN
}

@test "every error of a Dockerfile is shown" {
    dockerfile <<<$'FROM tiny\nRNU x\nCOPY onlyone\nWORKDIR'
    virga_run 1 build -t app .
    [ "$(grep -c '^virga: error: Dockerfile:' <<<"$stderr")" -ge 3 ]
}

@test "no FROM, an empty file, a missing file" {
    dockerfile <<<'RUN true'
    virga_run 1 build -t app .
    fails "Dockerfile:1" FROM
    : >Dockerfile
    virga_run 1 build -t app .
    fails Dockerfile
    rm Dockerfile
    virga_run 1 build -t app .
    fails Dockerfile
    hints -f
    virga_run 1 build -t app -f nope .
    fails nope "no such file"
    virga_run 1 build -t app nowhere
    fails nowhere
}

@test "a source outside the context" {
    tiny
    mkdir ctx
    echo secret >outside
    printf 'FROM tiny\nCOPY ../outside /x\n' >ctx/Dockerfile
    virga_run 1 build -t app ctx
    fails "Dockerfile:2" COPY '../outside'
    leaves_nothing
}

@test "a link that leaves the context is not followed" {
    tiny
    mkdir ctx
    echo very-secret-4711 >outside
    ln -s ../outside ctx/link
    printf 'FROM tiny\nCOPY link/ /x\n' >ctx/Dockerfile
    run --separate-stderr virga build -t app ctx
    ! grep -rqs very-secret-4711 "$VIRGA_STORAGE/trees"
}

@test "a source that is not there" {
    tiny
    dockerfile <<<$'FROM tiny\nCOPY nope /x'
    virga_run 1 build -t app .
    fails "Dockerfile:2" COPY nope
    leaves_nothing
}

@test "COPY without a context" {
    tiny
    virga_run 1 build -t app - <<<$'FROM tiny\nCOPY x /x'
    fails ":2: COPY" "no build context"
}

@test "an unknown base image, an unreachable registry" {
    dockerfile <<<"FROM $REGISTRY/nothing:1"
    virga_run 1 build -t app .
    fails "$REGISTRY/nothing:1" "not found"
    leaves_nothing
    dockerfile <<<"FROM 127.0.0.1:$(free_port)/x"
    virga_run 1 build -t app .
    fails refused
    leaves_nothing
}

@test "an unknown stage" {
    tiny
    dockerfile <<<$'FROM tiny\nCOPY --from=nope /x /x'
    virga_run 1 build -t app .
    fails "Dockerfile:2" COPY nope
    dockerfile <<<$'FROM tiny\nCOPY --from=7 /x /x'
    virga_run 1 build -t app .
    fails "Dockerfile:2" 7
}

@test "a failing build keeps the image of that name and the good steps" {
    tiny
    dockerfile <<<$'FROM tiny\nRUN cat /proc/sys/kernel/random/uuid >/when'
    virga build -t app . 2>/dev/null
    local when
    when=$(virga run app -- cat /when)
    dockerfile <<<$'FROM tiny\nRUN cat /proc/sys/kernel/random/uuid >/when\nRUN false'
    virga_run 1 build -t app .
    fails "Dockerfile:3"
    [ "$(virga run app -- cat /when)" = "$when" ]
}

@test "one of two stages fails: one error" {
    tiny
    dockerfile <<'EOF'
FROM tiny AS slow
RUN sleep 60
FROM tiny AS bad
RUN exit 3
FROM tiny
COPY --from=slow /etc/passwd /a
COPY --from=bad /etc/passwd /b
EOF
    SECONDS=0
    virga_run 1 build -t app --jobs 4 .
    fails "Dockerfile:4" RUN
    [ $SECONDS -lt 30 ]
    leaves_nothing 'sleep 60'
}

@test "Ctrl-C in the middle of RUN: status 1, no process, no image" {
    tiny
    dockerfile <<<$'FROM tiny\nRUN trap "" INT TERM; sleep 4244'
    env --default-signal=INT virga build -t app . 2>err 3>&- &
    local pid=$!
    wait_for 20 pgrep -f 'sleep 4244'
    kill -INT $pid
    status=0
    wait $pid || status=$?
    output='' stderr=$(cat err)
    [ $status -eq 1 ]
    fails interrupted
    leaves_nothing 'sleep 4244'
}

@test "killed without a chance: the next one cleans up" {
    tiny
    dockerfile <<<$'FROM tiny\nRUN sleep 4245'
    virga build -t app . 2>err 3>&- &
    local pid=$!
    wait_for 20 pgrep -f 'sleep 4245'
    kill -KILL $pid
    wait $pid || true
    ended 'sleep 4245'
    virga_run 0 list
    prints tiny:latest
    leaves_nothing
}

@test "a full disk in RUN" {
    tiny
    mkdir small
    dockerfile <<<$'FROM tiny\nRUN dd if=/dev/zero of=/big bs=1M count=100'
    run --separate-stderr unshare --user --map-root-user --mount sh -c '
        mount -t tmpfs -o size=24m none small || exit 77
        virga -s small/st import "$1" tiny &&
        virga -s small/st build -t app .; status=$?
        virga -s small/st list
        exit $status' - "$SUITE_DIR/tiny.tar"
    [ "$status" -ne 77 ] || missing "a tmpfs in a user namespace"
    [ "$status" -eq 1 ]
    fails "Dockerfile:2" RUN
    says "No space left on device"
    prints tiny:latest
}

@test "user namespaces forbidden: what the site must set" {
    tiny
    dockerfile <<<$'FROM tiny\nRUN true'
    # The limit is a property of each namespace: ours gets its own, with none left.
    run --separate-stderr unshare --user --map-root-user sh -c '
        echo 0 >/proc/sys/user/max_user_namespaces 2>/dev/null || exit 77
        exec virga build -t app .'
    [ "$status" -ne 77 ] || missing "a user namespace with its own limit"
    [ "$status" -eq 1 ]
    fails "user namespace"
    hints "user.max_user_namespaces"
}

@test "--isolation chroot as a normal user: one line why not" {
    [ "$(id -u)" -ne 0 ] || skip "this is root"
    tiny
    dockerfile <<<$'FROM tiny\nRUN true'
    virga_run 1 --isolation chroot build -t app .
    fails root
    leaves_nothing
}
