# Everything that README.md and the pages below docs show, run by
# bin/docs.test; test/docs/blocks_test.go says how pages are written.
load common
setup() {
    common_setup
    debian
}
teardown() { registry_stop "${PRIVATE_PID-}"; }

@test "the commands of all pages do what the pages say" {
    local name
    [ -x "$VIRGA_TEST_TOP/bin/docs.test" ] || missing "bin/docs.test (make bats makes it)"
    for name in library/debian:bookworm nvidia/cuda:12.4.1-base-ubuntu22.04; do
        virga push -q --compression gzip:1 debian "$REGISTRY/$name"
    done
    # ada with the secret s3cret (bcrypt)
    # shellcheck disable=SC2016
    echo 'ada:$2y$04$o9M9/fyJcs6AkXYpy35Bs.69w3BrzM1PoW4MYzgRSfLBAGgtmlIGq' >htpasswd
    VIRGA_DOCS=$(command -v virga) OPEN=$REGISTRY
    registry_start "$BATS_TEST_TMPDIR/private" "" "" "$PWD/htpasswd"
    PRIVATE_PID=$REGISTRY_PID PRIVATE_REGISTRY=$REGISTRY
    export VIRGA_DOCS PRIVATE_REGISTRY REGISTRY=$OPEN
    run timeout 1500 "$VIRGA_TEST_TOP/bin/docs.test" -test.run 'Pages|Inline'
    echo "$output"
    [ "$status" -eq 0 ]
}
