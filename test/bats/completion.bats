# Completion of command lines, in the shells themselves.
load common
setup() {
    common_setup
    for s in bash zsh fish; do command -v $s >/dev/null || missing $s; done
    tiny
    virga tag tiny reg.example.com:5000/me/tool:2
    printf 'FROM tiny AS compile\nFROM tiny AS zebra\nFROM compile\n' >Dockerfile
    mkdir -p sub/deep
    printf 'FROM tiny AS other\n' >sub/my.df
    printf 'FROM tiny AS below\n' >sub/Dockerfile
    touch 'with space.txt'
}
teardown() { terminal_end; }

# shell NAME starts a shell with its completion in a terminal.
shell() {
    local start
    case $1 in
    bash) start='bash --norc --noprofile -i' ;;
    zsh) start='zsh -f -i' ;;
    fish) start='fish --private --no-config -i' ;;
    esac
    $T new-session -d -x 150 -y 40 "env HOME=$BATS_TEST_TMPDIR TERM=xterm PS1='$ ' LANG=C.UTF-8 $start"
    case $1 in
    bash) $T send-keys 'bind "set completion-query-items 0"; bind "set page-completions off"; . <(virga completion bash)' Enter ;;
    zsh) $T send-keys "autoload -U compinit; compinit -u -D; PS1='$ '; . <(virga completion zsh)" Enter ;;
    fish) $T send-keys "function fish_prompt; echo '\$ '; end; virga completion fish | source" Enter ;;
    esac
    $T send-keys 'echo rea""dy' Enter
    screen $'\nready'
}

# typed LINE KEYS... WANT types the line and the keys; then the line is WANT.
typed() {
    local line=$1 want=${*: -1}
    $T send-keys C-u C-l
    $T send-keys -l -- "$line"
    $T send-keys "${@:2:$#-2}"
    screen "$ $want"
}

# everything completes a word of each kind in a shell.
everything() {
    shell "$1"
    typed 'virga und' Tab 'virga undelete'
    typed 'virga build --pars' Tab 'virga build --parse-only'
    typed 'virga --progress js' Tab 'virga --progress json'
    typed 'virga build --force=sec' Tab 'virga build --force=seccomp'
    typed 'virga build --target comp' Tab 'virga build --target compile'
    typed 'virga build --target=comp' Tab 'virga build --target=compile'
    typed 'virga build -f sub/my.df . --target o' Tab 'virga build -f sub/my.df . --target other'
    typed 'virga run ti' Tab 'virga run tiny'
    typed 'virga inspect reg' Tab 'virga inspect reg.example.com:5000/me/tool:2'
    typed 'virga inspect reg.example.com:5' Tab 'virga inspect reg.example.com:5000/me/tool:2'
    typed 'virga build --file=sub/m' Tab 'virga build --file=sub/my.df'
    typed 'virga push --image sub/d' Tab 'virga push --image sub/deep/'
    typed 'virga load -i with' Tab 'virga load -i with\ space.txt'
    # Two that fit are both shown.
    $T send-keys C-u C-l
    $T send-keys -l 'virga build --target '
    $T send-keys Tab Tab
    screen compile zebra
}

@test "bash: commands, options, values, stages, images, files" { everything bash; }

@test "zsh: commands, options, values, stages, images, files" { everything zsh; }

@test "fish: commands, options, values, stages, images, files" { everything fish; }

# fits WORD... are the words that fit at the end of a command line.
fits() { virga __complete "$@" | sed 1d | cut -f 1 | paste -sd ' '; }

# kind WORD... is whether files fit as well.
kind() { virga __complete "$@" | sed -n 1p; }

@test "what fits where" {
    [ "$(fits build --target '')" = 'compile zebra' ]
    [ "$(fits build sub --target '')" = below ]
    [ "$(fits build -f my.df sub --target '')" = other ]
    [ "$(fits build -fsub/my.df --target '')" = other ]
    [ "$(fits completion '')" = 'bash zsh fish' ]
    [[ " $(fits gestalt '') " == *' overlay '* ]]
    [[ " $(fits '') " == *' build '*' image-inspect '*' help '* && " $(fits '') " != *__complete* ]]
    [ "$(fits delete tiny '')" = 'reg.example.com:5000/me/tool:2 tiny:latest' ]
    [ "$(kind pull x '')" = directories ]
    [ "$(kind import '')" = files ]
    [ "$(kind import x '')" = words ]
    [ "$(kind run tiny ls -)" = files ]
    [[ " $(fits run -) " == *' --bind '*' --storage '* ]]
    [[ " $(fits run tiny -) " != *' --bind '* ]]
    [ "$(fits list -s "$PWD/none" '')" = '' ]
    [ ! -e none ]
    virga_run 0 delete tiny
    virga_run 0 __complete --nonsense biuld --tag x
    [ -z "$stderr" ]
}

@test "a Dockerfile that is wrong, a pipe, or too large completes nothing" {
    for make in 'printf "FROM\n"' 'head -c 20M /dev/zero' 'printf "FROM tiny AS \"\$(touch evil)\"\n"'; do
        eval "$make" >Dockerfile
        [ "$(fits build --target '')" = '' ]
    done
    rm Dockerfile
    mkfifo Dockerfile
    [ "$(timeout 5 virga __complete build --target '')" = words ]
}

@test "completion: an unknown shell" {
    virga_run 2 completion tcsh
    fails 'no shell "tcsh"'
}
