# Several processes on one storage directory, killed at random moments.
load common
setup() { common_setup; }

@test "240 operations by 4 processes with kills leave storage consistent and images intact" {
    [ -x "$VIRGA_TEST_TOP/bin/stress.test" ] || missing "bin/stress.test (make bats makes it)"
    VIRGA_STRESS=$(command -v virga) REGISTRY=$REGISTRY run timeout 240 "$VIRGA_TEST_TOP/bin/stress.test" -test.v
    echo "$output"
    [ "$status" -eq 0 ]
}
