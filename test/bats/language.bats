# build: the Dockerfile language as it is carried out.
load common
setup() { common_setup; tiny; }

build() { virga_run 0 build -t app "$@" .; }

# serve DIR starts a web server on loopback and sets URL.
serve() {
    local port
    port=$(free_port)
    busybox httpd -f -p "127.0.0.1:$port" -h "$1" 3>&- 4>&- &
    SERVER=$!
    URL=http://127.0.0.1:$port
    wait_for 10 curl -s -o /dev/null "$URL/"
}

teardown() { [ -z "${SERVER-}" ] || kill "$SERVER"; }

@test "RUN with here-documents" {
    dockerfile <<'EOF'
FROM tiny
RUN <<END
echo one >/a
echo two >>/a
END
RUN <<-"END" cat >/b
	$literal
END
RUN <<END
#!/bin/sh -e
echo "script $0" >/c
END
EOF
    build
    virga_run 0 run app -- cat /a /b
    prints "$(printf 'one\ntwo\n$literal')"
    virga_run 0 run app -- cat /c
    prints_like 'script /*'
}

@test "COPY of here-documents" {
    dockerfile <<'EOF'
FROM tiny
ENV WHO=me
COPY <<one <<"two" /d/
by $WHO
one
by $WHO
two
EOF
    build
    virga_run 0 run app -- cat /d/one /d/two
    prints "$(printf 'by me\nby $WHO')"
}

@test "RUN --mount=type=bind: context, stage, read-only, and rw that is dropped" {
    mkdir ctx
    echo c >ctx/f
    dockerfile <<'EOF'
FROM tiny AS other
RUN mkdir /o && echo o >/o/f
FROM tiny
RUN --mount=target=/m,source=ctx cat /m/f >/a && ! touch /m/g
RUN --mount=type=bind,from=other,source=/o,target=/m,rw cat /m/f >>/a && echo new >/m/f && test "$(cat /m/f)" = new
RUN --mount=type=bind,from=other,source=/o/f,target=/one cat /one >>/a
EOF
    build
    virga_run 0 run app -- sh -c 'cat /a; ls -d /m /one 2>/dev/null | wc -l'
    prints "$(printf 'c\no\no\n0')"
    [ "$(cat ctx/f)" = c ]
    build
    ! grep -q '\. RUN' <<<"$stderr"
    echo changed >ctx/f
    build
    virga_run 0 run app -- head -1 /a
    prints changed
}

@test "RUN --mount=type=cache keeps its files between builds and out of the image" {
    dockerfile <<'EOF'
FROM tiny
ARG N
RUN --mount=type=cache,target=/cache echo $N >>/cache/log && cp /cache/log /seen
EOF
    build --build-arg N=1
    build --build-arg N=2
    virga_run 0 run app -- sh -c 'cat /seen; ls /cache 2>/dev/null || true'
    prints "$(printf '1\n2')"
}

@test "RUN --mount=type=tmpfs" {
    dockerfile <<<$'FROM tiny\nRUN --mount=type=tmpfs,target=/t,size=1m touch /t/x && ! dd if=/dev/zero of=/t/y bs=1M count=2 2>/dev/null'
    build
    virga_run 1 run app -- ls /t/x
}

@test "RUN --mount=type=secret: file, variable, required" {
    echo hidden-secret >s
    dockerfile <<'EOF'
FROM tiny
RUN --mount=type=secret,id=f test "$(wc -c </run/secrets/f)" = 14
RUN --mount=type=secret,id=v,env=V test "$V" = value
RUN --mount=type=secret,id=f,target=/etc/s,mode=0440 test "$(stat -c %a /etc/s)" = 440
EOF
    V=value build --secret id=f,src=s --secret id=v,env=V
    ! grep -rqs hidden-secret "$VIRGA_STORAGE"
    dockerfile <<<$'FROM tiny\nRUN --mount=type=secret,id=none,required true'
    virga_run 1 build -t no .
    fails "Dockerfile:2" none "--secret"
}

@test "RUN --mount=type=ssh" {
    command -v ssh-agent >/dev/null || skip "ssh-agent is not installed"
    eval "$(ssh-agent)" >/dev/null
    SERVER=$SSH_AGENT_PID
    dockerfile <<<$'FROM tiny\nRUN --mount=type=ssh test -S "$SSH_AUTH_SOCK"'
    build --ssh default
}

@test "RUN --network=none" {
    dockerfile <<<$'FROM tiny\nRUN --network=none ip addr | grep -c "^[0-9]*:" >/n'
    build
    virga_run 0 run app -- cat /n
    prints 1
}

@test "ADD of archives: unpacked, or not" {
    mkdir t
    echo x >t/f
    tar -C t -cf plain.tar f
    gzip -k plain.tar
    dockerfile <<'EOF'
FROM tiny
ADD plain.tar /a/
ADD plain.tar.gz /b/
ADD --unpack=false plain.tar /c/
COPY plain.tar /d/
EOF
    build
    virga_run 0 run app -- sh -c 'cat /a/f /b/f; ls /c /d'
    prints "$(printf 'x\nx\n/c:\nplain.tar\n\n/d:\nplain.tar')"
}

@test "ADD of an address, with checksum" {
    mkdir www
    echo served >www/file
    serve www
    dockerfile <<EOF
FROM tiny
ADD $URL/file /got/
ADD --checksum=$(digest_of www/file) $URL/file /checked
EOF
    build
    virga_run 0 run app -- sh -c 'cat /got/file /checked; stat -c %a /checked'
    prints "$(printf 'served\nserved\n600')"
    dockerfile <<EOF
FROM tiny
ADD --checksum=sha256:$(printf '%064d' 0) $URL/file /checked
EOF
    virga_run 1 build -t no .
    fails "Dockerfile:2" checksum
    dockerfile <<<"FROM tiny"$'\n'"ADD $URL/missing /x"
    virga_run 1 build -t no .
    fails "Dockerfile:2" 404
}

@test "ADD of a git repository, and one as context" {
    git init -q -b main repo
    git -C repo config user.email t@example.com
    git -C repo config user.name t
    mkdir repo/sub www
    echo v1 >repo/sub/f
    printf 'FROM tiny\nCOPY sub/f /f\n' >repo/Dockerfile
    git -C repo add .
    git -C repo commit -qm one
    git clone -q --bare repo www/repo.git
    git -C www/repo.git update-server-info
    serve www
    dockerfile <<<"FROM tiny"$'\n'"ADD $URL/repo.git#main:sub /got"
    build
    virga_run 0 run app -- cat /got/f
    prints v1
    virga_run 0 build -t fromgit "$URL/repo.git"
    virga_run 0 run fromgit -- cat /f
    prints v1
}

@test "contexts: a tar on standard input, an archive, an address" {
    mkdir c
    echo x >c/f
    printf 'FROM tiny\nCOPY f /f\n' >c/Dockerfile
    tar -C c -cf c.tar .
    virga_run 0 build -t a - <c.tar
    gzip -k c.tar
    virga_run 0 build -t b - <c.tar.gz
    virga_run 0 build -t c c.tar.gz
    mkdir www
    cp c.tar.gz www/
    serve www
    virga_run 0 build -t d "$URL/c.tar.gz"
    local i
    for i in a b c d; do
        virga_run 0 run $i -- cat /f
        prints x
    done
}

@test "--build-context: a directory, an image" {
    mkdir other
    echo o >other/f
    dockerfile <<<$'FROM base\nCOPY --from=other f /f\nRUN --mount=from=other,target=/m cp /m/f /g'
    build --build-context other=other --build-context base=docker-image://tiny
    virga_run 0 run app -- cat /f /g
    prints "$(printf 'o\no')"
}

@test "ONBUILD triggers of every kind run" {
    dockerfile <<<$'FROM tiny\nONBUILD ENV A=1\nONBUILD RUN echo $A >/run.txt\nONBUILD COPY f /f\nONBUILD CMD ["cat", "/run.txt", "/f"]'
    virga_run 0 build -t parent .
    echo copied >f
    dockerfile <<<"FROM parent"
    build
    virga_run 0 run app
    prints "$(printf '1\ncopied')"
    dockerfile <<<"FROM app"
    rm f
    virga_run 0 build -t grandchild .
}

@test "USER is who RUN sees, and owns what it makes" {
    dockerfile <<'EOF'
FROM tiny
RUN echo 'u:x:33:44::/home/u:/bin/sh' >>/etc/passwd && echo 'g:x:44:' >>/etc/group && mkdir -p /home/u && chown 33:44 /home/u
USER u
WORKDIR /home/u/w
RUN id -u >id && id -g >>id && echo $HOME >>id
USER root
RUN stat -c %u:%g /home/u/w /home/u/w/id >/who
EOF
    build
    virga_run 0 run app -- cat /home/u/w/id /who
    prints "$(printf '33\n44\n/home/u\n33:44\n33:44')"
}

@test "--dry-run tells hits from misses and does nothing" {
    dockerfile <<<$'FROM tiny\nRUN echo 1 >/1\nRUN echo 2 >/2'
    build
    dockerfile <<<$'FROM tiny\nRUN echo 1 >/1\nRUN echo 3 >/3\nCOPY Dockerfile /'
    virga_run 0 build -n -t dry .
    says '2\* RUN echo 1'
    says '3. RUN echo 3'
    says '4. COPY'
    virga_run 0 list
    prints "$(printf 'app:latest\ntiny:latest')"
}

@test "--parse-only and --check" {
    dockerfile <<<$'from tiny\nRUN echo $x\nENV A 1'
    virga_run 0 build --parse-only --format json .
    [ "$(jq -r '.stages | length' <<<"$output")" = 1 ]
    virga_run 1 build --check .
    [[ $output == *LegacyKeyValueFormat* ]]
    says "warnings"
    dockerfile <<<$'FROM tiny\nENV A=1'
    virga_run 0 build --check .
    prints ""
}

@test "RSYNC" {
    command -v rsync >/dev/null || skip "rsync is not installed"
    mkdir -p src/d
    echo r >src/d/f
    ln -s f src/d/l
    dockerfile <<<$'FROM tiny\nRSYNC src/ /r/\nRSYNC +z -r src/d /z'
    build
    virga_run 0 run app -- sh -c 'cat /r/d/l /z/d/f'
    prints "$(printf 'r\nr')"
    dockerfile <<<$'FROM tiny\nRSYNC --remove-source-files src /r'
    virga_run 1 build -t no .
    fails "Dockerfile:2" remove-source-files
}

@test "what cannot be honoured is refused by name" {
    dockerfile <<<$'FROM tiny\nRUN --security=insecure true'
    virga_run 1 build -t no .
    fails "Dockerfile:2" "--security=insecure"
}
