# delete: names and what they alone hold.
load common
setup() { common_setup; tiny; }

@test "an image, by its three command names" {
    virga tag tiny a b c
    virga_run 0 delete a
    virga_run 0 rm b
    virga_run 0 rmi c
    virga_run 0 list
    prints tiny:latest
}

@test "patterns" {
    virga tag tiny app:1 app:2 other:1
    virga_run 0 delete 'app:*'
    virga_run 0 list
    prints "$(printf 'other:1\ntiny:latest')"
}

@test "the last name gives the space back" {
    virga reset
    tiny
    virga tag tiny other
    virga delete tiny
    virga_run 0 run other -- echo still
    prints still
    virga delete other
    [ "$(du -sk "$VIRGA_STORAGE" | cut -f1)" -lt 500 ]
}

@test "what is not there: status 1, the rest is deleted" {
    virga tag tiny a
    virga_run 1 delete a nothing
    fails nothing
    virga_run 0 list
    prints tiny:latest
    virga_run 0 delete -f nothing
}

@test "an image that others are built on stays usable" {
    printf 'FROM tiny\nRUN echo x >/x\n' | virga build -t app - 2>/dev/null >&2
    virga_run 0 delete tiny
    virga_run 0 run app -- cat /x
    prints x
}

@test "a running program keeps its files" {
    virga run tiny -- sh -c 'sleep 3; cat /etc/passwd' >out &
    local pid=$!
    sleep 1
    virga_run 0 delete tiny
    wait $pid
    grep -q root out
}
