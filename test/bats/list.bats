# list, and what it prints.
load common
setup() { common_setup; }

@test "an empty storage: nothing, status 0" {
    virga_run 0 list
    prints ""
}

@test "references, sorted, one a line" {
    tiny
    virga tag tiny b:2 a:1 example.org/x/y:z
    virga_run 0 list
    prints "$(printf 'a:1\nb:2\nexample.org/x/y:z\ntiny:latest')"
    virga_run 0 ls
    prints_like "a:1*"
    virga_run 0 images
    prints_like "a:1*"
}

@test "-l is a table" {
    tiny
    virga_run 0 list -l
    [ "$(head -1 <<<"$output" | tr -s ' ')" = "REPOSITORY TAG IMAGE ID CREATED SIZE PLATFORM" ]
    [[ $(sed -n 2p <<<"$output") =~ ^tiny\ +latest\ +[0-9a-f]{12}\ .*linux/$(host_arch) ]]
}

@test "--digests shows the registry's digest" {
    local d
    d=$(push_image digests:1 "$SUITE_DIR/tiny.tar")
    virga pull "$REGISTRY/digests:1"
    virga_run 0 list --digests
    prints_like "*$d*"
}

@test "--format: template, json, docker's names" {
    tiny
    virga_run 0 list --format '{{.Repository}}|{{.Tag}}\t{{.ID}}'
    [[ $output =~ ^tiny\|latest$'\t'[0-9a-f]{12}$ ]]
    virga_run 0 list --format json
    [ "$(jq -r .Reference <<<"$output")" = tiny:latest ]
    virga_run 2 list --format '{{.Nope}}'
    fails list
}

@test "-f: reference, label, before, since" {
    tiny
    printf 'FROM tiny\nLABEL team=blue\n' | virga build -t app - >/dev/null
    virga_run 0 list -f 'reference=ti*'
    prints tiny:latest
    virga_run 0 list -f label=team
    prints app:latest
    virga_run 0 list -f label=team=red
    prints ""
    virga_run 0 list -f dangling=true
    prints ""
    virga_run 0 list -f dangling=false -f label=team
    prints app:latest
    virga_run 2 list -f dangling=maybe
    fails "true or false"
    virga_run 2 list -f colour=red
    fails colour
    virga_run 1 list -f before=nothing
    fails nothing "not in storage"
}

@test "with a reference: what is known here" {
    tiny
    virga_run 0 list tiny
    prints_like "*tiny:latest*sha256:*linux/$(host_arch)*"
}

@test "a hundred images" {
    tiny
    local names=() i
    for i in {1..99}; do names+=("img$i"); done
    virga tag tiny "${names[@]}"
    virga list >out
    [ "$(wc -l <out)" -eq 100 ]
}
