# push: what is pushed can be pulled, by virga and by others.
load common
setup() { common_setup; }
teardown() { [ -z "${MY_REGISTRY_PID-}" ] || registry_stop "$MY_REGISTRY_PID"; }

@test "a built image, pushed and pulled again, is the same" {
    tiny
    printf 'FROM tiny\nRUN mkdir -m 750 /d && echo x >/d/x && ln -s x /d/l && rm /etc/group\nCMD ["cat", "/d/x"]\n' |
        virga build -t app - 2>/dev/null >&2
    virga_run 0 push app "$REGISTRY/app:1"
    local id
    id=$(virga inspect app | jq -r '.[0].Id')
    virga reset
    virga_run 0 pull "$REGISTRY/app:1"
    [ "$(virga inspect "$REGISTRY/app:1" | jq -r '.[0].Id')" = "$id" ]
    virga_run 0 run "$REGISTRY/app:1"
    prints x
    virga unpack -o out "$REGISTRY/app:1"
    [ "$(readlink out/d/l)" = x ] && [ ! -e out/etc/group ] && [ "$(stat -c %a out/d)" = 750 ]
}

@test "layers are pushed as they are: one for each instruction that changed files" {
    tiny
    printf 'FROM tiny\nRUN echo 1 >/1\nRUN echo 2 >/2\nENV A=1\n' | virga build -t app - 2>/dev/null >&2
    virga_run 0 push app "$REGISTRY/layers:1"
    [ "$(reg layers/manifests/1 -H 'Accept: application/vnd.oci.image.manifest.v1+json' | jq '.layers | length')" -eq 3 ]
}

@test "a second push sends nothing" {
    tiny
    virga push tiny "$REGISTRY/twice:1"
    virga_run 0 -v push tiny "$REGISTRY/twice:2"
    [ "$(reg twice/manifests/1 -H 'Accept: application/vnd.oci.image.manifest.v1+json' | sha256sum)" = \
        "$(reg twice/manifests/2 -H 'Accept: application/vnd.oci.image.manifest.v1+json' | sha256sum)" ]
}

@test "what was pulled is pushed byte for byte" {
    local d
    d=$(TYPE=docker push_image bytes:1 "$SUITE_DIR/tiny.tar")
    virga pull "$REGISTRY/bytes:1"
    virga_run 0 push "$REGISTRY/bytes:1" "$REGISTRY/bytes2:1"
    reg bytes2/manifests/1 -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' >m
    [ "$(digest_of m)" = "$d" ]
}

@test "an unknown image, an unreachable registry" {
    virga_run 1 push nothing "$REGISTRY/x:1"
    fails nothing "not in storage"
    tiny
    virga_run 1 push tiny "127.0.0.1:$(free_port)/x:1"
    fails refused
}

@test "a registry with a password: refused, then with login" {
    command -v htpasswd >/dev/null || missing htpasswd
    htpasswd -Bbn ada secret >htp
    registry_start "$PWD/r" "" "" "$PWD/htp"
    MY_REGISTRY_PID=$REGISTRY_PID
    tiny
    virga_run 1 push tiny "$REGISTRY/x:1" </dev/null
    fails "$REGISTRY"
    hints "virga login"
    virga_run 1 login -u ada --password-stdin "$REGISTRY" <<<wrong
    fails "$REGISTRY"
    virga_run 0 login -u ada --password-stdin "$REGISTRY" <<<secret
    virga_run 0 push tiny "$REGISTRY/x:1"
    virga_run 0 logout "$REGISTRY"
    virga_run 1 push tiny "$REGISTRY/x:2" </dev/null
    VIRGA_USERNAME=ada VIRGA_PASSWORD=secret virga_run 0 push tiny "$REGISTRY/x:2"
}
