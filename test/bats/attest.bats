# attest, save --attest: what an image file holds, as an in-toto statement.
load common
setup() { common_setup; }

# saved writes app.tar, an image of two layers.
saved() {
    tiny
    dockerfile <<'END'
FROM tiny
RUN echo hello >/f
END
    virga build -t app . 2>/dev/null
    virga save -o app.tar app
}

sha256() { sha256sum "$1" | cut -d' ' -f1; }

# images prints the attestations of a statement.
images() { jq -c '[.predicate.attestations[].attestation]' "$1"; }

# bare prints a statement without what differs from run to run.
bare() { jq -cS 'del(.predicate.name, .predicate.attestations[].starttime, .predicate.attestations[].endtime)' "$1"; }

@test "attest: the digests are those that other programs compute" {
    saved
    virga_run 0 attest app.tar
    jq -e --arg d "$(sha256 app.tar)" '.predicate.attestations[0].attestation.tardigest.sha256 == $d' <<<"$output"
    tar -xf app.tar
    jq -e --arg d "$(sha256 manifest.json)" '.predicate.attestations[0].attestation.manifestdigest.sha256 == $d' <<<"$output"
    jq -r '.predicate.attestations[0].attestation.manifestraw' <<<"$output" | base64 -d | cmp - manifest.json
    jq -r '.[0].Layers[]' manifest.json | while read -r l; do gzip -dc "$l" | sha256sum | cut -d' ' -f1; done >want
    jq -r '.predicate.attestations[0].attestation.diffids[].sha256' <<<"$output" | cmp - want
    [ "$(wc -l <want)" -eq 2 ]
    jq -e --arg d "$(printf app:latest | sha256sum | cut -d' ' -f1)" '[.subject[] | select(.name | endswith("/imagetag:app:latest"))][0].digest.sha256 == $d' <<<"$output"
    jq -e '[.subject[].name | sub(".*/v0.1/"; "") | sub(":.*"; "")] == ["imageid", "imagetag", "layerdiffid00", "layerdiffid01", "manifestdigest", "tardigest"]' <<<"$output"
}

@test "attest: compressed files, standard input, a layout, a reference" {
    saved
    virga attest -o want.json app.tar
    gzip -k app.tar; zstd -qk app.tar; xz -0 -k app.tar
    for f in app.tar.gz app.tar.zst app.tar.xz; do
        virga attest -o got.json "$f"
        jq -e --arg d "$(sha256 $f)" '.predicate.attestations[0].attestation.tardigest.sha256 == $d' got.json
        [ "$(images got.json | jq -c 'del(.[].tardigest)')" = "$(images want.json | jq -c 'del(.[].tardigest)')" ]
    done
    virga attest - <app.tar >got.json
    [ "$(bare got.json)" = "$(bare want.json)" ]
    virga save --format oci -o oci.tar app
    virga attest oci.tar >want.json
    virga attest app >got.json
    [ "$(bare got.json)" = "$(bare want.json)" ]
    jq -e --arg d "$(tar -xOf oci.tar index.json | jq -r '.manifests[0].digest' | sed 's/sha256://')" '.predicate.attestations[0].attestation.manifestdigest.sha256 == $d' got.json
    mkdir layout && tar -xf oci.tar -C layout
    virga attest layout/ >got.json
    jq -e '.predicate.attestations[0].attestation.tardigest == {}' got.json
    [ "$(images got.json | jq -c 'del(.[].tardigest)')" = "$(images want.json | jq -c 'del(.[].tardigest)')" ]
}

@test "attest: what skopeo writes, with names that begin with ./ as well" {
    command -v skopeo >/dev/null || missing skopeo
    saved
    skopeo copy -q docker-archive:app.tar:app:latest docker-archive:skopeo.tar:app:latest
    virga attest app.tar >want.json
    virga attest skopeo.tar >got.json
    [ "$(images got.json | jq -c '.[0] | [.diffids, .imageid]')" = "$(images want.json | jq -c '.[0] | [.diffids, .imageid]')" ]
    mkdir x && tar -xf skopeo.tar -C x && tar -cf dotted.tar -C x .
    tar -tf dotted.tar | grep -qx ./manifest.json
    virga attest dotted.tar >dotted.json
    [ "$(images dotted.json | jq -c 'del(.[].tardigest)')" = "$(images got.json | jq -c 'del(.[].tardigest)')" ]
}

@test "attest: several images, and one of them" {
    saved
    virga save -o two.tar app tiny
    virga attest two.tar >two.json
    [ "$(images two.json | jq -c '[.[].imagetags[]]')" = '["app:latest","tiny:latest"]' ]
    virga attest --image 2 two.tar >one.json
    [ "$(images one.json)" = "$(images two.json | jq -c '[.[1]]')" ]
    virga_run 1 attest --image 3 two.tar
    fails 'attest "*two.tar": there is no image 3 in it, it has 2'
    virga_run 2 attest --image 0 two.tar
    fails '--image "0" is not a whole number from 1 up'
    virga_run 2 attest --image 1 app
    fails '--image is for files'
}

@test "save --attest: what attest says about the file, compressed or not" {
    saved
    for format in docker oci; do
        for f in s.tar s.tar.gz; do
            virga_run 0 save --format $format -o $f --attest s.json app tiny
            virga attest $f >want.json
            [ "$(bare s.json)" = "$(bare want.json)" ]
            jq -e --arg d "$(sha256 $f)" '.predicate.attestations[1].attestation.tardigest.sha256 == $d' s.json
        done
    done
    virga save --attest out.json app >out.tar
    virga attest out.tar >want.json
    [ "$(bare out.json)" = "$(bare want.json)" ]
    virga_run 2 save --format tar -o x.tar --attest x.json app
    fails '--attest is for images: --format docker or oci, not tar'
    virga_run 2 save -o x.tar --sign-key k app
    fails '--sign-key has nothing to sign'
    [ ! -e x.tar ]
}

@test "attest: the same file and time give the same bytes" {
    saved
    SOURCE_DATE_EPOCH=1700000000 virga attest app.tar >a
    SOURCE_DATE_EPOCH=1700000000 virga attest app.tar | cmp - a
    jq -e '.predicate.attestations[0].starttime == "2023-11-14T22:13:20Z"' a
}

@test "attest: a layer that is absent or another is an error, and there is no output" {
    saved
    virga_run 0 attest -o good.json app.tar
    cp good.json before.json
    mkdir x && tar -xf app.tar -C x
    layer=$(jq -r '.[0].Layers[1]' x/manifest.json)
    printf 'not a layer' | gzip >"x/$layer"
    tar -cf bad.tar -C x manifest.json blobs
    virga_run 1 attest -o good.json bad.tar
    fails 'attest "*bad.tar": layer "blobs/*": diff ID is sha256:'
    cmp good.json before.json
    rm "x/$layer"
    tar -cf bad.tar -C x manifest.json blobs
    virga_run 1 attest bad.tar
    fails 'attest "*bad.tar": manifest.json: image 1: layer: "blobs/*": missing in the file'
    prints ""
    head -c 100000 app.tar >short.tar
    virga_run 1 attest short.tar
    fails 'the file ends early'
    virga_run 1 attest nothing.tar
    fails 'no such file'
    virga_run 2 attest tar:app.tar
    fails 'is a root file system, not an image'
    no_work_left
}

@test "attest --sign-key: an envelope that openssl verifies" {
    saved
    openssl ecparam -name prime256v1 -genkey -noout -out key.pem
    openssl ec -in key.pem -pubout -out pub.pem 2>/dev/null
    virga_run 0 attest --sign-key key.pem --step s -o a.json app.tar
    [ "$(jq -r .payloadType a.json)" = application/vnd.in-toto+json ]
    jq -r .payload a.json | base64 -d >payload
    jq -r '.signatures[0].sig' a.json | base64 -d >sig
    { printf 'DSSEv1 28 application/vnd.in-toto+json %d ' "$(stat -c %s payload)"; cat payload; } >pae
    openssl dgst -sha256 -verify pub.pem -signature sig pae
    jq -e '.predicate.name == "s"' payload
    virga attest app.tar >plain.json
    [ "$(bare payload)" = "$(bare plain.json)" ]
    virga_run 0 save -o s.tar --attest s.json --sign-key key.pem app
    jq -e '.signatures | length == 1' s.json
    virga_run 1 attest --sign-key pub.pem app.tar
    fails '--sign-key "pub.pem": private key: PEM blocks of type "PUBLIC KEY" are not supported'
    virga_run 1 attest --sign-key nokey app.tar
    fails '--sign-key "nokey": no such file or directory'
    prints ""
}

# --- provenance ----------------------------------------------------------------

# built FILE prints the predicate of a statement.
built() { jq -cS .predicate "$1"; }

@test "build --attest: what went in, by the digests that other programs compute" {
    virga pull "$REGISTRY/tiny" 2>/dev/null
    base=$(curl -sI -H 'Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json' "http://$REGISTRY/v2/tiny/manifests/latest" | tr -d '\r' | sed -n 's/^[Dd]ocker-[Cc]ontent-[Dd]igest: sha256://p')
    blob=$(curl -s -H 'Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json' "http://$REGISTRY/v2/tiny/manifests/latest" | jq -r .config.digest)
    mkdir -p ctx/sub
    echo one >ctx/a; echo two >ctx/sub/b; echo junk >ctx/junk; echo junk >ctx/.dockerignore
    cat >ctx/Dockerfile <<END
FROM $REGISTRY/tiny AS one
ARG VERSION
ARG API_TOKEN
RUN --mount=type=secret,id=s true
FROM scratch
COPY --from=one /bin/busybox /b
COPY . /c
ADD http://ada:hunter2@$REGISTRY/v2/tiny/blobs/$blob /blob
END
    echo 'very secret' >s
    VERSION=3 virga_run 0 build --attest -t app --build-arg VERSION --build-arg API_TOKEN=hunter2 --build-arg URL=http://ada:hunter2@x/y --secret id=s,src=s --label l=1 ctx
    virga_run 0 attest --type provenance app
    echo "$output" >p.json
    jq -e '._type == "https://in-toto.io/Statement/v1" and .predicateType == "https://slsa.dev/provenance/v1"' p.json
    jq -e '.predicate.buildDefinition.externalParameters | .buildArgs == {VERSION: "3", API_TOKEN: null, URL: "http://x/y"} and .secrets == ["s"] and .labels == {l: "1"}' p.json
    if grep -e hunter2 -e 'very secret' -e "$PWD" <(jq 'del(.predicate.buildDefinition.externalParameters.dockerfile.content)' p.json); then false; fi
    jq -r .predicate.buildDefinition.externalParameters.dockerfile.content p.json | base64 -d | cmp - ctx/Dockerfile
    jq -e --arg d "$(sha256 ctx/Dockerfile)" '.predicate.buildDefinition.externalParameters.dockerfile.digest.sha256 == $d' p.json
    hash=$(cd ctx && printf '%s\n' .dockerignore Dockerfile a sub/b | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -d' ' -f1)
    jq -e --arg h "$hash" '[.predicate.buildDefinition.resolvedDependencies[] | select(.name == "context")] == [{name: "context", digest: {dirHash: $h}}]' p.json
    jq -e --arg n "image $REGISTRY/tiny:latest" --arg d "$base" '[.predicate.buildDefinition.resolvedDependencies[] | select(.name == $n)][0].digest.sha256 == $d' p.json
    jq -e --arg d "${blob#sha256:}" '[.predicate.buildDefinition.resolvedDependencies[] | select(.name == "file")][0].digest.sha256 == $d' p.json
    jq -e '.predicate.buildDefinition.internalParameters.emulation == "seccomp"' p.json
    level=$(jq -r .predicate.buildDefinition.internalParameters.emulationLevel p.json)
    virga doctor >d; grep -q "root emulation.*$level" d
    jq -e --arg v "$(virga --version | cut -d' ' -f2)" '.predicate.runDetails.builder.version.virga == $v' p.json
    d=$(virga save --format oci app | tar -xO index.json | jq -r '.manifests[0].digest' | cut -d: -f2)
    jq -e --arg d "$d" '.subject == [{name: "docker.io/library/app:latest", digest: {sha256: $d}}]' p.json
}

@test "build --attest: the same bytes of the same input, another when a file is another" {
    tiny
    mkdir ctx
    echo 1 >ctx/f
    printf 'FROM tiny\nCOPY f /\nRUN cat /f >/g\n' >ctx/Dockerfile
    export SOURCE_DATE_EPOCH=1700000000
    virga build --attest -t a ctx 2>/dev/null
    virga attest --type provenance a >one
    virga build --no-cache --attest -t a ctx 2>/dev/null
    virga attest --type provenance a | cmp - one
    jq -e '.predicate.runDetails.metadata == {startedOn: "2023-11-14T22:13:20Z", finishedOn: "2023-11-14T22:13:20Z"}' one
    echo 2 >ctx/other
    virga build --attest -t a ctx 2>/dev/null
    virga attest --type provenance a >two
    [ "$(built one)" != "$(built two)" ]
    [ "$(built one | jq -c 'del(.buildDefinition.resolvedDependencies[] | select(.name == "context"))')" = "$(built two | jq -c 'del(.buildDefinition.resolvedDependencies[] | select(.name == "context"))')" ]
}

@test "build --attest: kept by prune and tag, not by another build" {
    tiny
    dockerfile <<<'FROM tiny'
    virga build --attest -t a . 2>/dev/null
    virga tag a b
    virga attest --type provenance a | built - >want
    virga delete a
    virga prune -a
    virga attest --type provenance b | built - | cmp - want
    virga build -t b . 2>/dev/null
    virga_run 1 attest --type provenance b
    fails 'image b:latest: nothing is kept of how it was built'
    hints 'build --attest keeps it'
    virga_run 2 attest --type provenance --step x b
    fails '--step is for --type oci'
    virga_run 2 attest --type provenence b
    hints 'did you mean provenance?'
}

@test "push: the provenance refers to the image, once" {
    tiny
    dockerfile <<<'FROM tiny'
    virga build --attest -t app -o "type=image,name=$REGISTRY/att/built,push=true" . 2>/dev/null
    virga_run 0 push app "$REGISTRY/att/built:2"
    says 'attached to'
    d=$(curl -sI -H 'Accept: application/vnd.oci.image.manifest.v1+json' "http://$REGISTRY/v2/att/built/manifests/latest" | tr -d '\r' | sed -n 's/^[Dd]ocker-[Cc]ontent-[Dd]igest: sha256://p')
    # This registry has no list of referrers: the tag stands for it.
    curl -s -H 'Accept: application/vnd.oci.image.index.v1+json' "http://$REGISTRY/v2/att/built/manifests/sha256-$d" >list
    jq -e '[.manifests[].artifactType] == ["application/vnd.in-toto+json", "application/vnd.in-toto+json"]' list
    virga_run 0 push app "$REGISTRY/att/built:2"
    curl -s -H 'Accept: application/vnd.oci.image.index.v1+json' "http://$REGISTRY/v2/att/built/manifests/sha256-$d" | cmp - list
    m=$(jq -r '.manifests[1].digest' list)
    curl -s -H 'Accept: application/vnd.oci.image.manifest.v1+json' "http://$REGISTRY/v2/att/built/manifests/$m" >manifest
    jq -e --arg d "sha256:$d" '.subject.digest == $d and .layers[0].annotations["in-toto.io/predicate-type"] == "https://slsa.dev/provenance/v1"' manifest
    curl -s "http://$REGISTRY/v2/att/built/blobs/$(jq -r '.layers[0].digest' manifest)" >statement
    jq -e --arg d "$d" --arg n "$REGISTRY/att/built:2" '.subject == [{name: $n, digest: {sha256: $d}}]' statement
    virga attest --type provenance app >p.json
    [ "$(built statement)" = "$(built p.json)" ]
    virga build -t plain . 2>/dev/null
    virga_run 0 push plain "$REGISTRY/att/plain"
    [[ $stderr != *attached* ]]
}

# --- verify-attestation ----------------------------------------------------------

# key_pair NAME makes NAME.key and NAME.pub.
key_pair() {
    openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
    openssl ec -in "$1.key" -pubout -out "$1.pub" 2>/dev/null
}

@test "verify-attestation: of a file, of its images elsewhere, of nothing else" {
    saved
    key_pair k; key_pair other
    virga attest --sign-key k.key -o a.json app.tar
    virga_run 0 verify-attestation --verify-key other.pub --verify-key k.pub --attestation a.json app.tar
    [ "$output" = "$(jq -r .payload a.json | base64 -d)" ]
    says 'verified app.tar: https://aflock.ai/attestation-collection/v0.1, by key sha256:'
    virga save --format oci -o oci.tar.gz app
    virga_run 0 verify-attestation --verify-key k.pub --type oci --attestation - oci.tar.gz <a.json
    virga_run 0 verify-attestation --verify-key k.pub --attestation a.json app
    virga_run 1 verify-attestation --verify-key k.pub --attestation a.json tiny
    fails 'about something else: image 1 of it is no subject'
    virga_run 1 verify-attestation --verify-key other.pub --attestation a.json app.tar
    fails 'not by the key asked for'
    prints ""
    virga_run 1 verify-attestation --verify-key k.pub --type provenance --attestation a.json app.tar
    fails 'its predicate is https://aflock.ai/attestation-collection/v0.1'
    virga_run 2 verify-attestation --attestation a.json app.tar
    hints '--verify-key FILE'
    virga_run 2 verify-attestation --verify-key k.pub --type spdxjso app.tar
    hints 'did you mean spdxjson?'
    virga_run 1 verify-attestation --verify-key k.key --attestation a.json app.tar
    fails '--verify-key "k.key": public key'
    jq -c '.payload |= (@base64d | sub("imageid"; "imageit") | @base64)' a.json >bad.json
    virga_run 1 verify-attestation --verify-key k.pub --attestation bad.json app.tar
    fails 'not by the key asked for'
    virga_run 1 verify-attestation --verify-key k.pub "$REGISTRY/tiny"
    fails 'it has no signed attestation'
}

# cosign_attests COSIGN OPTION... attests with cosign.key what virga knows of a
# build: cosign checks the form of that.
cosign_attests() {
    local cosign=$1
    shift
    "$cosign" attest -y --key cosign.key --allow-http-registry --tlog-upload=false --predicate predicate.json "$@"
}

@test "verify-attestation: what cosign attested, in its old form and its new" {
    local n cosign options d
    export COSIGN_PASSWORD=geheim
    tiny
    dockerfile <<<'FROM tiny'
    virga build --attest -t app . 2>/dev/null
    virga attest --type provenance app | jq .predicate >predicate.json
    for n in 2 3; do
        cosign=COSIGN$n
        cosign=${!cosign-}
        [ -n "$cosign" ] || skip "\$COSIGN2 and \$COSIGN3 name no programs"
        rm -f cosign.*
        "$cosign" generate-key-pair
        key_pair other
        d=$(push_image "cos/app$n:1" "$SUITE_DIR/tiny.tar")
        virga_run 1 verify-attestation --verify-key cosign.pub "$REGISTRY/cos/app$n:1"
        options=()
        [ $n = 2 ] || options=(--use-signing-config=false)
        cosign_attests "$cosign" "${options[@]}" --type slsaprovenance1 "$REGISTRY/cos/app$n:1"
        virga_run 0 verify-attestation --verify-key cosign.pub "$REGISTRY/cos/app$n:1"
        jq -e --slurpfile p predicate.json '.predicateType == "https://slsa.dev/provenance/v1" and .predicate.buildDefinition.externalParameters == $p[0].buildDefinition.externalParameters' <<<"$output"
        virga_run 0 verify-attestation --verify-key cosign.pub --type provenance "$REGISTRY/cos/app$n:1"
        virga_run 1 verify-attestation --verify-key cosign.pub --type spdx "$REGISTRY/cos/app$n:1"
        fails 'its predicate is https://slsa.dev/provenance/v1'
        virga_run 1 verify-attestation --verify-key other.pub "$REGISTRY/cos/app$n:1"
        fails 'not by the key asked for'
    done
}

@test "build --attest-key: cosign verifies the provenance that was pushed" {
    local d
    tiny
    key_pair k; key_pair other
    dockerfile <<<'FROM tiny'
    virga_run 2 build --attest-key k.key -t app .
    fails '--attest-key has nothing to sign'
    virga_run 0 build --attest --attest-key k.key -t signed_app -o "type=image,name=$REGISTRY/att/signed,push=true" .
    virga_run 0 verify-attestation --verify-key k.pub --type provenance "$REGISTRY/att/signed"
    [ "$(wc -l <<<"$output")" -eq 2 ] # in cosign's old form and its new
    jq -s -e '.[0] == .[1]' <<<"$output"
    virga_run 1 verify-attestation --verify-key other.pub "$REGISTRY/att/signed"
    virga_run 0 push --sign-key k.key --sign-format bundle signed_app "$REGISTRY/att/pushed"
    virga_run 0 verify-attestation --verify-key k.pub "$REGISTRY/att/pushed"
    [ "$(wc -l <<<"$output")" -eq 1 ]
    [ -n "${COSIGN2-}" ] && [ -n "${COSIGN3-}" ] || skip "\$COSIGN2 and \$COSIGN3 name no programs"
    "$COSIGN2" verify-attestation --key k.pub --insecure-ignore-tlog --allow-http-registry --type slsaprovenance1 "$REGISTRY/att/signed" | jq -e '.payloadType == "application/vnd.in-toto+json"'
    # A bundle by key needs nothing of the trusted root, but cosign a file.
    echo '{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}' >root.json
    for cosign in "$COSIGN2 --new-bundle-format" "$COSIGN3"; do
        # shellcheck disable=SC2086 # a program and its option
        set -- $cosign
        "$1" verify-attestation "${@:2}" --trusted-root root.json --key k.pub --insecure-ignore-tlog --allow-http-registry --type slsaprovenance1 "$REGISTRY/att/signed" >verified
        jq -e '.payloadType == "application/vnd.in-toto+json"' verified
        run ! "$1" verify-attestation "${@:2}" --trusted-root root.json --key other.pub --insecure-ignore-tlog --allow-http-registry --type slsaprovenance1 "$REGISTRY/att/signed"
    done
}
