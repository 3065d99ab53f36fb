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

manifest() { reg "$1/manifests/$2" -H 'Accept: application/vnd.oci.image.manifest.v1+json' -H 'Accept: application/vnd.docker.distribution.manifest.v2+json'; }

@test "--compression and --format: new layers as asked, base layers as they came" {
    push_image fmt/base:1 "$SUITE_DIR/tiny.tar" >/dev/null
    printf 'FROM %s\nRUN echo new >/new\n' "$REGISTRY/fmt/base:1" | virga build -t app - 2>/dev/null >&2
    virga_run 0 push --compression zstd:3 app "$REGISTRY/fmt/app:zstd"
    [ "$(manifest fmt/app zstd | jq -r '[.layers[].mediaType | sub(".*tar"; "")] | join(" ")')" = "+gzip +zstd" ]
    virga_run 0 push --compression none --format docker app "$REGISTRY/fmt/app:docker"
    manifest fmt/app docker >m
    [ "$(jq -r .mediaType m)" = application/vnd.docker.distribution.manifest.v2+json ]
    [ "$(jq -r '.layers[0].digest' m)" = "$(layer_digest fmt/base:1 0)" ]
    [ "$(jq -r '.layers[1].mediaType' m)" = application/vnd.docker.image.rootfs.diff.tar ]
    virga_run 0 push app "$REGISTRY/fmt/app:1"
    says "1 blobs sent" # the configuration and the base were there
    for tag in zstd docker 1; do
        virga_run 0 pull "$REGISTRY/fmt/app:$tag"
        virga_run 0 run "$REGISTRY/fmt/app:$tag" -- cat /new
        prints new
    done
    virga_run 2 push --compression zstd --format docker app "$REGISTRY/x:1"
    fails zstd
    virga_run 2 push --compression xz app "$REGISTRY/x:1"
    fails xz
    virga_run 2 push --format v1 app "$REGISTRY/x:1"
    fails v1
}

@test "layers of another repository are mounted, not sent" {
    head -c 1000000 /dev/urandom >data
    tar -cf l.tar data
    push_image mount/base:1 "$SUITE_DIR/tiny.tar" l.tar >/dev/null
    printf 'FROM %s\nLABEL a=b\n' "$REGISTRY/mount/base:1" | virga build -t app - 2>/dev/null >&2
    virga_run 0 push app "$REGISTRY/mount/app:1"
    says "1 blobs sent, 2 mounted"
    [ "$(manifest mount/app 1 | jq -r '.layers[1].digest')" = "$(layer_digest mount/base:1 1)" ]
}

@test "owners, modes and the whole configuration reach other tools" {
    command -v skopeo >/dev/null || missing skopeo
    tiny
    cat >Dockerfile <<'EOF'
FROM tiny
RUN echo x >/owned && chown 7:8 /owned && chmod 4751 /owned && mkdir /d && chown 9 /d
ENV A=b
LABEL l=m
USER 7
WORKDIR /d
VOLUME /v
EXPOSE 80
STOPSIGNAL SIGUSR1
HEALTHCHECK CMD true
ENTRYPOINT ["/bin/sh", "-c"]
CMD ["id"]
EOF
    virga build -t app . 2>/dev/null >&2
    virga_run 0 push app "$REGISTRY/others/app:1"
    skopeo copy -q --src-tls-verify=false "docker://$REGISTRY/others/app:1" oci:copy:x
    local layer config
    config=copy/blobs/sha256/$(jq -r .config.digest "copy/blobs/sha256/$(jq -r '.manifests[0].digest|sub("sha256:";"")' copy/index.json)" | cut -d: -f2)
    jq -e '.config | .Env[-1] == "A=b" and .Labels.l == "m" and .User == "7" and .WorkingDir == "/d" and .Volumes["/v"] == {}
        and .ExposedPorts["80/tcp"] == {} and .StopSignal == "SIGUSR1" and .Entrypoint[0] == "/bin/sh" and .Cmd == ["id"]' "$config"
    [ "$(jq '[.history[] | select(.empty_layer | not)] | length' "$config")" -eq "$(jq '.rootfs.diff_ids | length' "$config")" ]
    for layer in copy/blobs/sha256/*; do tar -tvzf "$layer" --numeric-owner 2>/dev/null || true; done >list
    grep -Eq '^-rwsr-x--x 7/8 .* (\./)?owned$' list
    grep -Eq '^drwx.* 9/0 .* (\./)?d/$' list
    virga_run 0 push --flatten-owners app "$REGISTRY/others/flat:1"
    rm -rf copy
    skopeo copy -q --src-tls-verify=false "docker://$REGISTRY/others/flat:1" oci:copy:x
    for layer in copy/blobs/sha256/*; do tar -tvzf "$layer" --numeric-owner 2>/dev/null || true; done >list
    grep -Eq '^-rwxr-x--x 0/0 .* (\./)?owned$' list
    ! grep -Eqv '^[^ ]+ 0/0 ' list
}

@test "--image DIR: a directory is pushed as an image" {
    mkdir -p d/etc && cp "$SUITE_DIR/tiny/bin/busybox" d/ && echo hello >d/etc/motd
    virga_run 0 push --image d "$REGISTRY/dir:1"
    virga_run 0 list
    prints ""
    virga pull "$REGISTRY/dir:1"
    virga_run 0 run "$REGISTRY/dir:1" -- /busybox cat /etc/motd
    prints hello
    # The same files have the same digest, whoever pushes them when.
    find d -exec touch -d 2020-02-02T02:02:01Z {} +
    touch -d 2021-01-01T01:01:01Z d/etc/motd
    local first second
    first=$(virga push -q --image d "$REGISTRY/dir:2")
    second=$(VIRGA_STORAGE=$PWD/other virga push -q --image d "$REGISTRY/dir:3")
    [ "$first" = "$second" ]
    virga pull "$REGISTRY/dir:2"
    virga inspect "$REGISTRY/dir:2" | jq -e '.[0].Created == "2021-01-01T01:01:01Z"'
    [ "$(SOURCE_DATE_EPOCH=7 virga push -q --image d "$REGISTRY/dir:4")" != "$first" ]
    virga pull "$REGISTRY/dir:4"
    virga inspect "$REGISTRY/dir:4" | jq -e '.[0].Created == "1970-01-01T00:00:07Z"'
    virga_run 1 push --image nowhere "$REGISTRY/dir:1"
    fails nowhere
}
