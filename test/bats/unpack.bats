# unpack: an image becomes a plain directory.
load common
setup() { common_setup; tiny; }

@test "all files, with modes and links" {
    virga_run 0 unpack -o out tiny
    [ "$(readlink out/bin/sh)" = busybox ]
    [ "$(stat -c %a out/tmp)" = 1777 ]
    cmp out/bin/busybox "$SUITE_DIR/tiny/bin/busybox"
    [ "$(cd out && find . | wc -l)" -ge "$(cd "$SUITE_DIR/tiny" && find . | wc -l)" ]
}

@test "a built image is flattened: changes, deletions, opaque directories" {
    mkdir -p ctx
    cat >ctx/Dockerfile <<'EOF'
FROM tiny
RUN mkdir /d && echo 1 >/d/a && echo 1 >/d/b && echo keep >/keep
RUN rm /d/a && echo 2 >/d/b
RUN rm -r /d && mkdir /d && echo 3 >/d/c
RUN rm /etc/group
EOF
    virga build -q -t app ctx >/dev/null
    virga_run 0 unpack -o out app
    [ "$(ls out/d)" = c ]
    [ "$(cat out/keep out/d/c)" = "$(printf 'keep\n3')" ]
    [ ! -e out/etc/group ]
    [ -z "$(find out -name '.wh.*')" ]
}

@test "without -o the directory has the image's name" {
    virga tag tiny example.org/a/b:c
    virga_run 0 unpack example.org/a/b:c
    [ -x example.org%a%b+c/bin/busybox ]
}

@test "export is another name" {
    virga_run 0 export -o out tiny
    [ -x out/bin/busybox ]
}

@test "a directory that holds something is left alone" {
    mkdir out && echo precious >out/file
    virga_run 1 unpack -o out tiny
    fails out "not empty"
    [ "$(ls out)" = file ]
}

@test "an unknown image" {
    virga_run 1 unpack -o out tnyi
    fails tnyi "not in storage"
    [ ! -e out ]
}
