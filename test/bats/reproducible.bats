# Reproducible builds: the same inputs give the same digests.
load common
setup() { common_setup; }

# manifest NAME prints the digest of the manifest in the registry.
manifest() {
    reg "$1/manifests/1" -H 'Accept: application/vnd.oci.image.manifest.v1+json' | sha256sum | cut -d' ' -f1
}

# fresh N starts a storage directory and a copy of the context, made in another
# order, at another time.
fresh() {
    export VIRGA_STORAGE=$BATS_TEST_TMPDIR/storage$1
    rm -rf context && mkdir context
    local f
    for f in $(printf '%s\n' a b c dir/x dir/y | sort "$2"); do
        mkdir -p "context/$(dirname "$f")"
        echo "$f" >"context/$f"
    done
    chmod 755 context/dir && chmod 640 context/a && chmod 644 context/b context/dir/*
    ln -sf dir/x context/link
    ln context/b context/hard
    touch -d "$3" context/a context/dir
}

@test "two storage directories, two times, two umasks: the same digests" {
    cat >Dockerfile <<'EOF'
FROM tiny AS one
RUN mkdir /made && for i in 5 3 1 4 2; do echo $i >/made/$i; done && ln /made/1 /made/one && chown -R 7:8 /made && chmod 4755 /made/3
RUN rm -r /var/tmp /made/4 && mkfifo /made/pipe && mknod /made/null c 1 3
FROM tiny
ENV B=2 A=1
LABEL z=1 a=2
EXPOSE 80 22
VOLUME /z /a
WORKDIR /work/dir
COPY context /copied
COPY --chown=5:6 <<END /here
text
END
COPY --from=one /made /made
ADD context.tar /added/
RUN date >/when; ls -1 /copied >/list; rm /when
EOF
    fresh 1 -n "2020-01-01"
    tar -C context --mtime=@1000000000 --sort=name -cf context.tar .
    SOURCE_DATE_EPOCH=1500000000 virga import "$SUITE_DIR/tiny.tar" tiny
    (umask 022 && virga build -q -t app --timestamp 1600000000 . >id1)
    virga push --plain-http app "$REGISTRY/rep1:1"
    sleep 1.1
    fresh 2 -r "2021-02-03"
    SOURCE_DATE_EPOCH=1500000000 virga import "$SUITE_DIR/tiny.tar" tiny
    (umask 077 && SOURCE_DATE_EPOCH=1600000000 virga build -q -t app . >id2)
    virga push --plain-http app "$REGISTRY/rep2:1"
    [ "$(cat id1)" = "$(cat id2)" ]
    [ "$(manifest rep1)" = "$(manifest rep2)" ]
    virga_run 0 inspect app
    jq -e '.[0].Created | startswith("2020-09-13T12:26:40")' <<<"$output"
    virga_run 0 run app -- stat -c %Y /copied/a
    prints 1600000000
    virga_run 0 run app -- stat -c %Y /added/a
    prints 1000000000
}

@test "results of another time are not taken from the cache" {
    virga import "$SUITE_DIR/tiny.tar" tiny
    printf 'FROM tiny\nRUN echo x >/x\n' >Dockerfile
    virga build -t app . 2>/dev/null
    virga_run 0 build -t app --timestamp 100 .
    says "2. RUN"
    virga_run 0 run app -- stat -c %Y /x
    prints 100
    virga_run 0 build -t app --timestamp 200 .
    says "2. RUN"
    virga_run 0 build -t app --timestamp 100 .
    says "2\* RUN"
    virga_run 2 build --timestamp yesterday .
    fails '--timestamp "yesterday" is not a number of seconds'
    SOURCE_DATE_EPOCH=x virga_run 2 build .
    fails 'SOURCE_DATE_EPOCH "x" is not a number'
}

@test "Debian, in two stages: the same digests" {
    debian
    cat >Dockerfile <<'EOF'
FROM debian AS tool
RUN echo '#!/bin/sh' >/usr/local/bin/tool && chmod 755 /usr/local/bin/tool && groupadd -g 777 grp && useradd -m -u 777 -g 777 usr
RUN dpkg-reconfigure -f noninteractive base-files 2>/dev/null; ldconfig; rm -f /var/cache/ldconfig/aux-cache /var/log/*.log
FROM debian
COPY --from=tool /usr/local /usr/local
COPY --from=tool /etc/passwd /etc/group /etc/
RUN install -d -o 777 -g 777 /home/usr && tool
EOF
    virga build -q --no-cache -t rep-debian1 --timestamp 1700000000 . >id1
    sleep 1.1
    virga build -q --no-cache -t rep-debian2 --timestamp 1700000000 . >id2
    [ "$(cat id1)" = "$(cat id2)" ]
    virga delete rep-debian1 rep-debian2
}
