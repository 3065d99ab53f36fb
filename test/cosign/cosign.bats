# Signatures by key: cosign 2 and 3 verify virga's, virga verifies theirs, over
# HTTP and TLS.
load "$VIRGA_TEST_TOP/test/bats/common"

keys="virga p256 p384 p521 ed25519 rsa"

setup_file() {
    export KEYS=$BATS_FILE_TMPDIR/keys COSIGN_PASSWORD=geheim
    mkdir "$KEYS"
    cd "$KEYS"
    virga generate-key-pair --output-key-prefix virga
    for bits in 256 384 521; do openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-$bits -out p$bits.pem; done
    openssl genpkey -algorithm ED25519 -out ed25519.pem
    openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out rsa.pem
    # What cosign signs with are keys that it encrypted itself.
    for k in p256 p384 p521 ed25519 rsa; do "$COSIGN3" import-key-pair --key $k.pem --output-key-prefix $k; done
    # Nothing is asked of the public Sigstore; cosign 2 wants a root all the same.
    echo '{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}' >root.json
}

setup() {
    common_setup
    export COSIGN_PASSWORD=geheim
    tiny
}
teardown() { [ -z "${MY_REGISTRY_PID-}" ] || registry_stop "$MY_REGISTRY_PID"; }

tls_registry() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout tls.key -out tls.crt -days 2 -subj /CN=localhost \
        -addext subjectAltName=IP:127.0.0.1
    registry_start "$PWD/r" "$PWD/tls.crt" "$PWD/tls.key"
    MY_REGISTRY_PID=$REGISTRY_PID
    export SSL_CERT_FILE=$PWD/tls.crt
}

# verify2, verify3 KEY IMAGE: is it signed by the key?
verify2() { "$COSIGN2" verify --insecure-ignore-tlog --trusted-root "$KEYS/root.json" --key "$KEYS/$1.pub" "$2"; }
verify3() { "$COSIGN3" verify --insecure-ignore-tlog --trusted-root "$KEYS/root.json" --key "$KEYS/$1.pub" "$2"; }

sign2() { "$COSIGN2" sign -y --tlog-upload=false --key "$KEYS/$1.key" "$2"; }
sign3() { "$COSIGN3" sign -y --tlog-upload=false --use-signing-config=false --key "$KEYS/$1.key" "$2"; }

# cosign_verifies_virga REPOSITORY
cosign_verifies_virga() {
    local k form image
    for k in $keys; do
        for form in simple bundle both; do
            image=$REGISTRY/$1/$k-$form:1
            virga push -q --sign-key "$KEYS/$k.key" --sign-format $form tiny "$image"
            verify2 $k "$image"
            verify3 $k "$image"
        done
        # What cosign 2 reads without a trusted root.
        "$COSIGN2" verify --insecure-ignore-tlog --key "$KEYS/$k.pub" "$REGISTRY/$1/$k-simple:1"
        ! verify2 "$([ $k = p256 ] && echo p384 || echo p256)" "$image"
        ! verify3 "$([ $k = p256 ] && echo p384 || echo p256)" "$image"
    done
}

# virga_verifies_cosign REPOSITORY
virga_verifies_cosign() {
    local k v d other
    for k in $keys; do
        other=$([ $k = p256 ] && echo p384 || echo p256)
        for v in 2 3; do
            d=$(virga push -q tiny "$REGISTRY/$1/$k-$v:1")
            sign$v $k "$REGISTRY/$1/$k-$v@$d"
            virga_run 0 pull --verify-key "$KEYS/$k.pub" "$REGISTRY/$1/$k-$v:1"
            virga_run 1 verify --verify-key "$KEYS/$other.pub" "$REGISTRY/$1/$k-$v:1"
            fails "not by the key asked for"
        done
    done
}

@test "HTTP: cosign verifies what virga signs" { cosign_verifies_virga http; }

@test "HTTP: virga verifies what cosign signs" { virga_verifies_cosign http; }

@test "TLS: each verifies the other's" {
    tls_registry
    keys="virga ed25519"
    cosign_verifies_virga tls
    virga_verifies_cosign tls
}

@test "signatures of all three lie side by side" {
    local d image=$REGISTRY/side:1
    d=$(virga push -q tiny "$image")
    sign2 p256 "$REGISTRY/side@$d"
    sign3 p384 "$REGISTRY/side@$d"
    virga_run 0 sign --key "$KEYS/rsa.key" "$image"
    sign2 p521 "$REGISTRY/side@$d"
    sign3 ed25519 "$REGISTRY/side@$d"
    sign3 virga "$REGISTRY/side@$d"
    for k in $keys; do
        virga_run 0 verify --verify-key "$KEYS/$k.pub" "$image"
    done
    # Not with keys of other kinds: cosign hashes otherwise when it signs with them
    # than it expects when it verifies.
    verify3 virga "$image"
    verify3 rsa "$image"
    "$COSIGN3" verify --new-bundle-format=false --insecure-ignore-tlog --key "$KEYS/p256.pub" "$image"
    "$COSIGN3" verify --new-bundle-format=false --insecure-ignore-tlog --key "$KEYS/rsa.pub" "$image"
}
