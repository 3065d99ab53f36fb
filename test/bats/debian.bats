# The main job on real input: Debian, apt, a compiler.
load common
setup() {
    common_setup
    debian
}

@test "a minbase image of thousands of files" {
    local n
    n=$(virga run debian -- find / -xdev | wc -l)
    echo "$n files"
    [ "$n" -gt 5000 ]
    virga_run 0 run debian -- sh -c '. /etc/os-release; echo $ID'
    prints debian
}

@test "apt-get install of gcc and make with the default options; a C program is compiled and run" {
    cp "$VIRGA_TEST_TOP/examples/hello/hello.c" .
    printf 'hello: hello.c\n\tgcc -O2 -static -o $@ $<\n' >makefile
    dockerfile <<'EOF'
FROM debian AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc make libc6-dev
WORKDIR /src
COPY hello.c makefile ./
RUN make
FROM scratch
COPY --from=build /src/hello /hello
ENTRYPOINT ["/hello"]
EOF
    TIME_LIMIT=900 virga_run 0 build -t hello .
    virga_run 0 run hello -- world
    prints_like "*world! I am uid $(id -u)*"
    virga push hello "$REGISTRY/hello:1"
    virga delete hello
    virga_run 0 pull "$REGISTRY/hello:1"
    virga_run 0 run "$REGISTRY/hello:1" -- again
    prints_like "*again*"
}

@test "pushed and pulled, it can be built on" {
    virga_run 0 push debian "$REGISTRY/debian:test"
    export VIRGA_STORAGE=$BATS_TEST_TMPDIR/other
    dockerfile <<<"FROM $REGISTRY/debian:test
RUN dpkg --verify base-files && dpkg-query -W apt && useradd -m somebody && su somebody -c 'touch ~/f' || true
RUN stat -c %U /home/somebody >/owner"
    virga_run 0 build -t two .
    virga_run 0 run two -- cat /owner
    prints somebody
}

@test "owners that packages set are remembered" {
    dockerfile <<'EOF'
FROM debian
RUN stat -c '%U:%G %a' /etc/shadow >/owner
EOF
    virga_run 0 build -t owners .
    virga_run 0 run owners -- cat /owner
    prints "root:shadow 640"
}
