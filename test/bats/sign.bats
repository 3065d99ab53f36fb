# sign, verify, and what demands signatures: pull and build.
load common
setup() {
    common_setup
    export COSIGN_PASSWORD=geheim
    virga generate-key-pair 2>/dev/null
}
teardown() { [ -z "${MY_REGISTRY_PID-}" ] || registry_stop "$MY_REGISTRY_PID"; }

# signed NAME pushes tiny to the suite's registry, signed with cosign.key.
signed() {
    tiny
    virga push -q --sign-key cosign.key tiny "$REGISTRY/$1"
}

# other makes the key pair other.key, other.pub.
other() { virga generate-key-pair --output-key-prefix other 2>/dev/null; }

# sig_tag DIGEST is the tag of cosign 2's signatures.
sig_tag() { echo "${1/:/-}.sig"; }

oci() { reg "$1/manifests/$2" -H 'Accept: application/vnd.oci.image.manifest.v1+json' -H 'Accept: application/vnd.oci.image.index.v1+json'; }

put() { reg "$1/manifests/$2" -X PUT -H "Content-Type: application/vnd.oci.image.manifest.v1+json" --data-binary @- >/dev/null; }

@test "generate-key-pair: cosign's format, never over another key" {
    [ "$(stat -c %a cosign.key)" = 600 ]
    [ "$(head -1 cosign.key)" = "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----" ]
    openssl pkey -pubin -in cosign.pub -noout
    sha256sum cosign.key >sum
    virga_run 1 generate-key-pair
    fails cosign.key exist
    hints --output-key-prefix
    sha256sum -c --status sum
    unset COSIGN_PASSWORD
    virga_run 1 generate-key-pair --output-key-prefix new </dev/null
    fails terminal
    hints COSIGN_PASSWORD
    [ ! -e new.key ] && [ ! -e new.pub ]
}

@test "push --sign-key and verify, in both formats" {
    local d form
    for form in simple bundle both; do
        tiny
        d=$(virga push -q --sign-key cosign.key --sign-format $form tiny "$REGISTRY/sig/$form:1")
        virga_run 0 verify --verify-key cosign.pub "$REGISTRY/sig/$form:1"
        prints_like "$d key sha256:*"
        [ "$(reg "sig/$form/tags/list" | jq '.tags | length')" -eq "$([ $form = both ] && echo 3 || echo 2)" ]
    done
    # The payload and where it lies are cosign 2's.
    oci sig/both "$(sig_tag "$d")" >m
    [ "$(jq -r '.layers[0].mediaType' m)" = application/vnd.dev.cosign.simplesigning.v1+json ]
    reg "sig/both/blobs/$(jq -r '.layers[0].digest' m)" >payload
    jq -e --arg d "$d" '.critical.image."docker-manifest-digest" == $d and .critical.type == "cosign container image signature"' payload
    jq -r '.layers[0].annotations."dev.cosignproject.cosign/signature"' m | base64 -d >sig
    openssl dgst -sha256 -verify cosign.pub -signature sig payload
    # The bundle is cosign 3's.
    oci sig/both "${d/:/-}" >i
    [ "$(jq -r '.manifests[0].artifactType' i)" = application/vnd.dev.sigstore.bundle.v0.3+json ]
    oci sig/both "$(jq -r '.manifests[0].digest' i)" >m
    jq -e --arg d "$d" '.subject.digest == $d and .config.mediaType == "application/vnd.oci.empty.v1+json"' m
    reg "sig/both/blobs/$(jq -r '.layers[0].digest' m)" >bundle
    jq -r .dsseEnvelope.payload bundle | base64 -d | jq -e --arg d "${d#sha256:}" '.subject[0].digest.sha256 == $d and .predicateType == "https://sigstore.dev/cosign/sign/v1"'
}

@test "keys of other tools: PKCS#8, SEC 1, PKCS#1" {
    local k
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out p384.key
    openssl ecparam -name prime256v1 -genkey -noout -out sec1.key
    openssl genpkey -algorithm ED25519 -out ed.key
    openssl genrsa -traditional -out rsa.key 2048 2>/dev/null
    tiny
    virga push "$REGISTRY/sig/keys:1" 2>/dev/null || virga push tiny "$REGISTRY/sig/keys:1"
    unset COSIGN_PASSWORD
    for k in p384 sec1 ed rsa; do
        openssl pkey -in $k.key -pubout -out $k.pub
        virga_run 0 sign --key $k.key "$REGISTRY/sig/keys:1"
    done
    for k in p384 sec1 ed rsa; do
        virga_run 0 verify --verify-key $k.pub "$REGISTRY/sig/keys:1"
    done
    virga_run 1 sign --key p384.pub "$REGISTRY/sig/keys:1"
    fails p384.pub "PUBLIC KEY"
    virga_run 1 verify --verify-key p384.key "$REGISTRY/sig/keys:1"
    fails p384.key "PRIVATE KEY"
    virga_run 1 verify --verify-key nowhere.pub "$REGISTRY/sig/keys:1"
    fails nowhere.pub
    COSIGN_PASSWORD=wrong virga_run 1 sign --key cosign.key "$REGISTRY/sig/keys:1"
    fails cosign.key password
    virga_run 2 sign "$REGISTRY/sig/keys:1"
    fails --key
    hints generate-key-pair
    virga_run 2 verify "$REGISTRY/sig/keys:1"
    fails "whose signature"
    hints --verify-key
}

@test "signatures are kept, and none is made twice" {
    local d
    other
    signed sig/kept:1
    d=$(virga verify --verify-key cosign.pub "$REGISTRY/sig/kept:1" 2>/dev/null | cut -d' ' -f1)
    virga_run 0 sign --key other.key "$REGISTRY/sig/kept:1"
    virga_run 0 sign --key cosign.key "$REGISTRY/sig/kept:1"
    virga_run 0 verify --verify-key cosign.pub "$REGISTRY/sig/kept:1"
    virga_run 0 verify --verify-key other.pub "$REGISTRY/sig/kept:1"
    [ "$(oci sig/kept "$(sig_tag "$d")" | jq '.layers | length')" -eq 2 ]
    [ "$(oci sig/kept "${d/:/-}" | jq '.manifests | length')" -eq 2 ]
}

@test "an index is signed as a whole, or one image of it" {
    local one two
    one=$(push_image sig/index:a "$SUITE_DIR/tiny.tar")
    two=$(ARCH=s390x push_image sig/index:b "$SUITE_DIR/tiny.tar")
    push_index sig/index:1 oci "$(host_arch)=$one" "s390x=$two"
    virga_run 0 sign --key cosign.key "$REGISTRY/sig/index:1"
    virga_run 0 pull --verify-key cosign.pub "$REGISTRY/sig/index:1"
    virga inspect "$REGISTRY/sig/index:1" | jq -e '.[0].Verified | length == 1 and (.[0].digest | startswith("sha256:"))'
    virga_run 1 pull --verify-key cosign.pub "$REGISTRY/sig/index:a" # the index is signed, its images are not
    push_index sig/index2:1 oci 2>/dev/null || true
    one=$(push_image sig/index2:a "$SUITE_DIR/tiny.tar")
    push_index sig/index2:1 oci "$(host_arch)=$one"
    virga_run 0 sign --key cosign.key "$REGISTRY/sig/index2@$one"
    virga_run 0 pull --verify-key cosign.pub "$REGISTRY/sig/index2:1"
}

@test "pull --verify-key: nothing is stored without the signature" {
    other
    signed sig/pull:1
    virga reset
    virga_run 1 pull --verify-key other.pub "$REGISTRY/sig/pull:1"
    fails sig/pull "not by the key asked for"
    hints "right key"
    nothing_left
    [ "$(find "$VIRGA_STORAGE/blobs" "$VIRGA_STORAGE/trees" -type f 2>/dev/null | wc -l)" -eq 0 ]
    virga_run 1 pull --verify-key other.pub "$REGISTRY/sig/pull:1" out
    [ ! -e out ]
    virga_run 1 pull --verify-key cosign.pub "$REGISTRY/tiny:latest"
    fails "it has no signature"
    hints "virga sign"
    nothing_left
    virga_run 0 pull --verify-key other.pub --verify-key cosign.pub "$REGISTRY/sig/pull:1"
    virga inspect "$REGISTRY/sig/pull:1" >i
    jq -e '.[0].Verified[0] | (.key | startswith("sha256:")) and (.time | startswith("20")) and .source == "--verify-key"' i
    [ "$(jq -r '.[0].Source' i)" = "$REGISTRY/sig/pull:1" ]
    virga_run 0 pull --verify-key cosign.pub "$REGISTRY/sig/pull:1" out
    [ -e out/bin/busybox ]
}

@test "build --verify-key: what is in storage is verified too, once" {
    local base=$REGISTRY/sig/base:1
    other
    signed sig/base:1
    virga reset
    virga pull "$base"
    printf 'FROM %s\n' "$base" >Dockerfile
    virga_run 1 build -t app --verify-key other.pub .
    fails "sig/base:1" "key"
    virga_run 0 build -t app --verify-key cosign.pub .
    # It is remembered, also by another pull, and needs no registry. For another
    # key it does.
    virga pull "$base"
    virga inspect "$base" | jq -e '.[0].Verified | length == 1'
    mv "$REGISTRY_ROOT" "$REGISTRY_ROOT.away"
    virga_run 0 build -t app --verify-key cosign.pub .
    virga_run 1 build -t app --verify-key other.pub .
    mv "$REGISTRY_ROOT.away" "$REGISTRY_ROOT"
    # By any way: COPY --from, another name.
    printf 'FROM scratch\nCOPY --from=%s /etc /etc\n' "$REGISTRY/tiny:latest" >Dockerfile
    virga_run 1 build -t app --verify-key cosign.pub .
    fails tiny "no signature"
    virga tag "$base" mine
    echo 'FROM mine' >Dockerfile
    virga_run 0 build -t app --verify-key cosign.pub .
    virga_run 1 build -t app --verify-key other.pub .
    # What was made here is signed by nobody.
    tiny
    echo 'FROM tiny' >Dockerfile
    virga_run 1 build -t app --verify-key cosign.pub .
    fails tiny "only here"
    hints "--sign-key"
}

@test "damaged and misplaced signatures" {
    local d e
    signed sig/bad:1
    d=$(virga verify --verify-key cosign.pub "$REGISTRY/sig/bad:1" 2>/dev/null | cut -d' ' -f1)
    e=$(CONFIG='{"Labels":{"evil":"yes"}}' push_image sig/bad:2 "$SUITE_DIR/tiny.tar")
    # The signatures of one image laid beside another.
    oci sig/bad "$(sig_tag "$d")" | put sig/bad "$(sig_tag "$e")"
    virga_run 1 verify --verify-key cosign.pub "$REGISTRY/sig/bad:2"
    fails "of another image"
    hints "do not use it"
    virga reset
    # A payload that was changed, its digest as well.
    oci sig/bad "$(sig_tag "$d")" >m
    reg "sig/bad/blobs/$(jq -r '.layers[0].digest' m)" | sed "s/$d/$e/" >payload
    put_blob sig/bad payload >new
    jq --arg n "$(cat new)" '.layers[0].digest = $n' m | put sig/bad "$(sig_tag "$e")"
    virga_run 1 pull --verify-key cosign.pub "$REGISTRY/sig/bad:2"
    fails "not by the key"
    nothing_left
    # Something enormous, and no signature at all.
    jq '.layers[0].size = 2000000000' m | put sig/bad "$(sig_tag "$e")"
    virga_run 1 verify --verify-key cosign.pub "$REGISTRY/sig/bad:2"
    fails "larger than"
    jq '.layers[0].annotations = {}' m | put sig/bad "$(sig_tag "$e")"
    virga_run 1 verify --verify-key cosign.pub "$REGISTRY/sig/bad:2"
    fails "base64"
    # A good one beside bad ones is enough.
    virga_run 0 sign --key cosign.key "$REGISTRY/sig/bad:2"
    virga_run 0 verify --verify-key cosign.pub "$REGISTRY/sig/bad:2"
}

@test "a registry with TLS and a password" {
    command -v htpasswd >/dev/null || missing htpasswd
    htpasswd -Bbn ada secret >htp
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout tls.key -out tls.crt -days 2 -subj /CN=localhost \
        -addext subjectAltName=IP:127.0.0.1 2>/dev/null
    registry_start "$PWD/r" "$PWD/tls.crt" "$PWD/tls.key" "$PWD/htp"
    MY_REGISTRY_PID=$REGISTRY_PID
    export SSL_CERT_FILE=$PWD/tls.crt VIRGA_USERNAME=ada VIRGA_PASSWORD=secret
    tiny
    virga_run 0 push --sign-key cosign.key tiny "$REGISTRY/private:1"
    virga_run 0 pull --verify-key cosign.pub "$REGISTRY/private:1"
    unset VIRGA_USERNAME
    virga_run 1 verify --verify-key cosign.pub "$REGISTRY/private:1" </dev/null
    fails "$REGISTRY"
}

@test "build --cache-from: a cache that nobody signed is not used" {
    tiny
    printf 'FROM tiny\nRUN echo 1 >/1\n' >Dockerfile
    virga push -q --sign-key cosign.key tiny "$REGISTRY/sig/cbase:1"
    sed -i "s,tiny,$REGISTRY/sig/cbase:1," Dockerfile
    virga build -q -t app --cache-to "$REGISTRY/sig/cache:1" .
    virga reset
    virga_run 0 build -t app --cache-from "$REGISTRY/sig/cache:1" --verify-key cosign.pub .
    says "no signature"
    virga reset
    virga_run 0 sign --key cosign.key "$REGISTRY/sig/cache:1"
    virga_run 0 build -t app --cache-from "$REGISTRY/sig/cache:1" --verify-key cosign.pub .
    [[ $stderr != *"no signature"* ]]
}

policy() { mkdir -p "$XDG_CONFIG_HOME/containers" && cat >"$XDG_CONFIG_HOME/containers/policy.json"; }

@test "a signature policy: what is not signed is not pulled, built on or tagged around" {
    local host=$REGISTRY
    signed policy/app:1
    signed policy/other:1
    virga pull -q "$host/tiny:latest"
    virga pull -q "$host/policy/app:1"
    policy <<EOF
{"default": [{"type": "reject"}], "transports": {"docker": {
    "$host/policy/app": [{"type": "sigstoreSigned", "keyPath": "$PWD/cosign.pub", "signedIdentity": {"type": "matchRepository"}}],
    "$host/policy/other": [{"type": "sigstoreSigned", "keyPath": "$PWD/cosign.pub"}]}}}
EOF
    virga_run 0 verify "$host/policy/app:1"
    virga_run 0 pull "$host/policy/app:1"
    virga inspect "$host/policy/app:1" | jq -e '.[0].Verified[0].source | contains("policy.json")'
    virga_run 1 pull "$host/tiny:latest"
    fails policy.json refused
    # cosign's signatures name no tag.
    virga_run 1 pull "$host/policy/other:1"
    fails "another name"
    hints signedIdentity
    # What is in storage is no way around it, under whatever name; what was
    # made here is.
    virga tag "$host/tiny:latest" innocent
    for from in "$host/tiny:latest" innocent; do
        echo "FROM $from" >Dockerfile
        virga_run 1 build -t app .
        fails refused
    done
    echo 'FROM tiny' >Dockerfile
    virga_run 0 build -t app .
    virga_run 0 push app "$host/policy/third:1"
    echo 'FROM app' >Dockerfile
    virga_run 0 build -t app2 .
    # The two options.
    echo '{"default": [{"type": "insecureAcceptAnything"}]}' >any.json
    virga_run 0 pull --signature-policy any.json "$host/tiny:latest"
    other
    virga_run 1 pull --verify-key other.pub "$host/policy/app:1"
    virga_run 2 verify --signature-policy any.json "$host/policy/app:1"
    fails "whose signature"
    virga_run 1 pull --signature-policy none.json "$host/tiny:latest"
    fails none.json
    echo '{"default": [{"type": "sigstoreSigned"}]}' | policy
    virga_run 1 pull "$host/policy/app:1"
    fails policy.json "exactly one"
}

@test "keyless: both or neither, and never by something else" {
    local image=$REGISTRY/sig/keyless:1
    signed sig/keyless:1
    virga_run 2 verify --verify-identity me@example.com "$image"
    fails --verify-issuer
    virga_run 2 pull --verify-issuer https://issuer.example "$image"
    fails identity
    virga_run 2 build --verify-identity-regexp '.*' .
    fails --verify-issuer
    virga_run 2 pull --verify-identity "" --verify-issuer https://issuer.example "$image"
    fails empty
    virga_run 2 pull --verify-key cosign.pub --verify-identity me --verify-issuer https://issuer.example "$image"
    fails exclude
    virga_run 2 pull --verify-identity-regexp '(' --verify-issuer https://issuer.example "$image"
    fails regexp
    virga_run 1 pull --verify-identity me --verify-issuer https://issuer.example "$image"
    fails "by a key, not by an identity"
    nothing_pulled
}

nothing_pulled() { [ -z "$(virga list -q "$REGISTRY/*" 2>/dev/null || true)" ]; }

# keyless_sign NAME FORM signs NAME:1 with an identity, as cosign 2 (simple) or 3
# (bundle) does; root.json and policy.json are for the Sigstore of this one.
keyless_sign() {
    local d blob size
    d=$(push_image "$1:1" "$SUITE_DIR/tiny.tar")
    SIGN_DIR=$PWD SIGN_DIGEST=$d keyless.test -test.run TestSignForBats >/dev/null
    printf '{}' >empty
    put_blob "$1" empty >/dev/null
    local config='{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}'
    if [ "$2" = simple ]; then
        blob=$(put_blob "$1" payload)
        jq -n --argjson config "$config" --arg d "$blob" --slurpfile a annotations --argjson size "$(stat -c %s payload)" '{schemaVersion: 2,
            mediaType: "application/vnd.oci.image.manifest.v1+json", config: $config, layers: [{
                mediaType: "application/vnd.dev.cosign.simplesigning.v1+json", digest: $d, size: $size, annotations: $a[0]}]}' | put "$1" "$(sig_tag "$d")"
        return
    fi
    blob=$(put_blob "$1" bundle)
    size=$(oci "$1" "$d" | wc -c)
    jq -n --argjson config "$config" --arg d "$blob" --argjson size "$(stat -c %s bundle)" --arg s "$d" --argjson ssize "$size" '{schemaVersion: 2,
        mediaType: "application/vnd.oci.image.manifest.v1+json", artifactType: "application/vnd.dev.sigstore.bundle.v0.3+json", config: $config,
        layers: [{mediaType: "application/vnd.dev.sigstore.bundle.v0.3+json", digest: $d, size: $size}],
        subject: {mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $s, size: $ssize}}' >m
    put "$1" "$(digest_of m)" <m
    jq -n --arg d "$(digest_of m)" --argjson size "$(stat -c %s m)" '{schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: [{
        mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $d, size: $size, artifactType: "application/vnd.dev.sigstore.bundle.v0.3+json"}]}' |
        reg "$1/manifests/${d/:/-}" -X PUT -H "Content-Type: application/vnd.oci.image.index.v1+json" --data-binary @- >/dev/null
}

@test "keyless: who signed, by either format of cosign" {
    local form image who=(--verify-identity ada@example.com --verify-issuer https://issuer.example.com)
    for form in simple bundle; do
        image=$REGISTRY/keyless/$form:1
        keyless_sign keyless/$form $form
        # The certificate of this Sigstore is in no log of certificates.
        virga_run 1 verify "${who[@]}" --trusted-root root.json "$image"
        fails "signed certificate timestamp"
        virga_run 1 verify "${who[@]}" --trusted-root policy.json "$image"
        fails "cannot be checked" "trusted root"
        hints --trusted-root
        nothing_left
    done
    # A policy that names authority and log asks for no log of certificates, but
    # for the image's name, which a bundle does not have.
    virga_run 1 pull --signature-policy policy.json "$image"
    fails "another name"
    keyless_sign keyless/simple simple
    image=$REGISTRY/keyless/simple:1
    virga_run 0 pull --signature-policy policy.json "$image"
    virga inspect "$image" | jq -e '.[0].Verified[0] | .identity == "ada@example.com" and .issuer == "https://issuer.example.com"'
    virga reset
    echo "FROM $image" >Dockerfile
    virga_run 0 build -t app --signature-policy policy.json .
    virga reset
    sed 's/ada@/eve@/' policy.json >eve.json
    virga_run 1 pull --signature-policy eve.json "$image"
    fails "eve@example.com"
    keyless_sign keyless/other simple # by another Sigstore: policy.json is another one now
    virga_run 1 pull --signature-policy policy.json "$image"
    fails "log"
    nothing_left
    # Without the program that verifies it nothing is good.
    mkdir alone
    cp "$(command -v virga)" alone/
    run -1 --separate-stderr alone/virga pull "${who[@]}" --trusted-root root.json "$image"
    fails virga-keyless
    hints "make install"
    nothing_left
}

# Debian builds skopeo and podman without sigstoreSigned, so they are no judges of
# that.
@test "a signature policy is accepted and refused as by skopeo" {
    command -v skopeo >/dev/null || missing skopeo
    local list theirs ours accepted=0
    while read -r list; do
        sed "s,HOST,$REGISTRY,g" >policy.json <<<"$list"
        theirs=0 ours=0
        rm -rf copy
        skopeo --policy policy.json copy -q --src-tls-verify=false "docker://$REGISTRY/tiny:latest" dir:copy >theirs 2>&1 || theirs=1
        virga pull --signature-policy policy.json "$REGISTRY/tiny:latest" >ours 2>&1 || ours=1
        [ $theirs = $ours ] || { echo "$list: skopeo $theirs, virga $ours"; cat theirs ours; return 1; }
        accepted=$((accepted + 1 - ours))
    done <<'EOF'
{"default": [{"type": "insecureAcceptAnything"}]}
{"default": [{"type": "reject"}]}
{"default": [{"type": "insecureAcceptAnything"}, {"type": "reject"}]}
{"default": []}
{"transports": {}}
{"default": [{"type": "reject"}], "transports": {"docker": {"HOST": [{"type": "insecureAcceptAnything"}]}}}
{"default": [{"type": "reject"}], "transports": {"docker": {"HOST/tiny": [{"type": "insecureAcceptAnything"}], "HOST/tiny:latest": [{"type": "reject"}]}}}
{"default": [{"type": "reject"}], "transports": {"docker": {"HOST/tin": [{"type": "insecureAcceptAnything"}]}}}
{"default": [{"type": "insecureAcceptAnything"}], "transports": {"docker": {"": [{"type": "reject"}]}}}
{"default": [{"type": "reject"}], "transports": {"docker": {"*.0.0.1": [{"type": "insecureAcceptAnything"}]}}}
{"default": [{"type": "insecureAcceptAnything"}], "transports": {"docker-daemon": {"": [{"type": "sigstoreSigned"}]}}}
{"default": [{"type": "insecureAcceptAnything"}], "other": {}}
{"default": [{"type": "unknown"}]}
EOF
    [ $accepted -eq 3 ]
}
