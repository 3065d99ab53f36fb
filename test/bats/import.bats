# import: directories and tarballs become images.
load common
setup() { common_setup; }

@test "a directory" {
    virga_run 0 import "$SUITE_DIR/tiny" tiny
    virga_run 0 list
    prints "tiny:latest"
    virga_run 0 run tiny -- echo hello
    prints hello
}

@test "a tarball, plain, gzip, xz and zstd" {
    gzip -c "$SUITE_DIR/tiny.tar" >t.tar.gz
    xz -0 -c "$SUITE_DIR/tiny.tar" >t.tar.xz
    zstd -q -c "$SUITE_DIR/tiny.tar" >t.tar.zst
    cp "$SUITE_DIR/tiny.tar" t.tar
    for f in t.tar t.tar.gz t.tar.xz t.tar.zst; do
        virga_run 0 import $f "x-${f//./-}"
        virga_run 0 run "x-${f//./-}" -- echo "$f"
        prints "$f"
    done
}

@test "a tarball on standard input" {
    virga import - tiny <"$SUITE_DIR/tiny.tar"
    virga_run 0 list
    prints "tiny:latest"
}

@test "a tarball with one top directory" {
    tar -C "$SUITE_DIR" -cf t.tar tiny
    virga_run 0 import t.tar x
    virga_run 0 run x -- echo top
    prints top
}

@test "the source is not touched" {
    cp -a "$SUITE_DIR/tiny" d
    chmod 500 d/etc
    local before after
    before=$(find d -printf '%p %m %T@ %s\n' | sort | sha256sum)
    virga_run 0 import d x
    after=$(find d -printf '%p %m %T@ %s\n' | sort | sha256sum)
    [ "$before" = "$after" ]
    chmod 700 d/etc
}

@test "links out of the directory are kept as links" {
    cp -a "$SUITE_DIR/tiny" d
    echo secret >secret
    ln -s "$PWD/secret" d/abs
    ln -s ../../../../../../../../etc/hostname d/rel
    virga_run 0 import d x
    virga_run 0 run x -- readlink /abs
    prints "$PWD/secret"
    ! grep -r secret "$VIRGA_STORAGE/trees"/*/fs --include=abs
}

@test "an existing name is replaced" {
    tiny
    mkdir -p d/bin && cp "$SUITE_DIR/tiny/bin/busybox" d/bin/ && echo two >d/which
    virga_run 0 import d tiny
    virga_run 0 run tiny -- /bin/busybox cat /which
    prints two
}

@test "what does not exist" {
    virga_run 1 import nowhere x
    fails nowhere "no such file"
    nothing_left
}

@test "a file that is no archive" {
    echo text >t.tar
    virga_run 1 import t.tar x
    fails t.tar
    nothing_left
}

@test "a truncated tarball leaves nothing" {
    head -c 300000 "$SUITE_DIR/tiny.tar" >t.tar
    virga_run 1 import t.tar x
    fails t.tar
    nothing_left
}

@test "a tarball that climbs out" {
    mkdir d && echo evil >d/evil
    tar -C d -P --transform 's|^evil|../../evil|' -cf t.tar evil
    virga_run 1 import t.tar x
    fails "leaves the image"
    nothing_left
    [ ! -e ../evil ] && [ ! -e "$VIRGA_STORAGE/evil" ]
}

@test "wrong number of arguments" {
    virga_run 2 import x
    fails "PATH or REF is missing"
}
