# Once for the whole suite: the tiny image that most tests use, and a registry.

setup_suite() {
    # shellcheck source=common.bash
    source "$VIRGA_TEST_TOP/test/bats/common.bash"
    export SUITE_DIR=$BATS_SUITE_TMPDIR
    make_tiny "$SUITE_DIR/tiny"
    tar -C "$SUITE_DIR/tiny" -cf "$SUITE_DIR/tiny.tar" .
    registry_start "$SUITE_DIR/registry"
    export REGISTRY REGISTRY_PID REGISTRY_ROOT
    push_image tiny:latest "$SUITE_DIR/tiny.tar"
}

teardown_suite() {
    source "$VIRGA_TEST_TOP/test/bats/common.bash"
    registry_stop "${REGISTRY_PID-}"
}
