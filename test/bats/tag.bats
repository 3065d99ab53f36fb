# tag: further names of an image.
load common
setup() { common_setup; tiny; }

@test "new names, several at once, for the same image" {
    virga_run 0 tag tiny a:1 example.org/b:2
    prints ""
    virga_run 0 list
    prints "$(printf 'a:1\nexample.org/b:2\ntiny:latest')"
    [ "$(virga inspect a:1 | jq -r '.[0].Id')" = "$(virga inspect tiny | jq -r '.[0].Id')" ]
    virga_run 0 run a:1 -- echo same
    prints same
}

@test "by id prefix" {
    local id
    id=$(virga inspect tiny | jq -r '.[0].Id')
    virga_run 0 tag "${id:7:8}" b
    virga_run 0 inspect b
}

@test "Docker Hub's names are one name" {
    virga_run 0 tag tiny docker.io/library/alpine
    virga_run 0 inspect alpine
    virga_run 0 inspect library/alpine:latest
    virga_run 0 inspect index.docker.io/library/alpine
}

@test "the file-name form is a reference" {
    virga_run 0 tag tiny example.org%x+1
    virga_run 0 inspect example.org/x:1
}

@test "a name moves" {
    printf 'FROM tiny\nRUN echo new >/new\n' | virga build -t app - 2>/dev/null >&2
    virga_run 0 tag app tiny
    virga_run 0 run tiny -- cat /new
    prints new
}

@test "an unknown image, a bad name, a digest as name" {
    virga_run 1 tag tinny x
    fails tinny "not in storage"
    hints tiny
    virga_run 2 tag tiny 'a b'
    fails "invalid image reference"
    virga_run 2 tag tiny "x@sha256:$(printf '0%.0s' {1..64})"
    fails "digest is not given"
    virga_run 2 tag tiny
    fails "SRC or DST is missing"
}
