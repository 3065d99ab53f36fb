package main

import (
	"context"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"
)

func completionCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a completion script for a shell",
		ArgsUsage: "bash|zsh|fish",
		Description: `For the session: . <(virga completion bash), . <(virga completion zsh), or
virga completion fish | source. "make install" installs all three.`,
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, 1, "bash, zsh or fish"); err != nil {
				return err
			}
			return runCompletion(c.Context, env, c.Args().First())
		},
	}
}

func runCompletion(_ context.Context, env *environment, shell string) error {
	script, ok := map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[shell]
	if !ok {
		return &usageError{msg: fmt.Sprintf("completion: no shell %q", shell), hint: "there are bash, zsh and fish"}
	}
	_, err := io.WriteString(env.stdout, script)
	return err
}

// The scripts ask the hidden command (complete.go) what fits, and leave to the
// shell how it is chosen from, and the names of files.

// bashCompletion: bash cuts words at : and =, and completes what follows the
// last of them, so the line is split here and the front taken off again.
const bashCompletion = `# bash completion for virga

_virga() {
    local line=${COMP_LINE:0:COMP_POINT} words kind word cur front
    # shellcheck disable=SC2162 # backslashes are bash's own here
    read -a words <<<"$line"
    [[ $line != *[[:blank:]] ]] || words+=("")
    cur=${words[${#words[@]} - 1]}
    front=${cur%"${cur##*[:=]}"}
    COMPREPLY=()
    {
        read -r kind
        while IFS=$'\t' read -r word _; do
            [[ $word != "$cur"* ]] || COMPREPLY+=("${word#"$front"}")
        done
    } < <(virga __complete "${words[@]:1}" 2>/dev/null)
    case $kind in
    files) kind=-f ;;
    directories) kind=-d ;;
    *) return ;;
    esac
    while IFS= read -r word; do
        COMPREPLY+=("$word")
        compopt -o filenames
    done < <(compgen $kind -- "${cur##*[:=]}")
}
complete -F _virga virga
`

// zshCompletion: _describe takes WORD:MEANING, with a backslash before the
// colons of the word.
const zshCompletion = `#compdef virga

_virga() {
    local -a found
    local kind
    found=("${(@f)$(virga __complete "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    kind=$found[1]
    shift found
    found=("${(@)found//:/\\:}")
    found=("${(@)found/$'\t'/:}")
    (( ! $#found )) || _describe word found
    [[ $PREFIX != --*=* ]] || compset -P '*='
    case $kind in
    files) _files ;;
    directories) _files -/ ;;
    esac
}

if [[ $funcstack[1] == _virga ]]; then
    _virga "$@"
else
    compdef _virga virga
fi
`

const fishCompletion = `# fish completion for virga

function __virga_complete
    set -l words (commandline -opc)
    set -l cur (commandline -ct)
    set -l found (virga __complete $words[2..-1] "$cur" 2>/dev/null)
    printf '%s\n' $found[2..-1]
    set -l front (string match -r -- '^--[^=]*=' "$cur"; or echo)
    set -l file (string replace -r -- '^--[^=]*=' '' "$cur")
    switch "$found[1]"
        case files
            printf '%s\n' $front(__fish_complete_path "$file")
        case directories
            printf '%s\n' $front(__fish_complete_directories "$file")
    end
end

complete -c virga -f -a '(__virga_complete)'
`
