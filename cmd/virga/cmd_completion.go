package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

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
			return runCompletion(c.Context, env, c.App, c.Args().First())
		},
	}
}

func runCompletion(_ context.Context, env *environment, app *cli.App, shell string) error {
	var b strings.Builder
	switch shell {
	case "bash":
		bashCompletion(&b, app)
	case "zsh":
		zshCompletion(&b, app)
	case "fish":
		fishCompletion(&b, app)
	default:
		return &usageError{msg: fmt.Sprintf("completion: no shell %q", shell), hint: "there are bash, zsh and fish"}
	}
	_, err := io.WriteString(env.stdout, b.String())
	return err
}

// takesImages reports whether arguments of the command are images in storage.
func takesImages(c *cli.Command) bool {
	return slices.ContainsFunc(strings.FieldsFunc(c.ArgsUsage, func(r rune) bool { return r < 'A' || r > 'Z' }), func(w string) bool {
		return w == "REF" || w == "IMAGE" || w == "SRC" || w == "GLOB"
	})
}

// spelled are the options as they are typed; with only, those of one arity.
func spelled(flags []cli.Flag, only ...arity) []string {
	var out []string
	for _, f := range flags {
		if a, _ := flagArity(f); len(only) > 0 && !slices.Contains(only, a) {
			continue
		}
		for _, n := range f.Names() {
			if len(n) == 1 {
				out = append(out, "-"+n)
			} else {
				out = append(out, "--"+n)
			}
		}
	}
	return out
}

func bashCompletion(w io.Writer, app *cli.App) {
	var names []string
	for _, c := range app.Commands {
		names = append(names, c.Names()...)
	}
	fmt.Fprintf(w, `# bash completion for virga

_virga() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} cmd= i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        %s)
            cmd=${COMP_WORDS[i]}
            break
            ;;
        esac
    done
    local values=" %s " options="%s" images=
    case $cmd in
`, strings.Join(names, "|"), strings.Join(spelled(app.Flags, needsValue), " "), strings.Join(spelled(app.Flags), " "))
	for _, c := range app.Commands {
		fmt.Fprintf(w, "    %s)\n        values+=\"%s \" options+=\" %s\"", strings.Join(c.Names(), "|"),
			strings.Join(spelled(c.Flags, needsValue), " "), strings.Join(spelled(c.Flags), " "))
		if takesImages(c) {
			fmt.Fprint(w, " images=yes")
		}
		fmt.Fprint(w, "\n        ;;\n")
	}
	fmt.Fprintf(w, `    esac
    if [[ $values == *" $prev "* ]]; then
        COMPREPLY=($(compgen -f -- "$cur"))
    elif [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$cur"))
    elif [[ -z $cmd ]]; then
        COMPREPLY=($(compgen -W "%s" -- "$cur"))
    elif [[ $images ]]; then
        COMPREPLY=($(compgen -W "$(virga list 2>/dev/null)" -- "$cur"))
        declare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions "$cur"
    else
        COMPREPLY=($(compgen -f -- "$cur"))
    fi
}
complete -o filenames -F _virga virga
`, strings.Join(names, " "))
}

// zshQuote makes text safe between single quotes of zsh, and in a description
// of _arguments, where brackets and colons are special.
func zshQuote(s string) string {
	return strings.NewReplacer("'", `'\''`, "[", `\[`, "]", `\]`, ":", `\:`).Replace(s)
}

func zshFlags(w io.Writer, flags []cli.Flag, indent string) {
	for _, f := range flags {
		a, _ := flagArity(f)
		placeholder, text := flagUsage(f)
		for _, name := range spelled([]cli.Flag{f}) {
			switch {
			case a == needsValue && len(name) == 2:
				fmt.Fprintf(w, "%s'*%s+[%s]:%s:_files' \\\n", indent, name, zshQuote(text), zshQuote(placeholder))
			case a == needsValue:
				fmt.Fprintf(w, "%s'*%s=[%s]:%s:_files' \\\n", indent, name, zshQuote(text), zshQuote(placeholder))
			case a == optionalValue:
				fmt.Fprintf(w, "%s'*%s=-[%s]::%s:' \\\n", indent, name, zshQuote(text), zshQuote(placeholder))
			default:
				fmt.Fprintf(w, "%s'*%s[%s]' \\\n", indent, name, zshQuote(text))
			}
		}
	}
}

func zshCompletion(w io.Writer, app *cli.App) {
	fmt.Fprint(w, "#compdef virga\n\n_virga_images() {\n    local -a images\n    images=(${(f)\"$(virga list 2>/dev/null)\"})\n    compadd -a images\n}\n\n")
	fmt.Fprint(w, "_virga_commands() {\n    local -a commands\n    commands=(\n")
	for _, c := range app.Commands {
		for _, n := range c.Names() {
			fmt.Fprintf(w, "        '%s:%s'\n", n, strings.ReplaceAll(c.Usage, "'", `'\''`))
		}
	}
	fmt.Fprint(w, "    )\n    _describe command commands\n}\n\n_virga() {\n    local curcontext=$curcontext state line\n    _arguments -C \\\n")
	zshFlags(w, app.Flags, "        ")
	fmt.Fprint(w, "        '1:command:_virga_commands' '*::argument:->rest'\n    [[ $state == rest ]] || return\n    case $line[1] in\n")
	for _, c := range app.Commands {
		fmt.Fprintf(w, "    %s)\n        _arguments \\\n", strings.Join(c.Names(), "|"))
		zshFlags(w, c.Flags, "            ")
		zshFlags(w, app.Flags, "            ")
		what := "_files"
		if takesImages(c) {
			what = "_virga_images"
		}
		fmt.Fprintf(w, "            '*:argument:%s'\n        ;;\n", what)
	}
	fmt.Fprint(w, "    esac\n}\n\nif [[ $funcstack[1] == _virga ]]; then\n    _virga \"$@\"\nelse\n    compdef _virga virga\nfi\n")
}

func fishFlags(w io.Writer, flags []cli.Flag, condition string) {
	for _, f := range flags {
		fmt.Fprintf(w, "complete -c virga%s", condition)
		for _, n := range f.Names() {
			if len(n) == 1 {
				fmt.Fprintf(w, " -s %s", n)
			} else {
				fmt.Fprintf(w, " -l %s", n)
			}
		}
		if a, _ := flagArity(f); a == needsValue {
			fmt.Fprint(w, " -r")
		}
		_, text := flagUsage(f)
		fmt.Fprintf(w, " -d '%s'\n", fishQuote(text))
	}
}

// fishQuote makes text safe between single quotes of fish.
func fishQuote(s string) string { return strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) }

func fishCompletion(w io.Writer, app *cli.App) {
	fmt.Fprint(w, "# fish completion for virga\n\n")
	fishFlags(w, app.Flags, "")
	for _, c := range app.Commands {
		for _, n := range c.Names() {
			fmt.Fprintf(w, "complete -c virga -n __fish_use_subcommand -f -a %s -d '%s'\n", n, fishQuote(c.Usage))
		}
	}
	for _, c := range app.Commands {
		seen := " -n '__fish_seen_subcommand_from " + strings.Join(c.Names(), " ") + "'"
		fishFlags(w, c.Flags, seen)
		if takesImages(c) {
			fmt.Fprintf(w, "complete -c virga%s -f -a '(virga list 2>/dev/null)'\n", seen)
		}
	}
}
