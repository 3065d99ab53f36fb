# storage-path, reset, and the storage directory itself.
load common
setup() { common_setup; }

@test "the storage directory comes from option, variables, user name" {
    unset VIRGA_STORAGE
    virga_run 0 storage-path
    prints "/var/tmp/$USER.virga"
    CH_IMAGE_STORAGE=/c virga_run 0 storage-path
    prints /c
    VIRGA_STORAGE=/v CH_IMAGE_STORAGE=/c virga_run 0 storage-path
    prints /v
    VIRGA_STORAGE=/v CH_IMAGE_STORAGE=/c virga_run 0 storage-path -s /o
    prints /o
}

@test "a relative CH_IMAGE_STORAGE is refused" {
    unset VIRGA_STORAGE
    CH_IMAGE_STORAGE=rel virga_run 1 storage-path
    fails 'CH_IMAGE_STORAGE "rel" is not an absolute path'
}

@test "storage is private and made on first use" {
    virga_run 0 list
    prints ""
    [ "$(stat -c %a "$VIRGA_STORAGE")" = 700 ]
    [ -f "$VIRGA_STORAGE/version" ]
}

@test "storage with a space and a colon in its path" {
    export VIRGA_STORAGE="$BATS_TEST_TMPDIR/a b:c,d"
    tiny
    virga_run 0 run tiny -- echo in there
    prints "in there"
    printf 'FROM tiny\nRUN echo x >/x\n' | virga build -t app - >/dev/null
    virga_run 0 run app -- cat /x
    prints x
}

@test "storage is a readable OCI layout" {
    virga pull --plain-http "$REGISTRY/tiny"
    jq -e '.imageLayoutVersion == "1.0.0"' "$VIRGA_STORAGE/oci-layout"
    jq -e '.schemaVersion == 2' "$VIRGA_STORAGE/index.json"
}

@test "another format version is refused, with what to do" {
    tiny
    echo 9999 >"$VIRGA_STORAGE/version"
    virga_run 1 list
    fails "format version 9999"
    hints "virga reset"
    virga_run 1 pull "$REGISTRY/tiny"
    fails "format version 9999"
    printf 'FROM tiny\n' >Dockerfile
    virga_run 1 build -t x .
    fails "format version 9999"
    virga_run 0 reset
    virga_run 0 list
    prints ""
}

@test "a directory of something else is not taken for storage, nor reset" {
    mkdir other
    echo precious >other/file
    virga_run 1 -s other list
    fails "not a virga storage directory"
    virga_run 1 -s other reset
    fails "not a virga storage directory"
    [ "$(cat other/file)" = precious ]
}

@test "storage that cannot be made" {
    virga_run 1 -s /proc/none list
    fails "/proc/none"
}

@test "reset deletes everything" {
    tiny
    [ -d "$VIRGA_STORAGE" ]
    virga_run 0 reset
    prints ""
    [ ! -e "$VIRGA_STORAGE" ] || [ -z "$(find "$VIRGA_STORAGE/trees" "$VIRGA_STORAGE/images" -mindepth 1 2>/dev/null)" ]
    virga_run 0 reset
}

@test "reset is refused while others work there, and says what it may delete" {
    tiny
    printf 'FROM tiny\nRUN sleep 3\n' | virga build -q -t app - >/dev/null &
    local pid=$!
    wait_for 10 pgrep -f 'sleep 3'
    virga_run 1 reset
    fails "in use by process"
    wait $pid
    virga_run 0 list
    prints "$(printf 'app:latest\ntiny:latest')"
    mkdir other && touch other/x
    virga_run 1 -s other reset
    hints "reset deletes only what virga made"
    virga_run 0 reset
}
