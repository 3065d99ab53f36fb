# build: every instruction of the main job.
load common
setup() { common_setup; tiny; }

# build [OPTION]... builds the context in . as app.
build() { virga_run 0 build -t app "$@" .; }

@test "RUN in shell and exec form, as root, in its own namespaces" {
    dockerfile <<'EOF'
FROM tiny
RUN id -u >/uid && id -g >>/uid && echo $$ >/pid
RUN ["sh", "-c", "echo exec >/exec"]
RUN ["/bin/touch", "/a b"]
EOF
    build
    virga_run 0 run app -- cat /uid /exec
    prints "$(printf '0\n0\nexec')"
    virga_run 0 run app -- ls -d "/a b"
    # A PID namespace of its own: the shell has a small number.
    [ "$(virga run app -- cat /pid)" -lt 10 ]
}

@test "nothing that RUN starts survives it" {
    dockerfile <<'EOF'
FROM tiny
RUN sleep 4243 & echo started
RUN ! ps | grep '[s]leep 4243'
EOF
    build
    no_work_left 'sleep 4243'
}

@test "ARG, ENV and substitution" {
    dockerfile <<'EOF'
ARG BASE=tiny
FROM ${BASE}:latest
ARG A=default
ARG B
ENV C=$A-${B:-none} D="two words" E=\$literal
ENV OLD style value
RUN echo "$A|$B|$C|$D|$E|$OLD" >/vars
WORKDIR /w/${A}
RUN pwd >/pwd
EOF
    build
    virga_run 0 run app -- cat /vars /pwd
    prints "$(printf 'default||default-none|two words|$literal|style value\n/w/default')"
    build --build-arg A=x --build-arg B=1=2,3
    virga_run 0 run app -- cat /vars /pwd
    prints "$(printf 'x|1=2,3|x-1=2,3|two words|$literal|style value\n/w/x')"
    B=fromenv build --build-arg B
    virga_run 0 run app -- sh -c 'cut -d"|" -f2 /vars; echo $C'
    prints "$(printf 'fromenv\ndefault-fromenv')"
}

@test "comments, continuation lines, here-documents" {
    printf '# comment\n\nFROM tiny\nRUN echo one \\\n  # inside\n\n  two \\  \n three >/f\n  # indented comment\nrun <<EOF\necho a >/g\necho b >>/g\nEOF\nCOPY <<X /h\ntext\nX\n' | dockerfile
    build
    virga_run 0 run app -- cat /f /g /h
    prints "$(printf 'one two three\na\nb\ntext')"
}

@test "COPY: files, directories, wildcards, names with blanks" {
    mkdir -p d/sub 'e f'
    echo 1 >one.txt && echo 2 >two.txt && echo s >d/sub/s && echo x >d/x && echo b >'e f/g h'
    ln -s x d/link
    chmod 750 d/sub
    chmod 4755 two.txt
    dockerfile <<'EOF'
FROM tiny
COPY one.txt /a
COPY one.txt two.txt /dir/
COPY *.txt /glob/
COPY d /tree
COPY d/ /tree2/
COPY ["e f/g h", "/i j/"]
WORKDIR /work
COPY o*e.txt rel/
EOF
    build
    virga_run 0 run app -- sh -c 'cat /a /dir/one.txt /dir/two.txt /glob/two.txt /tree/sub/s /tree2/x "/i j/g h" /work/rel/one.txt; readlink /tree/link; stat -c %a /tree/sub'
    prints "$(printf '1\n1\n2\n2\ns\nx\nb\n1\nx\n750')"
}

@test "COPY --from another stage and image; --chmod" {
    dockerfile <<'EOF'
FROM tiny AS one
RUN mkdir /out && echo made >/out/file
FROM tiny
COPY --from=one /out/file /file
COPY --from=0 --chmod=700 /out /out
COPY --from=tiny /etc/passwd /passwd
EOF
    build
    virga_run 0 run app -- sh -c 'cat /file /out/file; head -1 /passwd; stat -c %a /out/file'
    prints "$(printf 'made\nmade\nroot:x:0:0:root:/root:/bin/sh\n700')"
}

@test "multi-stage: --target, unneeded stages do not run" {
    dockerfile <<'EOF'
FROM tiny AS base
RUN echo base >/base
FROM base AS broken
RUN false
FROM base AS good
RUN echo good >/good
FROM scratch
COPY --from=good /good /bin/busybox /
EOF
    build
    virga_run 0 run app -- /busybox cat /good
    prints good
    build --target good
    virga_run 0 run app -- cat /base /good
    virga_run 1 build -t app --target nope .
    fails nope
}

@test "FROM scratch, FROM digest, FROM a registry" {
    local d
    d=$(push_image from:1 "$SUITE_DIR/tiny.tar")
    dockerfile <<EOF
FROM $REGISTRY/from@$d AS one
RUN echo 1 >/1
FROM $REGISTRY/from:1
COPY --from=one /1 /1
EOF
    build
    virga_run 0 run app -- cat /1
    prints 1
}

@test "LABEL, CMD, ENTRYPOINT, EXPOSE, USER, VOLUME, SHELL, STOPSIGNAL, MAINTAINER" {
    dockerfile <<'EOF'
FROM tiny
LABEL a=1 b="2 3" c.d='x'
MAINTAINER someone
EXPOSE 80 53/udp
VOLUME /v1 /v2
VOLUME ["/v 3"]
STOPSIGNAL SIGQUIT
SHELL ["/bin/busybox", "ash", "-c"]
RUN echo shell >/shell
USER nobody:nogroup
RUN id -u
ENTRYPOINT echo shell form
CMD ["x", "y"]
EOF
    build --label e=5
    local c
    c=$(virga inspect app | jq '.[0].Config')
    jq -e '.Labels == {"a":"1","b":"2 3","c.d":"x","e":"5"}' <<<"$c"
    jq -e '.ExposedPorts | keys == ["53/udp","80/tcp"]' <<<"$c"
    jq -e '.Volumes | keys == ["/v 3","/v1","/v2"]' <<<"$c"
    jq -e '.User == "nobody:nogroup" and .StopSignal == "SIGQUIT"' <<<"$c"
    jq -e '.Entrypoint == ["/bin/busybox","ash","-c","echo shell form"] and .Cmd == ["x","y"]' <<<"$c"
}

@test "the Dockerfile: -f, Containerfile, standard input, a name that tells the tag" {
    mkdir ctx && echo c >ctx/c
    printf 'FROM tiny\nCOPY c /c\nRUN echo f >/which\n' >elsewhere.df
    virga_run 0 build -t a -f elsewhere.df ctx
    virga_run 0 run a -- cat /c /which
    prints "$(printf 'c\nf')"
    printf 'FROM tiny\nRUN echo container >/which\n' >ctx/Containerfile
    virga_run 0 build -t b ctx
    virga_run 0 run b -- cat /which
    prints container
    virga build -t c - <<<'FROM tiny'
    virga build -t d -f - ctx <<<$'FROM tiny\nCOPY c /d'
    virga_run 0 run d -- cat /d
    prints c
    mkdir MyApp && printf 'FROM tiny\n' >MyApp/Dockerfile
    virga_run 0 build MyApp
    says myapp
    virga_run 0 inspect myapp
}

@test "several tags, --iidfile, -q" {
    dockerfile <<<'FROM tiny'
    virga_run 0 build -q -t a:1 -t b:2 --iidfile iid .
    [[ $output =~ ^sha256:[0-9a-f]{64}$ ]]
    [ "$output" = "$(cat iid)" ]
    [ "$(virga inspect a:1 | jq -r '.[0].Id')" = "$output" ]
    [ "$(virga inspect b:2 | jq -r '.[0].Id')" = "$output" ]
}

@test "what RUN prints is not the result" {
    dockerfile <<<$'FROM tiny\nRUN echo printed; echo complained >&2'
    build
    says complained
    [[ $stderr$output == *printed* ]]
}

@test "the context is never copied or changed, and may be read-only" {
    mkdir ctx
    echo x >ctx/x
    printf 'FROM tiny\nCOPY x /x\n' >ctx/Dockerfile
    chmod 500 ctx
    virga_run 0 build -t app ctx
    [ "$(ls -A ctx | sort | tr '\n' ' ')" = "Dockerfile x " ]
    chmod 700 ctx
}

@test "ignore files" {
    mkdir -p sub
    touch keep drop sub/keep sub/drop
    printf '# comment\n**/drop\nDockerfile\n' >.dockerignore
    dockerfile <<<$'FROM tiny\nCOPY . /c'
    build
    virga_run 0 run app -- sh -c 'cd /c; find . -type f | sort'
    prints "$(printf './.dockerignore\n./keep\n./sub/keep')"
}

@test "--bind: a host directory in RUN" {
    mkdir host && echo from-host >host/f
    dockerfile <<<$'FROM tiny\nRUN cat /mnt/h/f >/got && echo back >/mnt/h/back'
    build -b "$PWD/host:/mnt/h"
    virga_run 0 run app -- cat /got
    prints from-host
    [ "$(cat host/back)" = back ]
    dockerfile <<<$'FROM tiny\nRUN ! touch /mnt/h/no 2>/dev/null'
    build -b "$PWD/host:/mnt/h:ro"
    [ ! -e host/no ]
}

@test "root emulation: chown, chmod, mknod, setuid are seen and remembered" {
    dockerfile <<'EOF'
FROM tiny
RUN touch /f && chown 12:34 /f && chmod 4755 /f && mknod /dev0 c 1 3
RUN test "$(stat -c '%u:%g %a' /f)" = '12:34 4755' && test -c /dev0
EOF
    virga_run 0 build -t app .
}

@test "the cache: a second build runs nothing, --rebuild and --no-cache do" {
    dockerfile <<<$'FROM tiny\nRUN cat /proc/sys/kernel/random/uuid >/when'
    build
    local one
    one=$(virga run app -- cat /when)
    build
    [ "$(virga run app -- cat /when)" = "$one" ]
    build --rebuild
    [ "$(virga run app -- cat /when)" != "$one" ]
    one=$(virga run app -- cat /when)
    build
    [ "$(virga run app -- cat /when)" = "$one" ]
    build --no-cache
    [ "$(virga run app -- cat /when)" != "$one" ]
}

@test "the cache: a changed file, argument, line; a touched file is not changed" {
    echo 1 >f
    dockerfile <<<$'FROM tiny\nARG A=1\nCOPY f /f\nRUN cat /proc/sys/kernel/random/uuid >/when'
    build
    local one
    one=$(virga run app -- cat /when)
    touch -d '2001-01-01' f
    build
    [ "$(virga run app -- cat /when)" = "$one" ]
    echo 2 >f
    build
    [ "$(virga run app -- cat /when /f | tail -1)" = 2 ]
    [ "$(virga run app -- cat /when)" != "$one" ]
    one=$(virga run app -- cat /when)
    build --build-arg A=2
    [ "$(virga run app -- cat /when)" != "$one" ]
}

@test "builds at once on one storage" {
    local i pids=() p
    for i in 1 2 3 4; do
        mkdir c$i
        printf 'FROM tiny\nRUN echo shared >/s\nRUN echo %s >/i\n' $i >c$i/Dockerfile
        virga build -q -t app$i c$i >out$i 2>&1 &
        pids+=($!)
    done
    for p in "${pids[@]}"; do wait "$p" || { cat out*; false; }; done
    for i in 1 2 3 4; do
        [ "$(virga run app$i -- cat /s /i)" = "$(printf 'shared\n%s' $i)" ]
    done
}

@test "--parse-only and --dry-run do nothing" {
    dockerfile <<<$'FROM nowhere.invalid/x\nRUN false'
    virga_run 0 build --parse-only .
    dockerfile <<<$'FROM tiny\nRUN echo x >/x'
    virga_run 0 build -n -t app .
    virga_run 0 list
    prints tiny:latest
}
