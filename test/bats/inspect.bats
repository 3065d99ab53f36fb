# inspect and history.
load common
setup() {
    common_setup
    tiny
    dockerfile <<'EOF'
FROM tiny
LABEL team=blue
ENV A=1
EXPOSE 80
VOLUME /data
WORKDIR /w
RUN echo x >/x
USER nobody
ENTRYPOINT ["/bin/echo"]
CMD ["a", "b"]
EOF
    virga build -t app . 2>/dev/null >&2
}

@test "inspect is docker's JSON array" {
    virga_run 0 inspect app
    jq -e 'length == 1' <<<"$output"
    jq -e '.[0].RepoTags == ["app:latest"]' <<<"$output"
    jq -e '.[0].Id | test("^sha256:[0-9a-f]{64}$")' <<<"$output"
    jq -e '.[0].Config | .Labels.team == "blue" and .WorkingDir == "/w" and .User == "nobody"' <<<"$output"
    jq -e '.[0].Config | .Entrypoint == ["/bin/echo"] and .Cmd == ["a","b"]' <<<"$output"
    jq -e '.[0].Config | (.Env | index("A=1")) != null and .ExposedPorts["80/tcp"] == {} and .Volumes["/data"] == {}' <<<"$output"
    jq -e '.[0] | .Os == "linux" and .Architecture == "'"$(host_arch)"'"' <<<"$output"
    jq -e '.[0].RootFS.Layers | length >= 2' <<<"$output"
}

@test "inspect several, by name and by id" {
    local id
    id=$(virga inspect app | jq -r '.[0].Id')
    virga_run 0 inspect tiny "$id" "${id:7:12}" "${id:0:20}"
    jq -e 'length == 4 and .[1].Id == .[2].Id and .[2].Id == .[3].Id' <<<"$output"
}

@test "image-inspect is another name" {
    virga_run 0 image-inspect app
    jq -e length <<<"$output"
}

@test "two tags of one image are not ambiguous" {
    local id
    virga tag app app:2
    id=$(virga inspect app | jq -r '.[0].Id')
    virga_run 0 inspect "${id:7:6}"
    jq -e '.[0].RepoTags == ["app:2","app:latest"]' <<<"$output"
}

@test "inspect an unknown image: error, nothing printed, near names" {
    virga_run 1 inspect app tinny
    fails tinny "not in storage"
    hints tiny
    prints ""
}

@test "history: instructions, last first, with sizes" {
    virga_run 0 history app
    prints_like '*LAYER*CREATED*SIZE*CREATED BY*'
    [[ $(sed -n 2p <<<"$output") == *CMD* ]]
    grep -q 'echo x >/x' <<<"$output"
    virga_run 1 history nothing
    fails nothing "not in storage"
}

@test "inspect --format and history --format, as docker has them" {
    tiny
    dockerfile <<<$'FROM tiny\nENV A=b\nCMD ["x", "y"]\n'
    virga build -t app . 2>/dev/null
    virga_run 0 inspect -f '{{.Os}} {{json .Config.Cmd}} {{join .Config.Env ","}}' app
    prints 'linux ["x","y"] A=b'
    virga_run 0 inspect --format json app
    jq -e '.RepoTags == ["app:latest"]' <<<"$output"
    virga_run 0 history --format '{{.CreatedBy}}|{{.Size}}' app
    prints_like 'CMD*|0B*'
    virga_run 0 history -H --format '{{.CreatedSince}}' app
    prints_like '*second*ago*'
    virga_run 0 history --human=false --format '{{.CreatedAt}}|{{.Size}}' app
    prints_like '20*T*Z|0*'
    [[ $(tail -n 1 <<<"$output") =~ \|[0-9]{6,}$ ]]
    virga_run 0 history app
    prints_like '*ago*'
    virga_run 0 history --human=false app
    [[ $output != *ago* ]]
    virga_run 0 history --no-trunc -q app
    prints_like '*sha256:*'
    virga_run 2 inspect -f '{{.x' app
    fails 'inspect: '
}
