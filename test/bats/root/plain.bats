# Storage that overlay mounts cannot write to: here one that is an overlay itself.
load ../common
setup() {
    common_setup
    mkdir -p "$BATS_TEST_TMPDIR"/o/{l,u,w,m}
    mount -t overlay overlay -o "lowerdir=$BATS_TEST_TMPDIR/o/l,upperdir=$BATS_TEST_TMPDIR/o/u,workdir=$BATS_TEST_TMPDIR/o/w" "$BATS_TEST_TMPDIR/o/m"
    export VIRGA_STORAGE=$BATS_TEST_TMPDIR/o/m/storage
    virga import "$SUITE_DIR/tiny.tar" tiny
}
teardown() {
    umount -l "$BATS_TEST_TMPDIR/o/m"
    rm -rf "${third-/nonexistent}"
}

@test "files are copied instead, with the same result" {
    echo c >f
    dockerfile <<'EOF'
FROM tiny AS one
RUN echo old >/etc/one && mkdir /d && echo 1 >/d/f && echo 2 >/d/g && chown 3:4 /d/g && ln -s f /d/l
RUN rm /d/f && rm -r /var && mkdir /var && echo new >/etc/one
COPY f /d/
WORKDIR /made
FROM tiny
COPY --from=one /d /d
RUN stat -c %u:%g /d/g >/owner && ls /d >/list
EOF
    SOURCE_DATE_EPOCH=1 virga_run 0 build -t app --target one .
    says "files are copied"
    virga_run 0 run app -- sh -c 'cat /d/f /d/g /etc/one; ls /var; ls -d /made'
    prints "$(printf 'c\n2\nnew\n/made')"
    virga_run 0 inspect app
    local here
    here=$(jq -c '.[0].RootFS.Layers' <<<"$output")
    virga_run 0 build -t two .
    virga_run 0 run two -- cat /owner /list
    prints "$(printf '3:4\nf\ng\nl')"
    virga_run 0 push app "$REGISTRY/plain:1"
    # On another file system the same build gives the same layers.
    export VIRGA_STORAGE=$BATS_TEST_TMPDIR/storage2
    virga import "$SUITE_DIR/tiny.tar" tiny
    touch -d @1 f
    SOURCE_DATE_EPOCH=1 virga_run 0 build -t app --target one .
    virga_run 0 inspect app
    [ "$(jq -c '.[0].RootFS.Layers' <<<"$output" | jq -r '.[1]')" = "$(jq -r '.[1]' <<<"$here")" ]
}

@test "the same digests with overlay mounts, without them, and as another user" {
    mkdir context && echo 1 >context/f && echo 2 >context/g && chmod 644 context/*
    dockerfile <<'EOF'
FROM tiny AS one
RUN mkdir /made && for i in 5 3 1 4 2; do echo $i >/made/$i; done && ln /made/1 /made/one && chown -R 7:8 /made && chmod 4755 /made/3
RUN rm -r /var/tmp /made/4 && mkfifo /made/pipe && mknod /made/null c 1 3 && chmod 700 /root
FROM tiny
WORKDIR /work/dir
COPY context /copied
COPY --from=one /made /made
RUN echo x >>/copied/f && mv /copied/g /copied/h && rm -r /made
EOF
    # digests prints the layers of app, which a push to REPOSITORY then has as blobs.
    digests() {
        virga build -q --timestamp 1600000000 -t app . >/dev/null
        virga push -q --plain-http app "$REGISTRY/$1:1" >/dev/null
        reg "$1/manifests/1" -H 'Accept: application/vnd.oci.image.manifest.v1+json'
    }
    export SOURCE_DATE_EPOCH=1500000000
    virga reset
    virga import "$SUITE_DIR/tiny.tar" tiny
    local plain over
    plain=$(digests repplain)
    sleep 1.1
    touch context/f
    export VIRGA_STORAGE=$BATS_TEST_TMPDIR/storage2
    virga import "$SUITE_DIR/tiny.tar" tiny
    over=$(umask 077 && digests repover)
    [ "$plain" = "$over" ] || { diff <(jq . <<<"$plain") <(jq . <<<"$over"); false; }
    # Another user, where that user may look.
    third=$(mktemp -d /var/tmp/virga-third.XXXXXX)
    cp -r context Dockerfile "$SUITE_DIR/tiny.tar" "$third"
    chmod 644 "$third"/Dockerfile "$third"/tiny.tar "$third"/context/*
    chown -R 4711:4711 "$third"
    # shellcheck disable=SC2016
    setpriv --reuid 4711 --regid 4711 --clear-groups env -u XDG_CONFIG_HOME HOME=/nonexistent VIRGA_STORAGE="$third/storage" sh -c \
        'cd "$1" && virga import tiny.tar tiny && virga build -q --timestamp 1600000000 -t app . && virga push -q --plain-http app "$2/repthird:1"' \
        - "$third" "$REGISTRY" >/dev/null
    [ "$(reg repthird/manifests/1 -H 'Accept: application/vnd.oci.image.manifest.v1+json')" = "$over" ]
}
