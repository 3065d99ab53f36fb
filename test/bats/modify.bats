# modify, gestalt, config, doctor, and the site's file.
load common
setup() { common_setup; }

@test "modify: commands, a script, standard input, an interactive shell" {
    tiny
    virga_run 0 modify -c 'echo one >/one' -c 'cat /one /one >/two' tiny new
    virga_run 0 run new cat /two
    prints $'one\none'
    virga_run 1 run tiny cat /two
    printf '#!/bin/cat\ntext\n' >script
    virga_run 0 modify tiny new2 script
    says text
    virga_run 0 modify tiny new3 <<<'echo $0 >/three'
    virga_run 0 run new3 cat /three
    prints /bin/sh
    virga_run 0 modify -i tiny new4 <<<'echo four >/four; exit 0'
    virga_run 0 run new4 cat /four
    prints four
    virga_run 1 modify -i tiny new5 <<<'exit 3'
    fails 'status 3'
    virga_run 1 run new5 true || virga_run 125 run new5 true
    virga_run 2 modify -c true tiny tiny
    virga_run 1 modify -c true nope new6
    virga_run 1 modify tiny new6 no-script
}

@test "gestalt" {
    virga_run 0 gestalt bucache
    virga_run 0 gestalt userns
    virga_run 0 gestalt storage-path
    prints "$VIRGA_STORAGE"
    virga_run 2 gestalt bucahce
    hints bucache
}

@test "config says where settings come from; the site's file" {
    HTTPS_PROXY=http://me:secret@proxy:1 VIRGA_CACHE_MAX=20GB virga_run 0 config
    [[ $output == *virga_cache_max*20GB*'$VIRGA_CACHE_MAX'* ]]
    [[ $output == *storage*"$VIRGA_STORAGE"*'$VIRGA_STORAGE'* && $output != *secret* ]]
    mkdir data
    echo hello >data/f
    export VIRGA_SITE_FILE=$PWD/site
    printf '# ours\nstorage = %s/$USER/v\nbind = %s:/site:ro\nbind = /nowhere/at/all:/n\n' "$PWD" "$PWD/data" >site
    (unset VIRGA_STORAGE; virga_run 0 storage-path; prints "$PWD/$USER/v")
    tiny
    virga_run 0 run tiny cat /site/f
    prints hello
    virga_run 0 build -t app - <<<$'FROM tiny\nRUN cat /site/f'
    echo 'storrage = /x' >site
    virga_run 1 config
    fails 'line 1: unknown key "storrage"'
}

@test "doctor: a line for each, the status says whether something is bad" {
    run --separate-stderr virga doctor
    [[ $output == *kernel:*'root emulation'*'file system:'*'free space:'*'quota:'*'overlay mounts in storage:'*'user attributes in storage:'* ]]
    ! grep -vE '^(ok   |note |bad  )[a-z]' <<<"$output"
    tiny
    run --separate-stderr virga doctor
    [[ $output == *'storage: is consistent'* ]]
    rm -r "$VIRGA_STORAGE"/trees/*
    virga_run 1 doctor
    [[ $output == *'bad  storage:'* ]]
    echo 999 >"$VIRGA_STORAGE/version"
    virga_run 1 doctor
    [ "$(stat -fc %T /dev/shm)" = tmpfs ] || missing 'a tmpfs on /dev/shm'
    run --separate-stderr virga doctor -s "/dev/shm/virga-test-$$"
    [[ $output == *'note file system: tmpfs; images use memory'* ]]
    [ ! -e "/dev/shm/virga-test-$$" ]
    mkdir empty
    virga_run 0 doctor -s empty
    [ -z "$(ls -A empty)" ]
    echo precious >empty/file
    virga_run 1 doctor -s empty
    [[ $output == *'bad  storage: '*'not a virga storage directory'* ]]
}
