# The command line itself: what every command has in common.
load common
setup() { common_setup; }

@test "no command is wrong usage" {
    virga_run 2
    fails "no command given"
    hints "'virga --help'"
}

@test "an unknown command: status 2 and the nearest one" {
    virga_run 2 biuld .
    fails 'unknown command "biuld"'
    hints 'did you mean "build"?'
}

@test "an unknown option: status 2 and the nearest one" {
    virga_run 2 build . --tga app
    fails 'unknown option --tga for build'
    hints 'did you mean --tag?'
}

@test "an option without its value" {
    virga_run 2 build . -t
    fails 'option -t needs a value'
}

@test "a bad image reference is wrong usage" {
    virga_run 2 pull 'Nope:tag:tag'
    fails 'invalid image reference "Nope:tag:tag"'
    hints 'HOST'
}

@test "help is a result: standard output, status 0" {
    virga_run 0 --help
    prints_like '*Commands:*build*pull*run*'
    virga_run 0 build --help
    prints_like 'Build an image*--tag TAG*'
    virga_run 0 help run
    prints_like '*Usage: virga run*'
}

@test "version" {
    virga_run 0 --version
    prints_like 'virga [0-9a-z]*'
    local long=$output
    virga_run 0 version
    prints "$long"
}

@test "options stand anywhere" {
    virga_run 0 storage-path --storage "$PWD/a"
    prints "$PWD/a"
    virga_run 0 --storage="$PWD/a" storage-path
    prints "$PWD/a"
    virga_run 0 -vs"$PWD/a" storage-path
    prints "$PWD/a"
}

@test "the log file gets what standard error gets, with times" {
    virga_run 1 --log-file log inspect nothing
    grep -E '^20[0-9-]+T[^ ]+ [0-9]+ virga: error: ' log
    VIRGA_LOG_FILE=$PWD/log2 virga_run 1 inspect nothing
    grep 'virga: error: ' log2
}

@test "each exit status of the reference is that of a command, and no other is" {
    tiny
    virga_run 0 list
    virga_run 1 delete nothing
    virga_run 2 list --no-such-option
    virga_run 125 run nothing
    virga_run 126 run tiny /etc/passwd
    virga_run 127 run tiny no-such-program
    virga_run 143 run tiny sh -c 'kill -TERM $$'
    run sed -n '/^## Exit statuses/,/^## Env/s/^| \([0-9][0-9+N]*\) |.*/\1/p' "$VIRGA_TEST_TOP/docs/reference.md"
    [ "$(echo $output)" = '0 1 2 125 126 127 128+N' ] || { echo "$output"; return 1; }
}
