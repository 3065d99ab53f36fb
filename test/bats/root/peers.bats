# podman and buildah, as root, judge images that a user without subordinate ids
# made, and make images that this user reads.
load ../common

setup_file() {
    [ "$(id -u)" -eq 0 ] || return 0
    PEERS=$(mktemp -d "$VIRGA_TEST_TOP/tmp/peers.XXXXXX")
    export PEERS
    chmod 755 "$PEERS"
    mkdir -p "$PEERS"/{context,home}
    cp "$SUITE_DIR/tiny.tar" "$PEERS/"
    cap_tar "$PEERS/context/cap.tar"
    cat >"$PEERS/context/Dockerfile" <<'END'
FROM tiny
ADD cap.tar /
RUN echo hello >/f && chown 33:33 /f && cp /bin/busybox /suid && chmod 4755 /suid && mknod /null c 1 3 && mkdir -m 2775 /d && chown 1:2 /d
MAINTAINER Me
ENV A=b C="d e"
LABEL l=m
EXPOSE 80 53/udp
VOLUME /data
STOPSIGNAL SIGINT
ONBUILD RUN true
HEALTHCHECK --interval=5s CMD ["/bin/true"]
USER 33
WORKDIR /w
ENTRYPOINT ["/bin/cat"]
CMD ["/f"]
END
    chown -R virga-test: "$PEERS"
    user import tiny.tar tiny
    user build -q -t app context
    user save -o app.docker app
    user save --format oci -o app.oci app
}

teardown_file() {
    [ -z "${PEERS-}" ] || rm -rf "$PEERS"
}

setup() {
    [ "$(id -u)" -eq 0 ] || skip "only root can"
    type -P podman buildah getcap >/dev/null || missing "podman, buildah or getcap"
    common_setup
    unset DOCKER_CONFIG # podman wants the file to be there
    SHORT=$(mktemp -d /tmp/peers.XXXXXX) # podman wants 50 characters at most
    cd "$PEERS" || return
}

teardown() { [ -z "${SHORT-}" ] || rm -rf "$SHORT"; }

# user runs virga as an ordinary user, in $PEERS.
user() {
    (cd "$PEERS" && setpriv --reuid=virga-test --regid=virga-test --clear-groups env HOME="$PEERS/home" VIRGA_STORAGE="$PEERS/${STORAGE:-storage}" \
        XDG_CONFIG_HOME="$PEERS/home" XDG_RUNTIME_DIR= virga "$@")
}

podman() { command podman --root "$BATS_TEST_TMPDIR/c" --runroot "$SHORT/run" --tmpdir "$SHORT/tmp" --storage-driver vfs "$@"; }
buildah() { command buildah --root "$BATS_TEST_TMPDIR/c" --runroot "$SHORT/run" --storage-driver vfs "$@"; }

# whole IMAGE demands that podman's files of it have all that they should.
whole() {
    local m
    m=$(podman image mount "$1")
    [ "$(cat "$m/f")" = hello ]
    [ "$(cd "$m" && stat -c '%n %u:%g %a %F %t,%T' f suid null d)" = "f 33:33 644 regular file 0,0
suid 0:0 4755 regular file 0,0
null 0:0 644 character special file 1,3
d 1:2 2775 directory 0,0" ]
    [ "$(getcap "$m/cap")" = "$m/cap cap_net_raw=ep" ]
    podman image umount "$1"
}

# loads FILE NAME demands that virga takes what another wrote, with owners.
loads() {
    rm -rf other
    STORAGE=other user load -i "$1" | grep -F "Loaded image: $2"
    STORAGE=other user save --format tar -o other.tar "$2"
    tar -tvf other.tar >list
    grep -E '^-rw-r--r-- 33/33 .* f$' list
    grep -E '^-rwsr-xr-x 0/0 .* suid$' list
    grep -E '^c.* 1,3 .* null$' list
    grep -E '^drwxrwsr-x 1/2 .* d/$' list
    has_cap other.tar
    [ "$(STORAGE=other user run "$2")" = hello ]
}

@test "podman loads and buildah runs what is saved; what they save is loaded" {
    local f
    for f in docker oci; do
        podman load -q -i app.$f
        whole app
        podman save -q --format $f-archive -o p.$f app
        buildah push -q app $f-archive:b.$f:buildah:1
        chmod a+r p.$f b.$f
        loads p.$f app:latest
        loads b.$f buildah:1
        [ $f = docker ] || continue
        buildah from -q --isolation chroot --name c app >/dev/null # runs the ONBUILD, too
        [ "$(buildah run --isolation chroot --user 0 c -- /bin/stat -c '%u:%g %a' /f /suid)" = $'33:33 644\n0:0 4755' ]
        buildah rm c >/dev/null
        podman rmi -f app >/dev/null
    done
}

@test "podman pulls what is pushed, and inspects it as virga does" {
    local f
    user push -q --format docker app "$REGISTRY/peers:docker" >digest.docker
    user push -q app "$REGISTRY/peers:oci" >digest.oci
    for f in docker oci; do
        podman pull -q --tls-verify=false "$REGISTRY/peers:$f"
        podman inspect "$REGISTRY/peers:$f" >theirs.$f
        whole "$REGISTRY/peers:$f"
        jq -e --arg d "$REGISTRY/peers@$(cat digest.$f)" '.[0].RepoDigests | index($d) != null' theirs.$f
    done
    STORAGE=third user pull -q "$REGISTRY/peers:docker"
    STORAGE=third user inspect "$REGISTRY/peers:docker" >ours
    # Id is written with sha256: as docker does. podman has no OnBuild, and the
    # health check beside Config, where docker has both; buildah knows them.
    buildah inspect --type image "$REGISTRY/peers:docker" >buildah.json
    jq -S --slurpfile b buildah.json '.[0] | {Id: ("sha256:" + .Id), RepoTags, RepoDigests, Created, Author, Architecture, Os,
        Config: (.Config + {Healthcheck, OnBuild: $b[0].Docker.config.OnBuild}), RootFS}' theirs.docker >theirs.json
    jq -S '.[0] | {Id, RepoTags, RepoDigests, Created, Author, Architecture, Os, Config, RootFS}' ours >ours.json
    diff theirs.json ours.json
    jq -e '.Config | keys == ["Cmd","Entrypoint","Env","ExposedPorts","Healthcheck","Labels","OnBuild","StopSignal","User","Volumes","WorkingDir"]' ours.json
    # Ours is that of the layers, with a header for each of the many links.
    jq -e --slurpfile t theirs.docker '.[0].Size as $s | $t[0][0].Size | . > $s * 0.9 and . < $s * 1.1' ours
}
