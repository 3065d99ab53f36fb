# login, logout, and where secrets come from and go to.
load common
setup() {
    common_setup
    export HOME=$BATS_TEST_TMPDIR/home
    mkdir -p "$HOME"
}
teardown() { [ -z "${MY_REGISTRY_PID-}" ] || registry_stop "$MY_REGISTRY_PID"; }

# locked starts a registry for ada with the password "s3cret:x".
locked() {
    command -v htpasswd >/dev/null || missing htpasswd
    htpasswd -Bbn -C 4 ada s3cret:x >htp
    registry_start "$PWD/r" "" "" "$PWD/htp"
    MY_REGISTRY_PID=$REGISTRY_PID
    REGISTRY_CURL=-uada:s3cret:x push_image tiny:1 "$SUITE_DIR/tiny.tar" >/dev/null
}

login() { virga login -u ada --password-stdin "$REGISTRY" <<<s3cret:x; }

@test "login is verified, and stored for the caller alone" {
    locked
    virga_run 1 login -u ada --password-stdin "$REGISTRY" <<<wrong
    fails "$REGISTRY" refuses
    [ ! -e "$XDG_RUNTIME_DIR/containers/auth.json" ]
    virga_run 1 login -u ada -p s3cret:x "127.0.0.1:$(free_port)"
    fails refused
    virga_run 0 login -u ada --password-stdin "$REGISTRY" <<<s3cret:x
    prints ""
    [ "$(stat -c %a "$XDG_RUNTIME_DIR/containers/auth.json")" = 600 ]
    [ "$(jq -r ".auths[\"$REGISTRY\"].auth" "$XDG_RUNTIME_DIR/containers/auth.json" | base64 -d)" = ada:s3cret:x ]
    virga_run 0 pull "$REGISTRY/tiny:1"
    virga_run 0 logout "$REGISTRY"
    says removed
    virga_run 0 logout "$REGISTRY"
    says "not logged in"
    virga_run 1 pull "$REGISTRY/tiny:1" </dev/null
    hints "virga login $REGISTRY"
}

@test "wrong usage" {
    virga_run 2 login -p x --password-stdin -u a
    virga_run 2 login --password-stdin <<<x
    fails --username
    virga_run 1 login "$REGISTRY" </dev/null
    fails "not a terminal"
}

@test "a prompt that does not echo" {
    locked
    # The questions come one after the other: answers that are there too early
    # would be echoed by the terminal.
    { sleep 1; echo ada; sleep 1; echo s3cret:x; sleep 1; } | TERM=dumb script -qec "virga login $REGISTRY" /dev/null >out
    grep -q "Username for $REGISTRY" out
    grep -q "Password" out
    ! grep -q s3cret out
    virga_run 0 pull "$REGISTRY/tiny:1"
    virga logout "$REGISTRY"
    { sleep 1; echo ada; sleep 1; echo s3cret:x; sleep 2; } | TERM=dumb script -qec "virga pull --always-download $REGISTRY/tiny:1" /dev/null >out
    ! grep -q s3cret out
    grep -q pulled out
}

@test "secrets are never shown, not even with --debug" {
    locked
    local enc
    enc=$(printf ada:s3cret:x | base64)
    virga_run 0 --debug login -u ada --password-stdin "$REGISTRY" <<<s3cret:x
    [[ $stderr$output != *s3cret* && $stderr$output != *"$enc"* ]]
    virga_run 0 --debug pull "$REGISTRY/tiny:1"
    [[ $stderr$output != *s3cret* && $stderr$output != *"$enc"* ]]
    virga logout "$REGISTRY"
    VIRGA_USERNAME=ada VIRGA_PASSWORD=s3cret:x virga_run 0 --debug push "$REGISTRY/tiny:1" "$REGISTRY/tiny:2"
    [[ $stderr$output != *s3cret* && $stderr$output != *"$enc"* ]]
    virga_run 1 --debug login -u ada --password-stdin "$REGISTRY" <<<wrong-s3cret
    [[ $stderr$output != *s3cret* ]]
}

@test "FROM, COPY --from and push use the login" {
    locked
    login
    printf 'FROM %s/tiny:1 AS a\nRUN echo x >/x\nFROM a\nCOPY --from=%s/tiny:1 /bin/busybox /b\n' "$REGISTRY" "$REGISTRY" >Dockerfile
    virga_run 0 build -t app .
    virga_run 0 push app "$REGISTRY/app:1"
    virga logout "$REGISTRY"
    virga reset
    virga_run 1 build -t app . </dev/null
    fails "$REGISTRY"
    hints "virga login"
    VIRGA_USERNAME=ada VIRGA_PASSWORD=s3cret:x virga_run 0 build -t app . </dev/null
    virga reset
    CH_IMAGE_USERNAME=ada CH_IMAGE_PASSWORD=s3cret:x virga_run 0 build -t app . </dev/null
}

@test "Docker's and Podman's files, entries of repositories, credential helpers" {
    locked
    mkdir -p "$DOCKER_CONFIG" "$XDG_CONFIG_HOME/containers" bin
    local good bad
    good=$(printf ada:s3cret:x | base64) bad=$(printf ada:old | base64)
    echo "{\"auths\":{\"http://$REGISTRY/v1/\":{\"auth\":\"$good\"}}}" >"$DOCKER_CONFIG/config.json"
    virga_run 0 pull --always-download "$REGISTRY/tiny:1"
    # Podman's file comes first, and in it the entry of the repository.
    echo "{\"auths\":{\"$REGISTRY\":{\"auth\":\"$bad\"}}}" >"$XDG_CONFIG_HOME/containers/auth.json"
    virga_run 1 pull --always-download "$REGISTRY/tiny:1" </dev/null
    echo "{\"auths\":{\"$REGISTRY\":{\"auth\":\"$bad\"},\"$REGISTRY/tiny\":{\"auth\":\"$good\"}}}" >"$XDG_CONFIG_HOME/containers/auth.json"
    virga_run 0 pull --always-download "$REGISTRY/tiny:1"
    # A helper is a program.
    cat >bin/docker-credential-test <<'EOF'
#!/bin/sh
read -r in
case $1 in
get) cat "$HOME/kept" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
store) echo "$in" >"$HOME/kept" ;;
erase) rm "$HOME/kept" ;;
esac
EOF
    chmod +x bin/docker-credential-test
    echo "{\"credHelpers\":{\"$REGISTRY\":\"test\"}}" >auth.json
    export REGISTRY_AUTH_FILE=$PWD/auth.json PATH=$PWD/bin:$PATH
    rm "$XDG_CONFIG_HOME/containers/auth.json" "$DOCKER_CONFIG/config.json"
    virga_run 1 pull --always-download "$REGISTRY/tiny:1" </dev/null
    login
    jq -e '.Username == "ada" and .Secret == "s3cret:x"' "$HOME/kept"
    ! grep -q "$good" auth.json
    virga_run 0 pull --always-download "$REGISTRY/tiny:1"
    virga logout "$REGISTRY"
    [ ! -e "$HOME/kept" ]
}

@test "registries.conf: mirrors, aliases, search list, blocked; drop-ins" {
    export CONTAINERS_REGISTRIES_CONF=$PWD/registries.conf
    cat >registries.conf <<EOF
unqualified-search-registries = ["$REGISTRY"]
[[registry]]
prefix = "registry.invalid/team"
location = "registry.invalid/team"
[[registry.mirror]]
location = "$REGISTRY"
[[registry]]
prefix = "*.evil.invalid"
blocked = true
[aliases]
"little" = "$REGISTRY/tiny"
EOF
    virga_run 0 pull registry.invalid/team/tiny
    virga_run 0 list
    prints registry.invalid/team/tiny:latest
    virga_run 0 pull little
    virga_run 0 pull tiny
    virga_run 0 list
    prints "$(printf '%s\n' "$REGISTRY/tiny:latest" registry.invalid/team/tiny:latest)"
    virga_run 1 pull a.evil.invalid/x
    fails blocked
    hints registries.conf
    printf 'FROM tiny\nRUN true\n' | virga_run 0 build -t app -
    # What is in storage under the short name comes first.
    virga import "$SUITE_DIR/tiny.tar" tiny
    printf 'FROM tiny\nRUN true\n' | virga_run 0 --debug build -t app2 -
    [ "$(virga inspect tiny | jq -r '.[0].RootFS.Layers[0]')" = "$(virga inspect app2 | jq -r '.[0].RootFS.Layers[0]')" ]
    unset CONTAINERS_REGISTRIES_CONF
    mkdir -p "$XDG_CONFIG_HOME/containers/registries.conf.d"
    : >"$XDG_CONFIG_HOME/containers/registries.conf"
    echo 'unqualified-search-registries = ["a.invalid", "b.invalid"]' >"$XDG_CONFIG_HOME/containers/registries.conf.d/1.conf"
    virga_run 1 pull whatever
    fails a.invalid b.invalid
    hints a.invalid/whatever
}

@test "proxies: HTTP_PROXY is used, NO_PROXY is heeded, a dead one is named" {
    HTTP_PROXY=http://127.0.0.1:9 virga_run 1 --plain-http pull registry.invalid/x
    fails proxy
    hints HTTP_PROXY
    HTTP_PROXY=http://$REGISTRY virga_run 0 --plain-http pull registry.invalid/tiny
    HTTP_PROXY=http://127.0.0.1:9 NO_PROXY=$REGISTRY virga_run 0 --plain-http pull "$REGISTRY/tiny"
}

@test "list REF: what the registry has" {
    local d
    d=$(push_image listed:1 "$SUITE_DIR/tiny.tar")
    virga_run 0 list "$REGISTRY/listed:1"
    prints_like "*in storage:  no*in registry: yes*$d*available:   linux/$(host_arch) (this one)*"
    virga pull "$REGISTRY/listed:1"
    virga_run 0 list "$REGISTRY/listed:1"
    prints_like "*in storage:  yes*in registry: yes, the same*"
    ARCH=s390x push_image listed:1 "$SUITE_DIR/tiny.tar" >/dev/null
    virga_run 0 list "$REGISTRY/listed:1"
    prints_like "*in registry: yes, another than in storage*linux/s390x"
    virga_run 0 list "$REGISTRY/listed:2"
    prints_like "*in storage:  no*in registry: no"
    virga_run 0 list "127.0.0.1:$(free_port)/x"
    prints_like "*in registry: not known: *refused*"
}
