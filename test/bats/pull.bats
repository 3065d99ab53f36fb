# pull: from a registry to one flat directory.
load common
setup() { common_setup; }
teardown() { [ -z "${MY_REGISTRY_PID-}" ] || registry_stop "$MY_REGISTRY_PID"; }

# layers makes the tarballs one.tar, two.tar and three.tar, which replace,
# delete and hide each other's files.
layers() {
    cp -a "$SUITE_DIR/tiny" one
    mkdir -p one/dir/sub one/opaque one/tolink one/todir.d
    echo 1 | tee one/dir/a one/dir/b one/dir/sub/c one/opaque/old one/file2dir one/tolink/x one/gone >/dev/null
    ln -s dir one/link2file
    ln one/gone one/hard
    tar -C one --owner=0 --group=0 -cf one.tar .
    mkdir -p two/dir/sub two/opaque two/file2dir
    : >two/dir/.wh.a
    : >two/.wh.gone
    echo 2 | tee two/dir/b two/opaque/new two/file2dir/in two/link2file >/dev/null
    : >two/opaque/.wh..wh..opq
    : >two/.wh.tolink
    tar -C two --owner=0 --group=0 -cf two.tar .
    mkdir -p three
    ln -s /etc three/tolink
    echo 3 >three/dir2
    tar -C three --owner=0 --group=0 -cf three.tar .
}

flattened() {
    virga unpack -o out "$1"
    [ ! -e out/dir/a ]
    [ "$(cat out/dir/b out/dir/sub/c out/opaque/new out/file2dir/in out/link2file out/dir2)" = "$(printf '2\n1\n2\n2\n2\n3')" ]
    [ "$(ls out/opaque)" = new ]
    [ ! -L out/link2file ]
    [ "$(readlink out/tolink)" = /etc ]
    [ ! -e out/gone ] && [ "$(cat out/hard)" = 1 ]
    [ -z "$(find out -name '.wh.*')" ]
}

@test "every format: OCI and Docker, gzip, zstd, none" {
    layers
    local n=0
    for format in oci-gzip oci-zstd oci-none docker-gzip; do
        TYPE=${format%-*} COMPRESS=${format#*-} push_image "format/$format:1" one.tar two.tar three.tar
        virga_run 0 pull "$REGISTRY/format/$format:1"
        flattened "$REGISTRY/format/$format:1"
        rm -rf out
        n=$((n + 1))
    done
    [ $n -eq 4 ]
}

@test "indexes of both types: the host's image is taken, others by --arch" {
    cp -a "$SUITE_DIR/tiny" d
    local pairs arch
    for type in oci docker; do
        pairs=()
        for arch in "$(host_arch)" s390x riscv64; do
            echo "$arch" >d/arch
            tar -C d -cf l.tar .
            pairs+=("$arch=$(TYPE=$type ARCH=$arch push_image "index-$type:$arch" l.tar)")
        done
        push_index "index-$type:all" "$type" "${pairs[@]}"
        virga_run 0 pull "$REGISTRY/index-$type:all"
        virga_run 0 run "$REGISTRY/index-$type:all" -- cat /arch
        prints "$(host_arch)"
        virga_run 0 pull -a s390x "$REGISTRY/index-$type:all" "d-$type"
        [ "$(cat "d-$type/arch")" = s390x ]
        virga_run 1 pull -a mips64le "$REGISTRY/index-$type:all"
        fails mips64le
        says s390x
    done
}

@test "by digest" {
    local d
    d=$(push_image bydigest:1 "$SUITE_DIR/tiny.tar")
    virga_run 0 pull "$REGISTRY/bydigest@$d"
    virga_run 0 run "$REGISTRY/bydigest@$d" -- echo ok
    prints ok
    virga_run 1 pull "$REGISTRY/bydigest@sha256:$(printf '0%.0s' {1..64})"
    fails "not found"
}

@test "with DIR: unpacked there, no image kept" {
    virga_run 0 pull "$REGISTRY/tiny" there
    [ -x there/bin/busybox ]
    virga_run 0 list
    prints ""
}

@test "standard output is empty, and -q says nothing" {
    virga_run 0 pull "$REGISTRY/tiny"
    prints ""
    virga_run 0 pull -q "$REGISTRY/tiny"
    [ -z "$stderr" ]
}

@test "--parse-only prints the parts of a reference" {
    virga_run 0 pull --parse-only example.org:5000/a/b/c:d
    prints_like "*example.org*5000*"
    prints_like "*c*d*"
}

@test "--last-layer stops early" {
    layers
    push_image last:1 one.tar two.tar three.tar
    virga_run 0 pull --last-layer 1 "$REGISTRY/last:1" out
    [ "$(cat out/dir/a)" = 1 ] && [ ! -e out/dir2 ]
    virga_run 0 pull --last-layer 2 "$REGISTRY/last:1"
    virga_run 0 run "$REGISTRY/last:1" -- cat /dir/b
    prints 2
}

@test "a second pull fetches nothing again" {
    virga pull "$REGISTRY/tiny"
    virga delete '*tiny*'
    virga_run 0 -v pull "$REGISTRY/tiny"
    local blob
    blob=$(blob_file "$(layer_digest tiny:latest 0)")
    mv "$blob" "$blob.away"
    virga_run 0 pull "$REGISTRY/tiny"
    mv "$blob.away" "$blob"
}

@test "modes: directories are at least rwx, files rw, for the owner" {
    cp -a "$SUITE_DIR/tiny" d
    mkdir d/closed && echo x >d/closed/file
    chmod 400 d/closed/file
    chmod 500 d/closed
    tar -C d -cf l.tar .
    chmod -R u+w d
    push_image modes:1 l.tar
    virga_run 0 pull "$REGISTRY/modes:1" out
    [ "$(stat -c %A out/closed | cut -c1-4)" = drwx ]
    [ "$(stat -c %A out/closed/file | cut -c1-3)" = -rw ]
    # The true modes are remembered, and seen in the container.
    virga pull "$REGISTRY/modes:1"
    printf 'FROM %s\nRUN stat -c "%%a" /closed /closed/file >/modes\n' "$REGISTRY/modes:1" | virga build -t modes - 2>/dev/null >&2
}

@test "devices are left out and counted" {
    # A tar with a character device, written by hand: nobody may make one here.
    mkdir d && : >d/dev0
    tar -C d --format=ustar -cf l.tar dev0
    printf '3' | dd of=l.tar bs=1 seek=156 conv=notrunc status=none
    printf '0000001\0000000003\0' | dd of=l.tar bs=1 seek=329 conv=notrunc status=none
    printf '        ' | dd of=l.tar bs=1 seek=148 conv=notrunc status=none
    local sum
    sum=$(head -c 512 l.tar | od -An -v -tu1 | tr -s ' ' '\n' | awk '{s += $1} END {print s}')
    printf '%06o\0 ' "$sum" | dd of=l.tar bs=1 seek=148 conv=notrunc status=none
    tar -tvf l.tar | grep '^c'
    push_image devices:1 "$SUITE_DIR/tiny.tar" l.tar
    virga_run 0 pull "$REGISTRY/devices:1" out
    [ ! -e out/dev0 ]
    says "1 device"
    # In storage it is remembered.
    virga pull "$REGISTRY/devices:1"
    [ "$(virga run --force "$REGISTRY/devices:1" stat -c "%F %t,%T" /dev0)" = "character special file 1,3" ]
}

@test "paths and links that leave the image" {
    mkdir -p d
    echo evil >d/evil
    tar -C d -P --transform 's|^evil|../../../evil|' -cf l.tar evil
    push_image escape:dots "$SUITE_DIR/tiny.tar" l.tar
    virga_run 1 pull "$REGISTRY/escape:dots" out
    fails "leaves the image"
    # Through a link of an earlier layer: the file stays below the root.
    mkdir victim
    ln -s "$PWD/victim" d/link
    tar -C d -cf l1.tar link
    rm d/link && mkdir d/link && echo evil >d/link/file
    tar -C d -cf l2.tar link/file
    push_image escape:link "$SUITE_DIR/tiny.tar" l1.tar l2.tar
    virga_run 0 pull "$REGISTRY/escape:link" out2
    [ -z "$(ls victim)" ]
}

@test "TLS with a private CA: SSL_CERT_FILE and certs.d" {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout ca.key -out ca.crt -subj /CN=ca 2>/dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -out csr -subj /CN=registry 2>/dev/null
    printf 'subjectAltName=IP:127.0.0.1\n' >ext
    openssl x509 -req -in csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out crt 2>/dev/null
    registry_start "$PWD/r" "$PWD/crt" "$PWD/key"
    MY_REGISTRY_PID=$REGISTRY_PID
    REGISTRY_SCHEME=https REGISTRY_CURL=-k push_image tls:1 "$SUITE_DIR/tiny.tar"
    virga_run 1 pull "$REGISTRY/tls:1"
    fails certificate
    SSL_CERT_FILE=$PWD/ca.crt virga_run 0 pull "$REGISTRY/tls:1"
    virga reset
    mkdir -p "$XDG_CONFIG_HOME/containers/certs.d/$REGISTRY"
    cp ca.crt "$XDG_CONFIG_HOME/containers/certs.d/$REGISTRY/"
    virga_run 0 pull "$REGISTRY/tls:1"
    rm -r "$XDG_CONFIG_HOME/containers"
    virga reset
    virga_run 0 pull --tls-no-verify "$REGISTRY/tls:1"
}

@test "an image that the registry does not have" {
    virga_run 1 pull "$REGISTRY/nothing:1"
    fails "$REGISTRY/nothing:1" "not found"
    nothing_left
}

@test "a registry that does not answer" {
    virga_run 1 pull "127.0.0.1:$(free_port)/x"
    fails "127.0.0.1" "refused"
    hints "" # there is one
    nothing_left
}

@test "a corrupt blob: refused by its digest, nothing left, the next pull works" {
    head -c 3000000 /dev/urandom >data
    mkdir d && cp data d/
    tar -C d -cf l.tar .
    COMPRESS=none push_image corrupt:1 "$SUITE_DIR/tiny.tar" l.tar
    local blob
    blob=$(blob_file "$(layer_digest corrupt:1 1)")
    cp "$blob" good
    printf 'XXXX' | dd of="$blob" bs=1 seek=1000000 conv=notrunc status=none
    virga_run 1 pull "$REGISTRY/corrupt:1"
    fails "$(layer_digest corrupt:1 1)"
    nothing_left
    cp good "$blob"
    virga_run 0 pull "$REGISTRY/corrupt:1"
}

@test "a truncated blob" {
    head -c 3000000 /dev/urandom >data
    mkdir d && cp data d/
    tar -C d -cf l.tar .
    push_image truncated:1 "$SUITE_DIR/tiny.tar" l.tar
    truncate -s 1000000 "$(blob_file "$(layer_digest truncated:1 1)")"
    virga_run 1 pull "$REGISTRY/truncated:1"
    fails "$(layer_digest truncated:1 1)"
    nothing_left
}

@test "a lying diff ID" {
    layers
    push_image lying:1 one.tar
    # The same manifest with another configuration: the layer's diff ID is wrong.
    local manifest config d
    manifest=$(reg lying/manifests/1 -H 'Accept: application/vnd.oci.image.manifest.v1+json')
    reg "lying/blobs/$(jq -r .config.digest <<<"$manifest")" | sed "s/$(digest_of one.tar)/$(digest_of two.tar)/" >config
    d=$(put_blob lying config)
    jq -c --arg d "$d" --argjson s "$(stat -c %s config)" '.config.digest = $d | .config.size = $s' <<<"$manifest" >m
    reg lying/manifests/2 -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary @m
    virga_run 1 pull "$REGISTRY/lying:2"
    fails "diff ID"
    nothing_left
}

@test "a full disk" {
    head -c 30000000 /dev/urandom >data
    mkdir d && mv data d/
    tar -C d -cf l.tar .
    push_image big:1 "$SUITE_DIR/tiny.tar" l.tar
    mkdir small
    run --separate-stderr unshare --user --map-root-user --mount sh -c '
        mount -t tmpfs -o size=16m none small || exit 77
        virga -s small/st pull "$1"; status=$?
        virga -s small/st list
        find small/st/tmp -mindepth 2 >&2
        exit $status' - "$REGISTRY/big:1"
    [ "$status" -ne 77 ] || missing "a tmpfs in a user namespace"
    [ "$status" -eq 1 ]
    fails "no space left on device"
    hints "free some space"
    prints ""
}

@test "Ctrl-C in the middle: status 1, nothing left" {
    head -c 200000000 /dev/urandom >data
    mkdir d && mv data d/
    tar -C d -cf l.tar .
    COMPRESS=none push_image slow:1 "$SUITE_DIR/tiny.tar" l.tar
    rm -rf d l.tar
    env --default-signal=INT virga pull "$REGISTRY/slow:1" 2>err 3>&- &
    local pid=$!
    wait_for 20 sh -c 'find "$VIRGA_STORAGE/tmp" -type f -size +4000k | grep -q .'
    kill -INT $pid
    status=0
    wait $pid || status=$?
    output='' stderr=$(cat err)
    [ $status -eq 1 ]
    fails interrupted
    nothing_left
}

@test "several pulls at once" {
    layers
    push_image many:1 one.tar two.tar three.tar
    local pids=() p
    for _ in 1 2 3 4; do
        virga pull "$REGISTRY/many:1" 2>>err &
        pids+=($!)
    done
    for p in "${pids[@]}"; do wait "$p" || { cat err; false; }; done
    flattened "$REGISTRY/many:1"
}
