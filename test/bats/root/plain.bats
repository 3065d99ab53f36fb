# Storage that overlay mounts cannot write to: here one that is an overlay itself.
load ../common
setup() {
    common_setup
    mkdir -p "$BATS_TEST_TMPDIR"/o/{l,u,w,m}
    mount -t overlay overlay -o "lowerdir=$BATS_TEST_TMPDIR/o/l,upperdir=$BATS_TEST_TMPDIR/o/u,workdir=$BATS_TEST_TMPDIR/o/w" "$BATS_TEST_TMPDIR/o/m"
    export VIRGA_STORAGE=$BATS_TEST_TMPDIR/o/m/storage
    virga import "$SUITE_DIR/tiny.tar" tiny
}
teardown() { umount -l "$BATS_TEST_TMPDIR/o/m"; }

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
