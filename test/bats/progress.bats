# What the user sees of long work: live lines, plain lines, JSON, log files,
# and the end of a build that fails.
load common
setup() {
    common_setup
    tiny
}
teardown() { terminal_end; }

# gated is a Dockerfile whose RUN waits for the file go in the context's mount.
gated() {
    dockerfile <<'END'
FROM tiny AS base
RUN echo first; echo "second 漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字"; \
    while ! [ -e /gate/go ]; do sleep 0.1; done; echo third
COPY Dockerfile /
END
    mkdir -p gate
}

@test "a terminal: running steps with time and last lines, then a line each" {
    gated
    terminal 60 20 "virga build -t app -b $PWD/gate:/gate ."
    screen '│ first' '│ second 漢字' '1 done, 1 running'
    [[ $screen == *'base   2. RUN echo first'*[0-9]s* ]]
    touch gate/go
    screen 'ended=0'
    [[ $screen != *third* && $screen != *running* && $screen != *│* ]]
    [[ $screen == *'base   2. RUN echo first'*…*[0-9]s*'base   4. COPY Dockerfile /'*[0-9]s*'grown in'* ]]
    $T send-keys "clear; virga build -t app -b $PWD/gate:/gate .; echo again=\$?" Enter
    screen 'again=0'
    [[ $screen == *'base   2* RUN echo first'*cached* ]]
}

@test "a narrow terminal, and one that is resized" {
    gated
    terminal 20 10 "virga build -t app -b $PWD/gate:/gate ."
    screen '│ first' '1 done'
    $T resize-window -x 70 -y 20
    screen '│ second 漢字漢字漢字漢字漢字'
    $T resize-window -x 30 -y 20
    sleep 0.5
    touch gate/go
    screen 'ended=0'
    # tmux tells the new size a moment after it has wrapped the lines, so older
    # ones may stay above; the end is right.
    [[ $screen == *'base   2. RUN'*'base   4. COPY'*'grown in'*'ended=0'* && ${screen##*grown in} != *running* ]]
}

@test "a terminal shows all that a failed command printed, and nothing of others" {
    dockerfile <<<$'FROM tiny\nRUN echo quiet\nRUN seq 1 40; exit 3'
    terminal 60 20 "virga build -t app ."
    screen 'ended=1' 'virga: error: Dockerfile:3: RUN: command failed with exit status 3'
    [ "$(grep -cxE '[0-9]+' <<<"$screen")" -eq 40 ]
    ! grep -qx quiet <<<"$screen"
}

@test "colours only where they fit" {
    dockerfile <<<$'FROM tiny\nRUN echo x'
    colours() { script -qec "$1 virga build --rebuild -t app ." /dev/null | tr -d '\r' | grep -c $'\e\\[[0-9;]*m' || true; }
    export TERM=xterm
    [ "$(colours env)" -gt 0 ]
    [ "$(colours 'env NO_COLOR=1')" -eq 0 ]
    [ "$(colours 'env TERM=dumb')" -eq 0 ]
    virga_run 0 build --rebuild -t app .
    [[ $stderr != *$'\e'* ]]
}

@test "a terminal: plain lines if it is dumb, no colours with NO_COLOR" {
    dockerfile <<<$'FROM tiny\nRUN echo printed'
    terminal 60 20 "TERM=dumb virga build -t app ."
    screen 'ended=0'
    [[ $screen == *$'  2. RUN echo printed\nprinted\n'*'grown in'* ]]
    $T send-keys "clear; NO_COLOR=1 virga build --rebuild -t app .; echo again=\$?" Enter
    screen 'again=0'
    [[ $screen == *'2. RUN echo printed'*[0-9]s*'grown in'* && $screen != *$'\nprinted\n'* ]]
    [[ $($T capture-pane -e -p) != *$'\e['* ]]
    $T send-keys "clear; virga build --rebuild -t app .; echo third=\$?" Enter
    screen 'third=0'
    [[ $($T capture-pane -e -p) == *$'\e['* ]]
}

@test "plain lines: number, hit or miss, all output, no control characters" {
    dockerfile <<<$'FROM tiny\nENV A=b\nRUN printf "a\\033[31mb\\n"\nLABEL x="\e[2J"'
    virga_run 0 build -t app .
    prints ""
    local want='  1  FROM tiny
  2  ENV A=b
  3. RUN printf "a\033[31mb\n"
'$'a\e[31mb''
  4  LABEL x=\x1b[2J
'
    # bats drops leading spaces of the first line.
    [[ $stderr == "${want#  }"* || $stderr == "$want"* ]] || { show; false; }
    says 'grown in 4 instructions: app:latest ('
    virga_run 0 build -t app .
    says '  3* RUN printf'
}

@test "--progress json: one object a line, every step ends, the failure is told" {
    dockerfile <<<$'FROM tiny AS a\nRUN echo out; exit 5'
    virga_run 1 build --progress json -t app .
    prints ""
    jq -se 'all(.v == 1 and (.time | fromdateiso8601? // (sub("\\.[0-9]+"; "") | fromdateiso8601)) > 0)' <<<"$stderr" >/dev/null
    [ "$(jq -r .event <<<"$stderr" | tr '\n' ' ')" = "begin step-begin step-start step-end step-begin step-start step-output step-end error end " ]
    jq -se '[.[] | select(.event == "error")][0] | .line == 2 and .status == 5 and .output == "out" and (.state | length) == 12' <<<"$stderr"
    jq -se '.[-1] | .status == 1 and .seconds > 0' <<<"$stderr"
    virga_run 0 build --progress json -t app - <<<'FROM tiny'
    jq -se '[.[] | select(.event == "log")] | length > 0' <<<"$stderr"
}

@test "--progress none says errors only, with the output of what failed" {
    dockerfile <<<$'FROM tiny\nRUN echo fine\nRUN echo bad; exit 1'
    virga_run 1 build --progress none -t app .
    [[ $stderr == 'bad
virga: error: Dockerfile:3'* ]] || { show; false; }
}

@test "a log file gets all lines, whatever is shown" {
    dockerfile <<<$'FROM tiny\nRUN printf "a\\033[31mb\\n"; exit 1'
    virga_run 1 build --progress none --log-file log -t app .
    grep -qE '^20[0-9T:+Z-]+ [0-9]+   2\. RUN' log
    grep -qE ' ab$' log
    grep -q 'virga: error: Dockerfile:2' log
    grep -q '>   2 | RUN' log
    grep -q 'hint: to look around' log
    CH_LOG_FESTOON=1 virga_run 1 build -t app .
    grep -qE '^20[0-9T:+Z-]+ [0-9]+   1  FROM tiny' <<<"$stderr"
}

@test "a build that fails: place, source, cause, and the state before it" {
    dockerfile <<<$'FROM tiny\nARG V=1\nENV E=2\nWORKDIR /d\nRUN echo half >file; \\\n  echo "sh: No space left on device"; exit 9\nCMD x'
    virga_run 1 build -t app .
    fails 'Dockerfile:5: RUN: command failed with exit status 9'
    [[ $stderr == *'
    4 | WORKDIR /d
>   5 | RUN echo half >file; \
>   6 |   echo "sh: No space left on device"; exit 9
    7 | CMD x
hint: '* ]]
    hints 'free some space'
    local id
    id=$(sed -n 's/^hint: .*run --state //p' <<<"$stderr")
    # The line as it is typed.
    local line
    line=$(sed -n 's/^hint: to look around in the state before it: //p' <<<"$stderr")
    run --separate-stderr bash -c "$line"  <<<'pwd; ls; echo $V $E; id -u; echo x >new; cat new'
    [ "$status" -eq 0 ]
    prints '/d
1 2
0
x'
    says 'this is before: RUN echo half'
    virga_run 0 run --state "$id" ls -d /d
    prints /d
    virga_run 0 shell --state "$id" <<<pwd
    prints /d
    virga_run 125 run --state 0123456789ab
    fails 'state "0123456789ab"'
    virga_run 2 shell --state "$id" tiny
}

@test "a build that fails in two stages at once repeats the last lines" {
    dockerfile <<<$'FROM tiny AS a\nRUN echo why; exit 1\nFROM tiny\nRUN sleep 30\nCOPY --from=a /x /x'
    virga_run 1 build --jobs 2 -t app .
    says '    | why'
    fails 'Dockerfile:2'
}

@test "known causes" {
    cause() {
        dockerfile <<<$'FROM tiny\nRUN '"$1"
        virga_run 1 build "${@:3}" -t app .
        hints "$2"
    }
    cause 'sh -c "kill -9 \$\$"; exit $?' 'out of memory*SIGKILL'
    cause 'sh -c "kill -SEGV \$\$"; exit 139' 'SIGSEGV'
    cause 'nosuchprogram' 'was not found'
    cause 'echo "Could not resolve host: x"; exit 6' http_proxy
    https_proxy=http://p:1 cause 'echo "Could not resolve host: x"; exit 6' 'https_proxy is set'
    cause 'chown 7:7 /bin/sh' 'root is not emulated' --force=none
    cause 'echo "/p: Exec format error"; exit 126' 'architecture'
    cause 'echo "x: No space left on device"; exit 1' 'free some space'
    cause 'echo "x: Disk quota exceeded"; exit 1' 'the disk quota is used up'
    cause 'echo "x: certificate verify failed"; exit 1' 'certificate authority'
    mkdir dir
    cause true 'a directory is mounted on a directory' -b "$PWD/dir:/bin/busybox"
    fails 'Dockerfile:2: RUN: mount "/bin/busybox": what the image has there is of another kind'
    cause true 'a directory is mounted on a directory' -b /etc/passwd:/etc
    cause true 'nothing below a file' -b "$PWD/dir:/bin/busybox/x"
    cause true 'the first path of SRC*has to exist' -b "$PWD/none:/x"
}

@test "--timing draws where the time went, and a browser shows it" {
    dockerfile <<<$'FROM tiny AS a\nRUN echo "<b>&"; sleep 0.2\nFROM tiny\nCOPY --from=a /bin/sh /x'
    virga_run 0 build --timing t.svg -t app .
    grep -q '>3\*\|>4\.' t.svg
    grep -q 'RUN echo &#34;&lt;b&gt;&amp;&#34;' t.svg
    virga_run 0 build --timing t.html -t app .
    grep -q 'class="b hit"' t.html
    virga_run 2 build --timing t.png -t app .
    virga_run 1 build --timing no/t.svg -t app .
    fails --timing
    command -v chromium >/dev/null || missing chromium
    # The text as the browser has it, and a picture that is not empty.
    timeout 120 chromium --headless=new --no-sandbox --disable-gpu --dump-dom "file://$PWD/t.html" 2>/dev/null >dom
    grep -q '</svg>' dom
    timeout 120 chromium --headless=new --no-sandbox --disable-gpu --screenshot="$PWD/t.png" --window-size=1240,500 "file://$PWD/t.html" 2>/dev/null
    [ "$(stat -c %s t.png)" -gt 10000 ]
    # In a narrow window it scrolls, and is not drawn too small to be read.
    sed 's|</body>|<script>document.title = document.querySelector("svg").clientWidth</script>&|' t.html >narrow.html
    timeout 120 chromium --headless=new --no-sandbox --disable-gpu --dump-dom --window-size=500,500 "file://$PWD/narrow.html" 2>/dev/null >dom
    grep -q '<title>900</title>' dom
}
