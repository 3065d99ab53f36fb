# save, load, convert, build --output: images as files. The last tests have
# other programs read what virga writes, and the other way round.
load common
setup() { common_setup; }

# app builds "app": two layers, a file of 33:33, a set-id file, a device, a
# file with a capability.
app() {
    tiny
    cap_tar cap.tar
    dockerfile <<'END'
FROM tiny
ADD cap.tar /
RUN echo hello >/f && chown 33:33 /f && cp /bin/busybox /suid && chmod 4755 /suid && mknod /null c 1 3
ENV A=b
LABEL l=m
CMD ["/bin/cat", "/f"]
END
    virga build -t app . 2>/dev/null
}

# other runs virga with another storage directory.
other() { VIRGA_STORAGE=$BATS_TEST_TMPDIR/other virga "$@"; }

digest() { virga inspect "$1" | jq -r '.[0].RepoDigests[0]' | sed 's/.*@//'; }

@test "save and load: several images, all formats of compression, standard input and output" {
    app
    virga tag app second:2
    virga_run 0 save -o two.tar app tiny second:2
    tar -xOf two.tar manifest.json | jq -e '[.[].RepoTags[]] == ["app:latest", "second:2", "tiny:latest"]'
    gzip -k two.tar; zstd -qk two.tar; xz -0 -k two.tar
    for f in two.tar two.tar.gz two.tar.zst two.tar.xz; do
        rm -rf "$BATS_TEST_TMPDIR/other"
        [ "$(other load -i $f 2>/dev/null | sort)" = "$(printf 'Loaded image: %s\n' app:latest second:2 tiny:latest)" ]
        [ "$(other run app)" = hello ]
    done
    virga save app | other load -q -t renamed | grep -x renamed:latest
    virga save --format oci app | gzip | other load
    other inspect app | jq -e '.[0].Config.Labels.l == "m"'
}

@test "save: the same bytes each time, and the digests that a push has" {
    app
    virga push -q --plain-http app "$REGISTRY/files/app" >pushed
    virga save --format oci -o a.tar app
    virga save --format oci app | cmp - a.tar
    [ "$(tar -xOf a.tar index.json | jq -r '.manifests[0].digest')" = "$(cat pushed)" ]
}

@test "save and load: a pulled image keeps its digest, whatever its media types" {
    TYPE=docker push_image files/d:1 "$SUITE_DIR/tiny.tar" >want
    virga pull "$REGISTRY/files/d:1"
    virga save "$REGISTRY/files/d:1" | other load
    [ "$(VIRGA_STORAGE=$BATS_TEST_TMPDIR/other digest "$REGISTRY/files/d:1")" = "$(cat want)" ]
}

@test "save: compression by the name of the file; an old file stays when it fails" {
    tiny
    virga save -o t.tar.gz tiny && gzip -t t.tar.gz
    virga save -o t.tar.zst tiny && zstd -qt t.tar.zst
    virga_run 2 save -o t.tar.xz tiny
    fails "can only be read"
    echo old >f
    virga_run 1 save -o f nothing
    [ "$(cat f)" = old ]
    virga_run 2 save --format tar -o x tiny tiny
    fails "takes one image"
    virga_run 2 save --format zip tiny
    fails "not one of docker, oci, tar"
}

@test "save and load refuse a terminal" {
    tiny
    run script -qec 'virga save tiny' /dev/null
    [[ $output == *"standard output is a terminal"* ]]
    run script -qec 'virga load' /dev/null
    [[ $output == *"standard input is a terminal"* ]]
}

@test "load: what is wrong gives one error, and no image" {
    tiny
    virga save -o t.tar tiny
    virga delete tiny
    head -c 20000 t.tar >short.tar
    sed 's/"size":/"sizf":/' t.tar >size.tar
    echo '<html>' >page
    mkfifo fifo
    tar -C "$SUITE_DIR/tiny" -cf root.tar bin/busybox
    for f in short.tar size.tar page fifo root.tar missing; do
        virga_run 1 load -i $f
        fails "load \"$PWD/$f\": "
        nothing_left
    done
    virga_run 1 load -i t.tar --platform linux/s390x
    fails "no image"
    hints "there is linux/"
    virga_run 2 load t.tar
    hints "-i FILE"
}

@test "build --output: every type, several at once" {
    tiny
    dockerfile <<<$'FROM tiny\nRUN echo x >/x && chown 1:2 /x\n'
    virga_run 0 build -t a -o out -o type=tar,dest=a.tar -o type=oci,dest=a.oci -o type=docker,dest=a.d.gz \
        -o "type=image,name=$REGISTRY/files/out,push=true" .
    [ "$(cat out/x)" = x ]
    tar -tvf a.tar x | grep ' 1/2 '
    tar -tf a.oci | grep -x index.json
    gzip -dc a.d.gz | tar -tf - | grep -x manifest.json
    reg files/out/manifests/latest -H 'Accept: application/vnd.oci.image.manifest.v1+json' >/dev/null
    virga list | grep -x "$REGISTRY/files/out:latest"
    virga build -q -t a -o - . | tar -tf - | grep -x x
    virga_run 2 build -t a -o type=zip .
    fails "type \"zip\""
    virga_run 2 build -t a -o type=local .
    fails "dest is missing"
}

@test "convert: between all forms, and nothing is lost on the way" {
    app
    local d
    d=$(virga inspect app | jq -r '.[0].Id')
    virga convert app docker-archive:1.tar
    virga convert 1.tar oci-archive:2.tar
    virga convert 2.tar oci:3
    virga convert ./3 back
    [ "$(virga inspect back | jq -r '.[0].Id')" = "$d" ]
    virga convert 3/ 4.tar.gz
    tar -tvf 4.tar.gz | grep -E ' 33/33 .* f$'
    tar -tvf 4.tar.gz | grep -E '^c.* 1,3 .* null$'
    virga convert 4.tar.gz ./5
    [ "$(cat 5/f)" = hello ]
    virga convert ./5 six
    virga_run 0 run six -- cat /f
    prints hello
    virga_run 1 convert missing.tar x
    fails "missing.tar" "no such file"
    virga_run 1 convert nothing x
    fails "not in storage"
}

@test "SquashFS: written, reproducible, run" {
    command -v mksquashfs unsquashfs squashfuse >/dev/null || missing squashfs-tools
    app
    virga save --format squashfs -o a.sqfs app
    virga convert app b.sqfs
    cmp a.sqfs b.sqfs
    unsquashfs -lln a.sqfs >list
    grep -E ' 33/33 .*/f$' list
    grep -E '^-rwsr-xr-x 0/0 .*/suid$' list
    grep -E '^crw.* 1, *3 .*/null$' list
    grep -E '/ch/environment$' list
    [ -r /dev/fuse ] && [ -w /dev/fuse ] || missing /dev/fuse
    virga_run 0 run ./a.sqfs
    prints hello
    virga_run 3 run a.sqfs -- sh -c '[ $A = b ] && exit 3'
    virga_run 0 run -W ./a.sqfs -- sh -c 'echo y >/y && cat /y'
    prints y
    virga_run 2 run -w ./a.sqfs -- true
    fails "cannot be changed"
    mkdir mnt
    virga_run 0 run -m mnt ./a.sqfs -- cat /f
    prints hello
    ended "squashfuse .*$PWD"
}

@test "SquashFS: read, with owners, set-id bits, devices and capabilities" {
    command -v mksquashfs sqfs2tar >/dev/null || missing squashfs-tools-ng
    app
    virga convert app a.sqfs
    virga convert a.sqfs back
    virga save --format tar -o back.tar back
    tar -tvf back.tar >list
    grep -E ' 33/33 .* f$' list
    grep -E '^-rwsr-xr-x 0/0 .* suid$' list
    grep -E '^c.* 0/0 .* 1,3 .* null$' list
    has_cap back.tar
    virga inspect back | jq -e '.[0].Config.Cmd == ["/bin/cat", "/f"] and (.[0].Config.Env | index("A=b")) != null'
    [ "$(virga run back)" = hello ]
    # The same from standard input and a pipe, and by import.
    virga import a.sqfs one
    virga import - two <a.sqfs
    cat a.sqfs | virga convert - three
    [ "$(virga inspect -f '{{.RootFS.Layers}}' back one two three | sort -u | wc -l)" -eq 1 ]
    head -c 5000 a.sqfs >short.sqfs
    for f in import convert; do
        virga_run 1 $f short.sqfs no
        fails "short.sqfs\": */sqfs2tar: exit status 1: "
        run env PATH="$PWD/none" "$(command -v virga)" $f a.sqfs no
        [ "$status" -eq 1 ]
        [[ $output == *"sqfs2tar: not installed"*"hint: install squashfs-tools-ng"* ]]
    done
    virga_run 1 load -i a.sqfs
    fails "a SquashFS file"
    hints "virga import"
    [ "$(virga list | grep -c '^no:')" -eq 0 ]
    no_work_left sqfs2tar
}

@test "SquashFS: without its programs the error says what to install" {
    tiny
    run env PATH="$PWD/none" "$(command -v virga)" save --format squashfs -o a.sqfs tiny
    [ "$status" -eq 1 ]
    [[ $output == *"mksquashfs: not installed"*"hint: install squashfs-tools"* ]]
    [ ! -e a.sqfs ]
}

@test "skopeo reads what is written, and is read" {
    command -v skopeo >/dev/null || missing skopeo
    app
    local d
    virga save -o d.tar app
    virga save --format oci -o o.tar app
    d=$(digest app)
    [ "$(skopeo inspect --raw oci-archive:o.tar | sha256sum | cut -d' ' -f1)" = "${d#sha256:}" ]
    skopeo inspect --config docker-archive:d.tar:app:latest | jq -e '.config.Labels.l == "m"'
    skopeo copy -q oci-archive:o.tar dir:s
    other load -i s -t fromdir
    skopeo copy -q oci-archive:o.tar docker-archive:s.tar:x:1
    [ "$(other load -q -i s.tar)" = x:1 ]
    skopeo copy -q docker-archive:d.tar oci:l:name
    [ "$(other load -q -i l)" = name:latest ]
    [ "$(other run x:1)" = hello ]
}

@test "umoci reads what is written, and is read" {
    command -v umoci >/dev/null || missing umoci
    app
    virga convert app oci:l
    umoci unpack --rootless --image l:docker.io/library/app:latest bundle >/dev/null 2>&1
    [ "$(cat bundle/rootfs/f)" = hello ]
    [ -u bundle/rootfs/suid ]
    umoci config --image l:docker.io/library/app:latest --tag changed --config.label new=1
    rm l/index.json.bak 2>/dev/null || true
    jq '.manifests |= map(select(.annotations["org.opencontainers.image.ref.name"] == "changed"))' l/index.json >i && mv i l/index.json
    [ "$(other load -q -i l)" = changed:latest ]
    other inspect changed | jq -e '.[0].Config.Labels.new == "1"'
}

@test "ch-run and ch-convert read what is written" {
    command -v ch-run >/dev/null || missing charliecloud
    app
    virga save --format dir -o d app
    [ "$(ch-run ./d -- cat /f)" = hello ]
    virga save --format tar -o t.tar.gz tiny # ch-convert's tar stops at a device
    PATH=/usr/bin:/bin ch-convert t.tar.gz ./c
    [ -x c/bin/busybox ]
}
