package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"virga/build"
	"virga/parser"
	"virga/progress"
)

// maxParserErrors bounds how many errors of one Dockerfile are shown.
const maxParserErrors = 10

// failure is an error as it is shown: what is wrong, where, and what to do.
type failure struct {
	text    string
	file    string
	line    int
	excerpt string // of the Dockerfile
	output  string // the last lines that the command printed
	status  int    // of the command
	state   string // the stage before it, for run --state
	hint    string
}

// report prints err on standard error: what is wrong on a line that starts
// "virga: error:", the place in the Dockerfile if there is one, and advice on
// lines that start "hint:".
func (env *environment) report(ctx context.Context, err error) {
	var status *statusError
	if err == nil || errors.As(err, &status) && status.err == nil {
		return
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	var list parser.ErrorList
	if errors.As(err, &list) && len(list) > 0 {
		for i, e := range list {
			if i == maxParserErrors {
				env.tell(failure{text: fmt.Sprintf("%s: %d more errors", e.Name, len(list)-i), file: e.Name})
				return
			}
			env.tell(parserFailure(e, e.Error()))
		}
		return
	}
	env.tell(env.failureOf(err))
}

func parserFailure(e *parser.Error, text string) failure {
	f := failure{text: text, file: e.Name, line: e.Pos.Line, hint: e.Hint}
	if e.SourceLine != "" {
		f.excerpt = e.Snippet()
	}
	return f
}

// failureOf collects what is known about err.
func (env *environment) failureOf(err error) failure {
	var one *parser.Error
	if errors.As(err, &one) {
		f := parserFailure(one, err.Error())
		f.hint = hintFor(err)
		return f
	}
	f := failure{text: err.Error()}
	var in *build.InstructionError
	if errors.As(err, &in) {
		f.file, f.line, f.excerpt = in.File, in.In.Pos().Line, parser.Excerpt(in.In, 2)
	}
	output := ""
	if env.show != nil {
		output = env.show.last
	}
	var run *build.RunError
	if errors.As(err, &run) {
		f.status = run.Status.Exit()
		if env.show != nil && env.show.repeats() {
			f.output = lastLines(output, 10)
		}
		f.hint = env.runAdvice(run, output)
	}
	if f.hint == "" {
		f.hint = hintFor(err)
	}
	var kept *build.KeptError
	if errors.As(err, &kept) {
		f.state = kept.State
		f.hint = joinLines(f.hint, "to look around in the state before it: virga "+env.storageOption()+"run --state "+kept.State)
	}
	return f
}

// repeats reports whether the end of a failed command's output has to be shown
// with the error: not if it is what was printed last anyway.
func (d *display) repeats() bool { return d.json || d.plain && len(d.stages) > 1 }

// storageOption is how this storage directory is named in advice.
func (env *environment) storageOption() string {
	if env.globals.storage == "" {
		return ""
	}
	return "--storage " + shellQuote(env.abs(env.globals.storage)) + " "
}

// shellQuote makes s one word of a shell.
func shellQuote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-:@%+,=") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// tell shows a failure.
func (env *environment) tell(f failure) {
	if env.show != nil && env.show.json {
		env.show.sinks.Event(progress.Event{
			Kind: progress.Failure, Text: f.text, File: f.file, Line: f.line, Output: f.output, Status: f.status, State: f.state, Hint: f.hint,
		})
		return
	}
	env.log.Error(f.text)
	env.also(f.excerpt)
	if f.output != "" {
		env.also("the command's last lines:")
		env.also(indent(f.output, "    | "))
	}
	env.hint(f.hint)
}

// also prints lines that belong to an error, here and in the log file.
func (env *environment) also(text string) {
	if text == "" {
		return
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		fmt.Fprintln(env.stderr, line)
		if env.fileLog != nil {
			env.fileLog.Info(line)
		}
	}
}

// hint prints advice, a line for each line of s.
func (env *environment) hint(s string) {
	env.also(indent(s, "hint: "))
}

func indent(s, with string) string {
	if s == "" {
		return ""
	}
	return with + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n"+with)
}

func joinLines(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "\n" + b
}

// lastLines are the last n lines of what a command printed, made fit to show.
func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	lines = lines[max(0, len(lines)-n):]
	for i, l := range lines {
		lines[i] = progress.Shown(l)
	}
	return strings.Join(lines, "\n")
}

// hintFor is the advice for err: what the error itself knows, else what is
// known about its cause.
func hintFor(err error) string {
	var own interface{ Hint() string }
	if errors.As(err, &own) {
		if h := own.Hint(); h != "" {
			return h
		}
	}
	var one *parser.Error
	if errors.As(err, &one) {
		return one.Hint
	}
	for _, h := range causes {
		if errors.Is(err, h.cause) {
			return h.advice
		}
	}
	return ""
}
