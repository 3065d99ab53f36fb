# What fixed builds print, whole: held against golden/, where times, sizes,
# digests and the registry's port are replaced by words. With VIRGA_GOLDEN=DIR
# the files are written to DIR instead; look at the difference before you commit.
load common
setup() {
    common_setup
    dockerfile <<END
FROM $REGISTRY/tiny AS base
ARG V=1
RUN echo "one \$V"; \\
    echo two >&2
COPY Dockerfile /
FROM base
LABEL a=b
RUN test -e /Dockerfile
END
}

# plain replaces what differs from run to run in lines of text.
plain() {
    sed -E -e "s/$REGISTRY/REGISTRY/g" -e 's/\b[0-9a-f]{12}\b/ID/g' -e 's/\b[0-9.]+(B|kB|MB|GB)\b/SIZE/g' \
        -e 's/\b[0-9.]+m?s\b/TIME/g' -e 's| \(SIZE/s\)||'
}

# objects replaces what differs from run to run in the stream of objects, and
# sorts members by name. How often progress is told depends on how fast it is:
# once is kept.
objects() {
    jq -cS --arg registry "$REGISTRY" '(.. | strings) |= (gsub($registry; "REGISTRY") | gsub("[0-9a-f]{64}"; "DIGEST") | gsub("\\b[0-9a-f]{12}\\b"; "ID") | gsub("^virga [^ ]+$"; "virga VERSION"))
        | .time = "TIME"
        | with_entries(if (.key | IN("seconds", "cpu")) then .value = 0.5 elif (.key | IN("size", "bytes")) then .value = 1000 else . end)' | uniq
}

# golden NAME demands that standard input is the committed file.
golden() {
    if [ -n "${VIRGA_GOLDEN-}" ]; then
        cat >"$VIRGA_GOLDEN/$1"
    else
        diff -u "$VIRGA_TEST_TOP/test/bats/golden/$1" -
    fi
}

# builds FORMAT FILTER: what is printed cold, from the cache, and of a failure.
builds() {
    virga_run 0 build --jobs 1 --progress "$1" -t app .
    "$2" <<<"$stderr" | golden "cold.$1"
    virga_run 0 build --jobs 1 --progress "$1" -t app .
    "$2" <<<"$stderr" | golden "cached.$1"
    printf 'RUN echo why; echo "sh: No space left on device"; exit 7\n' >>Dockerfile
    virga_run 1 build --jobs 1 --progress "$1" -t app .
    "$2" <<<"$stderr" | golden "failed.$1"
}

@test "plain lines: cold, from the cache, and a failure" {
    builds plain plain
}

@test "--progress json: cold, from the cache, and a failure" {
    builds json objects
}
