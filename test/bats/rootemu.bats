# Root emulation: what programs that change users and owners leave behind, in
# the image that others get.
load common
setup() {
    common_setup
    debian
}

# emu makes the image emu, Debian with the programs below; a second time it
# comes from the cache.
emu() {
    mkdir -p emu
    cat >emu/Dockerfile <<'EOF'
FROM debian
RUN apt-get update && apt-get install -y --no-install-recommends sudo gosu openssh-server systemd
EOF
    TIME_LIMIT=900 virga_run 0 build -t emu emu
}

# layers IMAGE pushes an image and lists the files of all its layers but the
# base's: the last MODE, OWNER/GROUP and PATH of each.
layers() {
    local n i
    virga push "$1" "$REGISTRY/$1:1" >/dev/null 2>&1
    n=$(reg "$1/manifests/1" -H 'Accept: application/vnd.oci.image.manifest.v1+json' | jq '.layers | length')
    for ((i = 1; i < n; i++)); do
        reg "$1/blobs/$(layer_digest "$1:1" $i)" | gzip -dc | tar -tv --numeric-owner
    done | awk '{ last[$6] = $1 " " $2 } END { for (p in last) print last[p], p }' >layers
}

# owned MODE OWNER/GROUP PATH demands it of the last layers.
owned() {
    grep -qxF -- "$1 $2 $3" layers && return
    echo "not in the layers: $1 $2 $3; there is: $(grep " $3\$" layers)"
    return 1
}

@test "programs that become another user, copy owners and set them: each file is whose it should be" {
    emu
    dockerfile <<'EOF'
FROM emu
RUN useradd -m -u 4321 bob && su - bob -c 'id -un; id -gn; pwd; touch ~/su' >/su
RUN mkdir -m 777 /srv/w && cd /srv/w && su bob -c 'touch su' && gosu bob touch gosu && runuser -u bob -- touch runuser && \
    setpriv --reuid=bob --regid=bob --init-groups touch setpriv && sudo -u bob touch sudo && sudo -u bob -g mail touch group && \
    gosu 77:88 touch numbers && ! sudo -u bob sudo -n true 2>/dev/null && touch root
RUN install -o bob -g mail -m 2750 /etc/hostname /srv/installed && install -d -o bob /srv/dir
RUN cd /srv && tar -cf t.tar installed dir w/sudo && mkdir x && tar -xpf t.tar -C x && cp -a installed copy && mv copy moved && ln installed hard && rm t.tar
RUN chown -h 5:6 /srv/x/dir && ln -s nowhere /srv/link && chown -h bob:mail /srv/link && mknod -m 640 /srv/null c 1 3 && chown bob /srv/null
RUN ssh-keygen -A && systemctl enable getty@tty2.service && ! systemctl is-enabled getty@tty3.service
RUN stat -c '%n %U:%G %a %F' /srv/moved /srv/link /srv/null /srv/hard >/seen && test "$(stat -c %h /srv/hard)" = 2
EOF
    virga_run 0 build -t owners .
    virga_run 0 run owners -- cat /su /seen
    prints $'bob\nbob\n/home/bob\n/srv/moved bob:mail 2750 regular file\n/srv/link bob:mail 777 symbolic link\n/srv/null bob:root 640 character special file\n/srv/hard bob:mail 2750 regular file'
    layers owners
    owned drwxr-xr-x 4321/4321 home/bob/
    owned -rw-r--r-- 4321/4321 home/bob/su
    for f in w/su w/gosu w/runuser w/setpriv w/sudo x/w/sudo; do
        owned -rw-r--r-- 4321/4321 srv/$f
    done
    owned -rw-r--r-- 4321/8 srv/w/group
    owned -rw-r--r-- 77/88 srv/w/numbers
    owned -rw-r--r-- 0/0 srv/w/root
    owned -rwxr-s--- 4321/8 srv/moved
    owned -rwxr-s--- 4321/8 srv/x/installed
    owned drwxr-xr-x 4321/0 srv/dir/
    owned drwxr-xr-x 5/6 srv/x/dir/
    owned -rw------- 0/0 etc/ssh/ssh_host_ed25519_key
    owned -rw-r----- 0/42 etc/shadow
    owned lrwxrwxrwx 4321/8 srv/link
    grep -q '^crw-r----- 4321/0 ' layers
    owned lrwxrwxrwx 0/0 etc/systemd/system/getty.target.wants/getty@tty2.service
}

@test "what was recorded is there after push and pull, for a later build, for unpack and import" {
    dockerfile <<'EOF'
FROM debian
RUN mkdir -m 2775 /srv/d && chown 33:8 /srv/d && echo x >/srv/d/f && chown 33 /srv/d/f && chmod 4755 /srv/d/f && mknod /srv/d/n b 7 9 && chmod g+s /srv/d
EOF
    virga_run 0 build -t kept .
    virga_run 0 push kept "$REGISTRY/kept:1"
    export VIRGA_STORAGE=$BATS_TEST_TMPDIR/other
    dockerfile <<EOF
FROM $REGISTRY/kept:1
RUN stat -c '%n %U:%G %a %t:%T' /srv/d /srv/d/f /srv/d/n >/seen && touch /srv/d/late && rm /srv/d/n
EOF
    virga_run 0 build -t again .
    virga_run 0 run again -- cat /seen
    prints $'/srv/d www-data:mail 2775 0:0\n/srv/d/f www-data:mail 4755 0:0\n/srv/d/n root:mail 644 7:9'
    layers again
    grep -q '^-rw-r--r-- 0/8 srv/d/late$' layers
    # Out to a directory and back: the attribute says who owned what.
    virga_run 0 unpack -o out again
    [ "$(stat -c %u out/srv/d/f)" = "$(id -u)" ]
    virga_run 0 import out back
    virga_run 0 run --force back -- stat -c '%n %u:%g' /srv/d /srv/d/f /etc/shadow
    prints $'/srv/d 33:8\n/srv/d/f 33:8\n/etc/shadow 0:42'
}

@test "USER by name, number, and both: RUN sees the ids, its files are its own" {
    dockerfile <<'EOF'
FROM debian
RUN useradd -u 1500 -G mail ann && mkdir -m 777 /w && mkdir /w/roots && mkdir /w/team && chgrp news /w/team && chmod 2777 /w/team
USER ann
RUN id >/w/ann && mkdir -p /w/a/b && cp /w/ann /w/a/b/c && ln -s x /w/a/l && touch /w/team/t && sed -i s/x/x/ /w/ann && perl -e 'open F,">/w/perl"'
RUN test "$(stat -c %U /w/ann /w/perl /w/a/b/c | sort -u)" = ann && ! chown root /w/ann 2>/dev/null
USER 77
RUN id >/w/number
USER 77:88
RUN id >/w/pair
USER ann:news
RUN id >/w/names
USER root
RUN id -u >/w/root && stat -c %U /w/ann /w/root >>/w/root
EOF
    virga_run 0 build -t user .
    virga_run 0 run user -- cat /w/ann /w/number /w/pair /w/names /w/root
    prints $'uid=1500(ann) gid=1500(ann) groups=1500(ann),8(mail)\nuid=77 gid=0(root) groups=0(root)\nuid=77 gid=88 groups=88\nuid=1500(ann) gid=9(news) groups=9(news)\n0\nann\nroot'
    layers user
    for f in ann a/b/c perl; do
        owned -rw-r--r-- 1500/1500 w/$f
    done
    owned drwxr-xr-x 1500/1500 w/a/b/
    owned lrwxrwxrwx 1500/1500 w/a/l
    owned -rw-r--r-- 1500/9 w/team/t
    owned -rw-r--r-- 77/0 w/number
    owned -rw-r--r-- 77/88 w/pair
    owned -rw-r--r-- 1500/9 w/names
    owned -rw-r--r-- 0/0 w/root
    owned drwxr-xr-x 0/0 w/roots/
    dockerfile <<<$'FROM debian\nUSER nobodyelse\nRUN true'
    virga_run 1 build -t unknown .
    fails '"nobodyelse"' /etc/passwd
}

@test "--force: consistent tells everyone, plain forgets, none fails and says what would help" {
    local mode seen owner
    dockerfile <<'EOF'
FROM debian
RUN cd /srv && echo >f && chown 5:6 f && perl -e '@s=stat("f"); print "$s[4]:$s[5]\n"' >seen
EOF
    for mode in seccomp,0:0,5/6 consistent,5:6,5/6 plain,0:0,0/0; do
        IFS=, read -r mode seen owner <<<"$mode"
        virga_run 0 build "--force=$mode" -t "force-$mode" .
        says "--force=$mode: emulated root in 1 RUN instructions"
        virga_run 0 run "force-$mode" -- cat /srv/seen
        prints "$seen"
        layers "force-$mode"
        owned -rw-r--r-- "$owner" srv/f
    done
    dockerfile <<<$'FROM debian\nRUN chown 5:6 /etc/hostname'
    virga_run 1 build --force=none -t none .
    fails "Dockerfile:2" "exit status 1"
    hints "root is not emulated (--force=none)"
}

@test "--force-cmd puts arguments after a word" {
    dockerfile <<<$'FROM debian\nRUN echo a && printf "%s\\\\n" b >/said\nRUN ["/bin/echo", "c"]'
    virga_run 0 build --force-cmd 'echo,inserted' --force-cmd '/bin/echo,x\,y' -t inject .
    says "inserted a"
    says "x,y c"
}

@test "--force=fakeroot: Debian's own fakeroot is installed and used" {
    dockerfile <<'EOF'
FROM debian
RUN dpkg --version >/dev/null && touch /srv/g && chown 5:6 /srv/g && stat -c %u:%g /srv/g >/seen
EOF
    TIME_LIMIT=600 virga_run 0 build --force=fakeroot -t fakeroot .
    says "--force=fakeroot: install fakeroot"
    virga_run 0 run fakeroot -- cat /seen
    prints 5:6
}

@test "a kernel or limit that allows less: one line says so, and it is done without" {
    dockerfile <<<$'FROM debian\nRUN touch /srv/f && chown 5:6 /srv/f\nRUN true'
    (
        ulimit -Sx 0 && ulimit -Hx 0
        virga_run 0 build --no-cache -t lie .
        [ "$(grep -c 'root emulation: plain lie: .*file locks' <<<"$stderr")" -eq 1 ]
    )
    layers lie
    owned -rw-r--r-- 0/0 srv/f
    (
        ulimit -Ss 8192 && ulimit -Hs 16384
        virga_run 0 build --no-cache -t recorded .
        says "root emulation: recorded: the hard limit of the stack size"
    )
    layers recorded
    owned -rw-r--r-- 5/6 srv/f
}

@test "when the supervisor is killed, nothing of RUN lives on" {
    dockerfile <<<$'FROM debian\nRUN sleep 4711 & sh -c "trap true TERM HUP; chown 1 /etc/hostname; sleep 4711"'
    virga build -t killed . 2>log 3>&- &
    local outer=$! inner
    wait_for 60 pgrep -u "$(id -u)" -fx 'sleep 4711'
    inner=$(pgrep -P $outer)
    kill -9 "$inner"
    ! wait $outer
    wait_for 20 none_runs 'sleep 4711'
    virga_run 0 list
    [[ $output != *killed* ]]
}

none_runs() { ! pgrep -u "$(id -u)" -fx "$1"; }

@test "chroot, unshare and namespaces inside of RUN" {
    dockerfile <<'EOF'
FROM debian
RUN mkdir -p /c/tmp /c/proc && cp -a /bin /lib /lib64 /sbin /c/ && mkdir /c/usr && cp -a /usr/bin /usr/lib /usr/lib64 /usr/sbin /c/usr/ && \
    chroot /c /bin/sh -c 'echo >/tmp/f && chown 3:4 /tmp/f && ln -s /tmp/f /tmp/l && chown 5 /tmp/l && stat -c %u:%g /tmp/f' >/seen && stat -c %u:%g /c/tmp/f >>/seen && rm -r /c
RUN unshare -m sh -c 'mount -t tmpfs none /mnt && echo >/mnt/f && chown 3:4 /mnt/f && stat -c %u:%g /mnt/f' >>/seen
RUN unshare -Ur sh -c 'id -u' >>/seen
EOF
    virga_run 0 build -t inside .
    virga_run 0 run inside -- cat /seen
    prints $'5:4\n5:4\n3:4\n0'
}

@test "run --force: root, the image's owners, and changes that are kept or forgotten" {
    virga_run 1 run --force debian -- sh -c 'id -u; stat -c %U:%G /etc/shadow; touch /x'
    prints $'0\nroot:shadow'
    says "Read-only file system"
    virga_run 3 run --force -W debian -- sh -c 'useradd -m eve && su eve -c "touch ~/f" && stat -c %U /home/eve/f && exit 3'
    prints eve
    virga_run 0 run --force -W debian -- test ! -e /home/eve
    virga_run 0 run --force -W -u 33 -g 8 debian -- sh -c 'touch /srv/f && stat -c %u:%g /srv/f; id -u'
    prints $'33:8\n33'
    virga_run 0 run debian -- stat -c %u /etc/shadow
    prints "$(id -u)"
    virga_run 0 unpack -o dir debian
    virga_run 0 run --force -w ./dir -- sh -c 'useradd -m eve; chown 0:0 /etc/shadow; mkdir /srv/d; chown 5:6 /srv/d'
    virga_run 0 run --force ./dir -- stat -c '%n %U:%G %u:%g' /home/eve /etc/shadow /srv/d /etc/gshadow
    prints $'/home/eve eve:eve 1000:1000\n/etc/shadow root:root 0:0\n/srv/d games:disk 5:6\n/etc/gshadow root:shadow 0:42'
    virga_run 2 run --force=fakeroot debian -- true
    fails 'option --force: "fakeroot" is not one of'
    virga_run 2 run --force -w debian -- true
    fails "images in storage never change"
}

@test "run --force: signals reach the program, which is process 1" {
    virga run --force debian -- sleep 4712 3>&- &
    local pid=$! status=0
    wait_for 60 pgrep -u "$(id -u)" -fx 'sleep 4712'
    kill -TERM $pid
    wait $pid || status=$?
    [ $status -eq 143 ]
    none_runs 'sleep 4712'
}
