# du, prune, build-cache, undelete, and what makes the build cache miss.
load common
setup() { common_setup; tiny; }

# app NAME [SUFFIX] builds an image of two instructions.
app() { printf 'FROM tiny\nRUN echo 1%s >/one\nRUN echo 2 >/two\n' "${2-}" | virga build -q -t "$1" - >/dev/null; }

# trees counts the trees in storage.
trees() { find "$VIRGA_STORAGE/trees" -mindepth 1 -maxdepth 1 | wc -l; }

@test "du: a table, json, a template, each object" {
    app app
    virga_run 0 du
    prints_like "TYPE *TOTAL *ACTIVE *SIZE *RECLAIMABLE*Images *2 *Build Cache *2 *2 *Total*"
    virga_run 0 du --format '{{.Type}} {{.TotalCount}}'
    prints_like "Images 2*Build Cache 2*"
    virga_run 0 du --format json
    jq -se '.[0].Type == "Images" and .[0].Bytes > 100000 and .[0].ReclaimableBytes == 0' <<<"$output"
    virga_run 0 du -v
    prints_like "*app:latest *tiny:latest *RUN echo 2 >/two*RUN echo 1 >/one*"
    virga_run 0 du -v --format json
    jq -se 'map(select(.Type == "cache" and .Images == ["app:latest"])) | length == 2' <<<"$output"
    virga_run 2 du --format '{{.Nothing}}'
    fails "Nothing"
}

@test "du tells what prune -a frees" {
    app app
    app other x
    virga delete other
    printf 'FROM tiny\nRUN --mount=type=cache,target=/c head -c 300000 /dev/zero >/c/f\n' | virga build -t m - 2>/dev/null
    local want
    want=$(virga du --format '{{.ReclaimableBytes}}' | awk '{ n += $1 } END { print n }')
    [ "$want" -gt 300000 ]
    virga_run 0 prune -a -n
    prints_like "*Cached results: 2*Cache mounts: 1*Total reclaimable space: *"
    local before after
    before=$(virga du --format '{{.Bytes}}' | awk '{ n += $1 } END { print n }')
    virga_run 0 prune -a
    prints_like "*Cached results: 2*Cache mounts: 1*Total reclaimed space: *"
    after=$(virga du --format '{{.Bytes}}' | awk '{ n += $1 } END { print n }')
    # Records of states and of deleted images are not part of the estimate.
    [ $((before - after)) -ge "$want" ] && [ $((before - after)) -le $((want + 40000)) ]
    virga_run 0 run app -- cat /two
    prints 2
}

@test "prune: nothing by itself, the cache with -a, never an image" {
    app app
    app other x
    virga delete other
    virga_run 0 prune
    prints "Total reclaimed space: 0B"
    virga_run 0 list -u
    prints other:latest
    virga_run 0 prune --force --all
    virga_run 0 list -u
    prints ""
    virga_run 0 list
    prints "$(printf 'app:latest\ntiny:latest')"
    app app # still hits: those states are part of an image
    virga_run 0 build -t app -f - . < <(printf 'FROM tiny\nRUN echo 1 >/one\nRUN echo 2 >/two\n')
    says "2\* RUN"
}

@test "prune --keep-storage takes what was used longest ago" {
    for i in 1 2 3; do
        printf 'FROM tiny\nRUN head -c 100000 /dev/zero >/f%s\n' $i | virga build -q -t "a$i" - >/dev/null
        virga delete "a$i" 2>/dev/null
    done
    # The first is used again.
    find "$VIRGA_STORAGE/cache" -name '*.json' -exec touch -d '1 hour ago' {} +
    printf 'FROM tiny\nRUN head -c 100000 /dev/zero >/f1\n' | virga build -q -t a1 - >/dev/null
    virga delete a1 2>/dev/null
    virga_run 0 prune --keep-storage 150kB
    prints_like "Cached results: 2*"
    virga_run 0 build-cache --tree
    prints_like "*/f1*"
    virga_run 2 prune --keep-storage lots
    fails 'prune: --keep-storage "lots" is not a size'
    virga_run 0 prune --keep-storage 0
    [ "$(trees)" -eq 1 ]
}

@test "prune --filter until" {
    app old
    virga delete old
    find "$VIRGA_STORAGE/cache" -name '*.json' -exec touch -d '3 days ago' {} +
    app new x
    virga delete new
    virga_run 0 prune --filter until=7d
    prints "Total reclaimed space: 0B"
    virga_run 0 prune --filter until=48h
    prints_like "Cached results: 2*"
    virga_run 0 list -u
    prints new:latest
    virga_run 2 prune --filter until=yesterday
    fails 'until=yesterday' 'is not a duration'
}

@test "prune --filter reference, label: images go, with -a only" {
    app ci-1
    app keep x
    printf 'FROM tiny\nLABEL ci=yes\nRUN echo l >/l\n' | virga build -q -t labelled - >/dev/null
    virga_run 2 prune --filter 'reference=ci-*'
    fails "every image has a name"
    hints "with --all"
    virga_run 0 prune -a -n --filter 'reference=ci-*'
    prints_like "Image: ci-1:latest*"
    virga_run 0 prune -a --filter 'reference=ci-*'
    prints_like "Image: ci-1:latest*Cached results: 2*"
    virga_run 0 prune -a --filter label=ci=yes
    prints_like "Image: labelled:latest*"
    virga_run 0 prune -a --filter label=ci
    virga_run 0 list
    prints "$(printf 'keep:latest\ntiny:latest')"
    virga_run 2 prune -a --filter colour=red
    fails 'colour=red'
}

@test "prune beside a build that uses what it would take" {
    virga build -q -t slow -f - . < <(printf 'FROM tiny\nRUN echo a >/a\nRUN sleep 2; cat /a >/b\n') >out &
    local pid=$!
    wait_for 10 pgrep -f 'sleep 2; cat /a'
    virga_run 0 prune -a
    virga_run 0 delete tiny
    virga_run 0 prune -a
    wait $pid
    virga_run 0 run slow -- cat /b
    prints a
}

@test "build-cache: summary, tree, dot, gc, reset" {
    app app
    app other x
    virga_run 0 build-cache
    prints_like "named images: 3*state IDs: *4*of images: *4*disk used: *"
    LC_ALL=C virga_run 0 build-cache --tree
    prints_like "*tiny:latest*RUN echo 1*>/one*RUN echo 2 >/two*\[*:latest\]*\`-*RUN echo 1*>/one*RUN echo 2 >/two*"
    LC_ALL=C.UTF-8 virga_run 0 build-cache --tree
    prints_like "*├─ RUN*└─ RUN*"
    virga_run 0 build-cache --dot
    prints_like "digraph*RUN echo 2 >/two*app:latest*}"
    virga_run 0 build-cache --dot=out.gv
    prints ""
    ! command -v dot >/dev/null || dot -Tsvg out.gv >/dev/null
    virga_run 0 build-cache --gc
    virga_run 0 build-cache --reset
    virga_run 0 build-cache
    prints_like "*state IDs: *0*"
    virga_run 0 run app -- cat /two
    prints 2
}

@test "build-cache --tree names stages, and a base that is gone" {
    printf 'FROM tiny AS maker\nRUN echo 1 >/one\nFROM scratch\nCOPY --from=maker /one /\n' | virga build -q -t app - >/dev/null
    virga delete tiny
    virga_run 0 build-cache --tree
    prints_like "*scratch*COPY --from=maker /one /*\[app:latest\]*not in storage*maker: RUN echo 1*"
}

@test "undelete brings back what the cache holds" {
    app app
    virga_run 1 undelete app
    fails 'undelete "app:latest": image exists, will not overwrite it'
    virga delete app
    virga_run 125 run app -- true
    virga_run 0 undelete app
    virga_run 0 run app -- cat /two
    prints 2
    virga delete app
    app app x
    virga_run 1 undelete app
    fails "image exists"
    virga delete app
    virga_run 1 undelete nothing
    fails 'undelete "nothing:latest": not in cache'
    hints "app:latest"
    virga prune -a
    virga_run 1 undelete app
    fails "not in cache"
    hints "no deleted image is in the build cache"
}

@test "VIRGA_CACHE_MAX bounds the cache when a build has ended" {
    for i in 1 2 3; do
        printf 'FROM tiny AS a\nRUN head -c 200000 /dev/zero >/f%s\nFROM tiny\nRUN --mount=from=a,target=/a echo %s >/i\n' $i $i |
            VIRGA_CACHE_MAX=300kB virga build -q -t "a$i" - >/dev/null
    done
    virga_run 0 build-cache --tree
    prints_like "*/f3*"
    [[ $output != */f1* && $output != */f2* ]]
    # What an image needs is no matter of the cache.
    for i in 1 2 3; do [ "$(virga run a$i -- cat /i)" = $i ]; done
    VIRGA_CACHE_MAX=lots virga_run 2 build -t x - < <(echo FROM tiny)
    fails 'VIRGA_CACHE_MAX: "lots" is not a size'
}

@test "build --flat: one directory that follows the image" {
    printf 'FROM tiny\nRUN echo 1 >/one && rm -r /var\nRUN echo 2 >/two\n' >Dockerfile
    virga build -q -t me/app:1 . >/dev/null
    [ ! -e "$VIRGA_STORAGE/img/me%app+1" ]
    virga build -q --flat -t me/app:1 . >/dev/null
    local img=$VIRGA_STORAGE/img
    [ "$(cat "$img/me%app+1/one" "$img/me%app+1/two")" = "$(printf '1\n2')" ]
    [ ! -e "$img/me%app+1/var" ]
    ! command -v ch-run >/dev/null || [ "$(ch-run "$img/me%app+1/" -- cat /two)" = 2 ]
    virga tag me/app:1 copy
    [ "$(cat "$img/copy+latest/one")" = 1 ]
    virga delete me/app:1
    [ ! -e "$img/me%app+1" ]
    [ "$(cat "$img/copy+latest/one")" = 1 ]
    virga delete copy
    [ "$(trees)" -eq 3 ]
    virga undelete copy
    [ "$(cat "$img/copy+latest/two")" = 2 ]
    virga prune -a
    [ "$(cat "$img/copy+latest/two")" = 2 ]
    virga build -q -t copy . >/dev/null
    [ ! -e "$img/copy+latest" ]
    virga prune
    [ "$(trees)" -eq 3 ]
}

@test "build --metadata-file" {
    echo FROM tiny >Dockerfile
    virga build -q -t a -t b:2 --metadata-file m.json . >id
    [ "$(jq -r '."containerimage.config.digest"' m.json)" = "$(cat id)" ]
    [ "$(jq -r '."image.name"' m.json)" = a:latest,b:2 ]
    virga_run 1 build -q -t a --metadata-file /nowhere/m.json .
    fails /nowhere/m.json
}

# misses N says how many instructions the last build computed.
misses() { [ "$(grep -cE '^( *|[a-z]+ +)[0-9]+\. ' <<<"$stderr")" -eq "$1" ] || { show; return 1; }; }

@test "ARG and ENV miss where they are used" {
    printf 'FROM tiny\nARG A=0\nRUN echo before >/b\nARG B=0\nENV C=$B\nRUN echo after >/a\n' >Dockerfile
    virga build -t app . 2>/dev/null
    virga_run 0 build -t app .
    misses 0
    virga_run 0 build -t app --build-arg B=1 .
    misses 1 # the RUN that sees it
    virga_run 0 build -t app --build-arg A=1 .
    misses 2
    virga_run 0 build -t app --label x=y --build-arg http_proxy=http://127.0.0.1:9 .
    misses 0
    printf 'FROM tiny\nARG A=0\nCOPY <<END /f\nx\nEND\nWORKDIR /w\n' >Dockerfile
    virga build -t app . 2>/dev/null
    virga_run 0 build -t app --build-arg A=1 .
    misses 0 # COPY and WORKDIR do not see it
}

@test "emulation, mounts and the file's mode make a difference, names and times do not" {
    echo 1 >f
    printf 'FROM tiny\nCOPY f /f\nRUN cat /f\n' >Dockerfile
    virga build -t app . 2>/dev/null
    touch -d '2001-01-01' f
    virga_run 0 build -t other .
    misses 0
    cp -p f g && mv g f # another inode
    virga_run 0 build -t other .
    misses 0
    virga_run 0 build -t app --force=none .
    misses 1
    virga_run 0 build -t app -b /etc:/mnt .
    misses 1
    chmod 755 f
    virga_run 0 build -t app .
    misses 2
}

@test "a rewritten file of the same size and time is noticed" {
    echo 1 >f
    touch -d @1000000000 f
    printf 'FROM tiny\nCOPY f /f\n' >Dockerfile
    virga build -t app . 2>/dev/null
    sleep 2.1 # older than what is remembered at all
    virga build -t app . 2>/dev/null
    echo 2 >f
    touch -d @1000000000 f
    virga build -t app . 2>/dev/null
    virga_run 0 run app -- cat /f
    prints 2
}

@test "a build that failed half-way: its finished instructions hit, in every stage" {
    printf 'FROM tiny AS a\nRUN echo a >/a\nFROM tiny AS b\nRUN echo b >/b\nFROM tiny\nCOPY --from=a /a /\nCOPY --from=b /b /\nRUN exit 3\n' >Dockerfile
    virga_run 1 build -t app .
    virga_run 0 list
    prints tiny:latest
    sed -i 's/exit 3/cat \/a \/b/' Dockerfile
    virga_run 0 build -t app .
    misses 1
}

@test "a second build opens no file of the context" {
    command -v strace >/dev/null || missing strace
    mkdir -p ctx/{a,b}/{c,d}
    local d
    for d in ctx/*/*; do for i in $(seq 100); do echo "$i" >"$d/f$i"; done; done
    printf 'FROM tiny\nCOPY . /x\nRUN --mount=type=bind,target=/m true\n' >ctx/Dockerfile
    virga build -t app ctx 2>/dev/null
    sleep 2.1 # what changed less than 2 s ago is not believed
    virga build -t app ctx 2>/dev/null
    strace -f -e trace=open,openat,openat2 -o trace virga build -t app ctx
    [ "$(grep -c '"\(.*/\)\?f[0-9]*"' trace)" -eq 0 ] || { grep '"\(.*/\)\?f[0-9]*"' trace | head; false; }
    grep -q Dockerfile trace # strace saw something
}

@test "RUN --mount=type=cache: locked waits, private gets another, shared has all" {
    mkdir sync
    cat >template <<'EOF'
FROM tiny
ARG N
RUN --mount=type=cache,target=/c,id=HOW,sharing=HOW if [ $N = 2 ]; then test -e /c/busy && echo together >/r || echo alone >/r; exit; fi; \
    touch /c/busy /sync/HOW-has; n=0; while [ ! -e /sync/HOW-go ] && [ $n -lt 300 ]; do sleep 0.1; n=$((n + 1)); done; rm /c/busy
EOF
    local how one two
    for how in locked private shared; do
        sed "s/HOW/$how/g" template >Dockerfile
        virga build -q -b "$PWD/sync:/sync" -t "$how-1" --build-arg N=1 . >/dev/null &
        one=$!
        wait_for 20 test -e sync/$how-has
        virga build -q -b "$PWD/sync:/sync" -t "$how-2" --build-arg N=2 . >/dev/null &
        two=$!
        if [ $how = locked ]; then sleep 1; else wait $two; fi
        touch sync/$how-go
        wait $one $two
    done
    [ "$(virga run locked-2 -- cat /r)" = alone ]
    [ "$(virga run private-2 -- cat /r)" = alone ]
    [ "$(virga run shared-2 -- cat /r)" = together ]
    virga_run 0 du --format '{{.Type}} {{.TotalCount}}'
    prints_like "*Cache Mounts 4*"
    virga_run 0 prune -a
    prints_like "*Cache mounts: 4*"
}

@test "build --squash: one layer above the base, the same files" {
    mkdir ctx && echo 1 >ctx/f
    cat >ctx/Dockerfile <<'EOF'
FROM tiny
RUN echo secret >/secret && mkdir -p /d/sub /x && echo a >/d/a && ln /d/a /d/hard && ln -s a /d/link && chown 3:4 /d/a && echo in >/x/in
RUN rm /secret && rm -r /var && rm /etc/group && chmod 4711 /d/a && rm -r /x && echo file >/x
RUN rm -r /usr && mkdir /usr && echo u >/usr/new && rm /x && mkdir /x && echo new >/x/new
COPY --chown=5:6 f /f
RUN mknod /d/null c 1 3 && mkfifo /d/pipe && chmod 0 /f
EOF
    virga build -q -t plain --timestamp 1600000000 ctx >/dev/null
    virga_run 0 build -t squashed --timestamp 1600000000 --squash ctx
    says "1. (squash)"
    virga_run 0 inspect squashed
    jq -e '.[0].RootFS.Layers | length == 2' <<<"$output"
    [ "$(jq -r '.[0].RootFS.Layers[0]' <<<"$output")" = "$(virga inspect tiny | jq -r '.[0].RootFS.Layers[0]')" ]
    virga history squashed
    virga_run 0 push -q --plain-http squashed "$REGISTRY/squashed:1"
    virga_run 0 push -q --plain-http plain "$REGISTRY/unsquashed:1"
    local list='find / -xdev \( -path /proc -o -path /sys -o -path /dev \) -prune -o -exec stat -c "%n %F %a %u %g %s %t:%T" {} + | sort'
    local i
    for i in plain squashed; do
        virga run --force $i -- sh -c "$list" >$i.list
        virga unpack -o $i.dir $i
    done
    diff plain.list squashed.list
    rm ./*.dir/d/pipe # nothing to compare
    diff -r --no-dereference plain.dir squashed.dir
    reg squashed/manifests/1 -H 'Accept: application/vnd.oci.image.manifest.v1+json' | jq -r '.layers[1].digest' >digest
    reg "squashed/blobs/$(cat digest)" | tar -tzf - >names
    ! grep -q 'secret' names
    virga_run 0 build -t squashed --timestamp 1600000000 --squash ctx
    says "1\* (squash)"
    # An image of one new layer has nothing to squash.
    printf 'FROM tiny\nRUN echo x >/x\n' | virga build -q -t one --squash - >/dev/null
    virga_run 0 inspect one
    jq -e '.[0].RootFS.Layers | length == 2' <<<"$output"
}
