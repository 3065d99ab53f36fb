# build --cache-to and --cache-from: states shared by machines.
load common
setup() {
    common_setup
    base
    mkdir ctx
    echo one >ctx/file
    cat >ctx/Dockerfile <<'EOF'
FROM tiny AS maker
RUN mkdir /d && echo made >/d/f && chown 7:8 /d/f && chmod 4711 /d/f && ln /d/f /d/g && ln -s f /d/l
RUN mkdir -p /old/sub && echo x >/old/sub/x && mknod /d/dev c 1 3 && mkfifo /d/fifo
RUN rm -r /old && mkdir /old && touch /old/new && rm /d/g && chmod 700 /d
FROM tiny
COPY file /file
COPY --from=maker /d /d
RUN cat /file /d/f >/both
RUN true
ENV A=b
EOF
}

# elsewhere goes on another machine: storage of its own, with the base.
elsewhere() {
    export VIRGA_STORAGE=$BATS_TEST_TMPDIR/$1
    base
}

# base is the same image everywhere.
base() { virga pull -q "$REGISTRY/tiny" && virga tag "$REGISTRY/tiny" tiny; } >/dev/null

# taken and computed count the results that the last build took and made.
taken() { grep -c '[0-9]\* ' <<<"$stderr" || true; }
computed() { grep -c '[0-9]\. ' <<<"$stderr" || true; }

id_of() { virga inspect "$1" | jq -r '.[0].Id'; }

@test "registry, mode=max: another machine takes everything and gives the same image" {
    virga_run 0 build -t app --cache-to "type=registry,ref=$REGISTRY/cache:a,mode=max" ctx
    says "states left in"
    local id
    id=$(id_of app)
    virga push app "$REGISTRY/app:here"
    # Any client takes it for an image.
    reg cache/manifests/a -H 'Accept: application/vnd.oci.image.manifest.v1+json' | jq -e '.config.mediaType == "application/vnd.oci.image.config.v1+json" and (.layers | length) > 3'
    elsewhere two
    virga_run 0 build -t app --cache-from "$REGISTRY/cache:a" ctx
    [ "$(computed)" -eq 0 ] && [ "$(taken)" -ge 6 ] || { show; false; }
    [ "$(id_of app)" = "$id" ]
    virga_run 0 run app -- sh -c 'cat /both; stat -c "%a" /d/f; ls /d'
    prints "$(printf 'one\nmade\n4711\ndev\nf\nfifo\nl')"
    # What is packed here is, byte for byte, what was packed there.
    virga push app "$REGISTRY/app:there"
    [ "$(reg app/manifests/here -H 'Accept: application/vnd.oci.image.manifest.v1+json' | sha256sum)" = "$(reg app/manifests/there -H 'Accept: application/vnd.oci.image.manifest.v1+json' | sha256sum)" ]
    # Only the layers of the image came: none of the three of the other stage.
    [ "$(find "$VIRGA_STORAGE/trees" -mindepth 1 -maxdepth 1 | wc -l)" -eq 4 ]
    # A stage that is needed after all is fetched: its files and all about them.
    echo 'RUN --mount=type=bind,from=maker,target=/m ls -la /m/old && test ! -e /m/old/sub && stat -c %a /m/d/f >/mode' >>ctx/Dockerfile
    virga_run 0 build -t app --cache-from "$REGISTRY/cache:a" ctx
    [ "$(computed)" -eq 1 ] || { show; false; }
    virga_run 0 build -t app --target maker --cache-from "$REGISTRY/cache:a" ctx
    virga push app "$REGISTRY/maker:there"
    [ "$(computed)" -eq 0 ] || { show; false; }
    # All of it again, from what is in storage now.
    virga_run 0 build -t app ctx
    [ "$(computed)" -eq 0 ] || { show; false; }
}

@test "a fetched tree is packed to the bytes that it came from" {
    virga build -t app --target maker --cache-to "type=local,dest=$PWD/cache,mode=max" ctx
    virga push app "$REGISTRY/packed:here"
    elsewhere two
    virga_run 0 build -t app --target maker --cache-from "type=local,src=$PWD/cache" ctx
    [ "$(computed)" -eq 0 ] || { show; false; }
    # Without the blobs, the layers must be made of the files.
    find "$VIRGA_STORAGE/blobs" -type f -size +4k -delete
    virga_run 0 push app "$REGISTRY/packed:there"
    [ "$(reg packed/manifests/here -H 'Accept: application/vnd.oci.image.manifest.v1+json' | jq -c '.layers')" = "$(reg packed/manifests/there -H 'Accept: application/vnd.oci.image.manifest.v1+json' | jq -c '.layers')" ]
    reg "packed/blobs/$(layer_digest packed:there 3)" | gzip -dc | tar -t >list
    grep -qx 'old/.wh.sub' list && grep -qx 'd/.wh.g' list && ! grep -q opq list
}

@test "mode=min leaves the image's own states; a changed one is computed alone" {
    virga_run 0 build -t app --cache-to "type=registry,ref=$REGISTRY/cache:min" ctx
    [ "$(reg cache/manifests/min -H 'Accept: application/vnd.oci.image.manifest.v1+json' | jq '.layers | length')" -eq 3 ]
    elsewhere two
    sed -i 's/^RUN true/RUN echo changed >\/c/' ctx/Dockerfile
    virga_run 0 build -t app --cache-from "type=registry,ref=$REGISTRY/cache:min" --cache-to "type=registry,ref=$REGISTRY/cache:min" ctx
    # Three of the other stage, and the changed one.
    [ "$(computed)" -eq 4 ] || { show; false; }
    virga_run 0 run app -- cat /c /both
    prints "$(printf 'changed\none\nmade')"
}

@test "what is wrong with a cache costs time and one warning" {
    virga build -t app --cache-to "type=local,dest=$PWD/good,mode=max" ctx
    local id what layer
    id=$(id_of app)
    layer=$(jq -r '.manifests[0].digest' good/index.json)
    layer=$(jq -r '.layers[0].digest' "good/blobs/sha256/${layer#sha256:}")
    for what in none empty garbage foreign cut flipped absent; do
        rm -rf bad
        cp -r good bad
        case $what in
        none) rm -r bad ;;
        empty) rm -r bad/* ;;
        garbage) echo '{"manifests":[{"digest":"sha256:../../etc/passwd"}]' >bad/index.json ;;
        foreign)
            mv bad/index.json x
            jq '.manifests[0].digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"' x >bad/index.json
            ;;
        cut) truncate -s -1 "bad/blobs/sha256/${layer#sha256:}" ;;
        flipped) printf 'X' | dd of="bad/blobs/sha256/${layer#sha256:}" bs=1 seek=20 conv=notrunc status=none ;;
        absent) rm "bad/blobs/sha256/${layer#sha256:}" ;;
        esac
        elsewhere "st-$what"
        virga_run 0 build -t app --cache-from "type=local,src=$PWD/bad" ctx
        [ "$(grep -c 'cache not used' <<<"$stderr")" -eq 1 ] || { echo "$what"; show; false; }
        virga_run 0 run app -- cat /both
        prints "$(printf 'one\nmade')"
    done
    virga_run 0 build -t app --cache-from "127.0.0.1:1/no/registry" ctx
    virga_run 0 build -t app --no-cache --cache-to "type=local,dest=/proc/none" ctx
    says "cache not written"
}

@test "options that make no sense" {
    local o
    for o in type=registry type=local,dest=x type=s3,ref=a ref=a type=registry,ref=a,mode=max; do
        virga_run 2 build --cache-from "$o" ctx
        fails cache-from
    done
    virga_run 2 build --cache-to "type=local,dest=x,mode=some" ctx
    fails mode
}
