package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"virga/parser"
)

// maxParserErrors bounds how many errors of one Dockerfile are shown.
const maxParserErrors = 10

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
		env.reportDockerfile(list)
		return
	}
	env.log.Error(err.Error())
	var one *parser.Error
	if errors.As(err, &one) {
		env.snippet(one)
	}
	env.hint(hintFor(err))
}

func (env *environment) reportDockerfile(list parser.ErrorList) {
	for i, e := range list {
		if i == maxParserErrors {
			env.log.Error(fmt.Sprintf("%s: %d more errors", e.Name, len(list)-i))
			return
		}
		env.log.Error(e.Error())
		env.snippet(e)
		env.hint(e.Hint)
	}
}

func (env *environment) snippet(e *parser.Error) {
	if e.SourceLine != "" {
		fmt.Fprintln(env.stderr, e.Snippet())
	}
}

// hint prints advice, a line for each line of s.
func (env *environment) hint(s string) {
	for line := range strings.Lines(s) {
		fmt.Fprintf(env.stderr, "hint: %s\n", strings.TrimSuffix(line, "\n"))
	}
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
