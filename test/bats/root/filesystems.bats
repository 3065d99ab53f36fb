# Storage on file systems of all kinds, and moved between them: the same
# images everywhere.
load ../common
setup() {
    common_setup
    PATH=$PATH:/usr/sbin:/sbin
    mnt=$BATS_TEST_TMPDIR/fs
    mkdir -p "$mnt"
    export VIRGA_STORAGE=$mnt/storage SOURCE_DATE_EPOCH=1000000000
    echo c >f && chmod 600 f
    {
        echo "FROM $REGISTRY/tiny"
        cat <<'EOF'
RUN mkdir -p /d/e /gone/x && echo 1 >/d/f && ln /d/f /d/g && ln -s f /d/l && chown 3:4 /d/f && chmod 4750 /d/f && echo s >/d/e/s && mkfifo /d/p
COPY f /d/
RUN rm /d/g && rm -r /gone && mkdir /gone && echo new >/gone/y
RUN rm -r /d/e && echo file >/d/e && chmod 700 /gone && touch -d @77 /gone/y
RUN rm -r /gone && mkdir -p /gone/x && mv /d/l /gone/l
EOF
    } >Dockerfile
}
teardown() {
    cd /
    local m
    for m in "$mnt/inner" "$mnt" "$BATS_TEST_TMPDIR/below"; do
        ! mountpoint -q "$m" || umount -l "$m"
    done
}

# disk TYPE SIZE OPTION... makes a file system in a file and mounts it.
disk() {
    local type=$1 size=$2
    shift 2
    truncate -s "$size" "$BATS_TEST_TMPDIR/image"
    "mkfs.$type" "$@" "$BATS_TEST_TMPDIR/image" >/dev/null 2>&1
    mount -o loop "$BATS_TEST_TMPDIR/image" "$mnt"
}

# reference builds once on the disk of the tests and remembers the digest.
reference() {
    local here=$VIRGA_STORAGE
    if [ ! -s "$SUITE_DIR/fs-digest" ]; then
        export VIRGA_STORAGE=$BATS_TEST_TMPDIR/reference
        virga build -q -t app . >/dev/null
        virga push app "$REGISTRY/fs:reference"
        digest_in fs:reference >"$SUITE_DIR/fs-digest"
        export VIRGA_STORAGE=$here
    fi
    want=$(cat "$SUITE_DIR/fs-digest")
}

digest_in() { reg "${1%:*}/manifests/${1##*:}" -H 'Accept: application/vnd.oci.image.manifest.v1+json' | sha256sum; }

# builds_alike NAME demands that a build is that of the reference, and a second
# one all hits.
builds_alike() {
    reference
    virga_run 0 build -t app .
    virga_run 0 build -t app .
    [ "$(grep -c '[0-9]\. ' <<<"$stderr")" -eq 0 ] || { show; return 1; }
    virga_run 0 run app -- sh -c 'cat /d/f /gone/*/* 2>/dev/null; ls /d /gone; stat -c %a /d/f'
    virga push app "$REGISTRY/fs:$1"
    [ "$(digest_in "fs:$1")" = "$want" ] || {
        reg "fs/manifests/$1" -H 'Accept: application/vnd.oci.image.manifest.v1+json'
        return 1
    }
}

@test "ext4, and a chain of 127 instructions" {
    disk ext4 300M
    builds_alike ext4
    { echo "FROM $REGISTRY/tiny"; for i in $(seq 127); do echo "RUN echo $i >/n"; done; } >Dockerfile
    virga_run 0 build -t deep .
    virga_run 0 run deep -- cat /n
    prints 127
}

@test "XFS with and without reflink" {
    local r
    for r in 1 0; do
        disk xfs 310M -q -m "reflink=$r"
        builds_alike "xfs$r"
        umount "$mnt"
        rm "$BATS_TEST_TMPDIR/image"
    done
}

@test "Btrfs" {
    disk btrfs 300M
    builds_alike btrfs
}

@test "tmpfs" {
    mount -t tmpfs -o size=200m tmpfs "$mnt"
    builds_alike tmpfs
}

@test "FUSE, without extended attributes" {
    mkdir "$BATS_TEST_TMPDIR/below"
    bindfs --xattr-none "$BATS_TEST_TMPDIR/below" "$mnt"
    builds_alike bindfs
}

@test "an overlay on which no overlay can be, a chain of 127, and moves to and fro" {
    mkdir -p "$BATS_TEST_TMPDIR"/o/{l,u,w}
    mount -t overlay overlay -o "lowerdir=$BATS_TEST_TMPDIR/o/l,upperdir=$BATS_TEST_TMPDIR/o/u,workdir=$BATS_TEST_TMPDIR/o/w" "$mnt"
    builds_alike overlay
    grep -q '^plain ' "$VIRGA_STORAGE/notes/overlay"
    # To where overlays work: the trees are used as they are, and built upon.
    local plain=$VIRGA_STORAGE
    export VIRGA_STORAGE=$BATS_TEST_TMPDIR/moved
    cp -a "$plain" "$VIRGA_STORAGE"
    cp Dockerfile Dockerfile.more
    echo 'RUN ls /d /gone >/list; ! test -e /gone/y && ! test -e /d/g' >>Dockerfile.more
    virga_run 0 build -t more -f Dockerfile.more .
    grep -q '^overlay ' "$VIRGA_STORAGE/notes/overlay"
    [ "$(grep -c '[0-9]\. ' <<<"$stderr")" -eq 1 ] || { show; false; }
    virga_run 0 run more -- cat /list
    prints "$(printf '/d:\ne\nf\np\n\n/gone:\nl\nx')"
    virga delete app
    virga_run 0 build -t app .
    virga_run 0 run app -- ls /gone
    # And back.
    rm -rf "$plain"
    # The devices that stand for deletions cannot be made there.
    ! cp -a "$VIRGA_STORAGE" "$plain" 2>errors
    [ "$(grep -vc 'special file' errors)" -eq 0 ]
    export VIRGA_STORAGE=$plain
    virga_run 0 run more -- ls /gone
    prints "$(printf 'l\nx')"
    echo 'RUN ! test -e /gone/y && cat /list >/list2' >>Dockerfile.more
    virga_run 0 build -t more -f Dockerfile.more .
    [ "$(grep -c '[0-9]\. ' <<<"$stderr")" -eq 1 ] || { show; false; }
    { echo "FROM $REGISTRY/tiny"; for i in $(seq 127); do echo "RUN echo $i >/n"; done; } >Dockerfile
    virga_run 0 build -t deep .
    virga_run 0 run deep -- cat /n
    prints 127
}

@test "what differs: files of several names, changed in place; files opened and left" {
    cat >Dockerfile <<EOF
FROM $REGISTRY/tiny
RUN echo 1 >/a && ln /a /b && echo x >/c
RUN echo 2 >>/a
RUN : >>/c
EOF
    export VIRGA_STORAGE=$BATS_TEST_TMPDIR/overlay
    virga_run 0 build -t app .
    virga_run 0 run app -- cat /b
    prints 1
    virga_run 0 inspect app
    [ "$(jq '.[0].RootFS.Layers | length' <<<"$output")" -eq 4 ]
    export VIRGA_STORAGE=$BATS_TEST_TMPDIR/plain
    virga pull "$REGISTRY/tiny"
    echo FROM "$REGISTRY/tiny" | cat - <(echo RUN true) >Dockerfile.probe
    virga build -q -t probe -f Dockerfile.probe . >/dev/null
    sed -i 's/^overlay /plain /' "$VIRGA_STORAGE/notes/overlay"
    virga_run 0 build -t app .
    says "files are copied"
    virga_run 0 run app -- cat /b
    prints "$(printf '1\n2')"
    virga_run 0 inspect app
    [ "$(jq '.[0].RootFS.Layers | length' <<<"$output")" -eq 3 ]
}

@test "a full disk: one error, and storage is usable" {
    disk ext4 40M
    virga pull "$REGISTRY/tiny"
    printf 'FROM %s/tiny\nRUN echo kept >/kept\nRUN dd if=/dev/zero of=/big bs=1M count=100\n' "$REGISTRY" >Dockerfile
    virga_run 1 build -t big .
    says "No space left"
    no_work_left
    sed -i '$d' Dockerfile
    virga_run 0 build -t small .
    [ "$(grep -c '[0-9]\. ' <<<"$stderr")" -eq 0 ]
    virga_run 0 run small -- cat /kept
    prints kept
    # Full while virga itself writes.
    head -c 50M /dev/urandom >f
    printf 'FROM %s/tiny\nCOPY f /f\n' "$REGISTRY" >Dockerfile
    virga_run 1 build -t big .
    fails "no space left on device"
    no_work_left
    virga_run 0 list
    virga_run 0 delete small
}

@test "a machine that went down: what was not written out is not believed" {
    disk ext4 200M
    virga_run 0 build -t app .
    # Like after a crash in the middle of another build: records of a boot that is over.
    local rec tree
    rec=$(grep -rl '"instruction":"RUN /bin/sh -c rm -r /gone' "$VIRGA_STORAGE/cache" | head -1)
    jq -c '.bootID |= sub("/.*"; "/00000000")' "$rec" >x && cat x >"$rec.new" && mv "$rec.new" "$rec" && chmod 600 "$rec"
    mkdir -p "$VIRGA_STORAGE/tmp/$(hostname | tr - _)-999999-1-$(jq -r '.bootID | split("/")[0]' x)-00000000-1-abcd/work-1/fs"
    virga_run 0 list
    [ -z "$(ls "$VIRGA_STORAGE/tmp")" ]
    virga_run 0 build -t app .
    [ "$(grep -c '[0-9]\. ' <<<"$stderr")" -ge 1 ] || { show; false; }
    virga_run 0 run app -- ls /gone
}

@test "two hosts on one storage: work of the other is left alone, and locks hold" {
    virga pull "$REGISTRY/tiny"
    mkdir meet
    printf 'FROM %s/tiny\nRUN until [ -e /meet/go ]; do sleep 0.1; done; echo once >/once\n' "$REGISTRY" >Dockerfile
    unshare --uts sh -c 'hostname otherhost; exec virga build -b "$PWD/meet:/meet" -t one .' >one 2>&1 3>&- &
    local other=$!
    wait_for 20 sh -c 'ls "$VIRGA_STORAGE/tmp" | grep -q otherhost'
    virga_run 0 prune -a
    ls "$VIRGA_STORAGE/tmp" | grep -q otherhost
    virga build -b "$PWD/meet:/meet" -t two . >two 2>&1 3>&- &
    local here=$!
    wait_for 20 grep -q 'waiting for another build' two
    touch meet/go
    wait "$other" && wait "$here"
    grep -q '\* RUN' two
    virga_run 0 run one -- cat /once
    prints once
}
