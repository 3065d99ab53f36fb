# The root chroot path: everything is real.
load ../common
setup() {
    [ "$(id -u)" -eq 0 ] || skip "only root can"
    common_setup
}

@test "real owners, devices and xattrs; cut capabilities; a private mount namespace" {
    cp -a "$SUITE_DIR/tiny" d
    touch d/owned d/attr
    chown 12:34 d/owned
    chmod 4711 d/owned
    mknod d/null2 c 1 3
    setfattr -n user.test -v yes d/attr 2>/dev/null || true
    tar -C d --xattrs --xattrs-include='*' -cf l.tar .
    push_image chroot:1 l.tar
    dockerfile <<EOF
FROM $REGISTRY/chroot:1
RUN test "\$(stat -c '%u:%g %a' /owned)" = '12:34 4711' && test -c /null2
RUN touch /new && chown 77:88 /new && mknod /dev1 c 1 5
RUN test "\$(stat -c %u:%g /new)" = 77:88 && test -c /dev1
RUN grep CapEff /proc/self/status >/caps && mkdir -p /m && ! mount -t tmpfs none /m 2>/dev/null
EOF
    virga_run 0 --isolation chroot build -t app .
    ! grep -F "$BATS_TEST_TMPDIR" /proc/self/mounts
    virga_run 0 unpack -o out app
    # CAP_SYS_ADMIN is bit 21, CAP_CHOWN bit 0.
    local caps
    caps=$((16#$(sed 's/.*\t//' out/caps)))
    [ $((caps >> 21 & 1)) -eq 0 ] && [ $((caps & 1)) -eq 1 ]
}

@test "the same image as by emulation" {
    virga import "$SUITE_DIR/tiny.tar" tiny
    dockerfile <<'EOF'
FROM tiny
RUN mkdir -p /d/e && touch /d/f && chown 1:2 /d /d/f && chmod 2775 /d && ln -s f /d/l && ln /d/f /d/h && rm /etc/group && mknod /d/p p
EOF
    virga build -t emulated . 2>/dev/null >&2
    virga --isolation chroot build --no-cache -t real . 2>/dev/null >&2
    local v
    for v in emulated real; do
        virga push $v "$REGISTRY/$v:1"
        reg "$v/blobs/$(layer_digest $v:1 1)" | gzip -dc | tar -tv --numeric-owner | awk '{print $1, $2, $6, $7, $8}' | sort >$v
    done
    diff emulated real
}

@test "a RUN that fails leaves nothing mounted and no image" {
    virga import "$SUITE_DIR/tiny.tar" tiny
    dockerfile <<<$'FROM tiny\nRUN exit 9'
    virga_run 1 --isolation chroot build -t app .
    fails "Dockerfile:2" RUN 9
    ! grep -q "$VIRGA_STORAGE" /proc/self/mounts
    virga_run 0 list
    prints tiny:latest
}
