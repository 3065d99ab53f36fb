package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"virga/progress"
)

// debugVerbosity is the verbosity of --debug, and of -vv.
const debugVerbosity = 2

// levelTrace is below slog's Debug: the insides.
const levelTrace = slog.LevelDebug - 4

// logLevel returns the lowest level shown at a verbosity.
func logLevel(verbosity int) slog.Level {
	switch {
	case verbosity <= -2:
		return slog.LevelError
	case verbosity == -1:
		return slog.LevelWarn
	case verbosity == 0:
		return slog.LevelInfo
	case verbosity == 1:
		return slog.LevelDebug
	default:
		return levelTrace
	}
}

// lineHandler writes a record as one line: "virga: error: MESSAGE key=value".
// Informational records have no "virga: info:", they are the ordinary words of
// the program.
type lineHandler struct {
	mu      *sync.Mutex
	w       io.Writer
	level   slog.Level
	festoon bool // put time and process id before each line
	colour  bool
	// emit takes the record instead of w, without festoon and level; nil: w does.
	emit  func(l slog.Level, text string)
	attrs string
	group string
}

func newLineHandler(w io.Writer, level slog.Level, festoon bool) *lineHandler {
	return &lineHandler{mu: new(sync.Mutex), w: w, level: level, festoon: festoon}
}

func (h *lineHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	b.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		appendAttr(&b, h.group, a)
		return true
	})
	text := progress.CleanLines(b.String())
	if h.emit != nil {
		h.emit(r.Level, text)
		return nil
	}
	prefix := h.prefix(r.Level)
	if h.festoon {
		prefix = fmt.Sprintf("%s %d %s", r.Time.Format(time.RFC3339), os.Getpid(), prefix)
	}
	// What follows a line break is set in, so that no line from outside looks
	// like one of ours.
	text = prefix + strings.ReplaceAll(text, "\n", "\n  ") + "\n"
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.w, text)
	return err
}

// prefix is what a line of a level begins with.
func (h *lineHandler) prefix(l slog.Level) string {
	word, code := "", "1;31"
	switch {
	case l >= slog.LevelError:
		word = "error:"
	case l >= slog.LevelWarn:
		word, code = "warning:", "33"
	case l < slog.LevelInfo:
		word, code = "debug:", "2"
	default:
		return ""
	}
	if h.colour {
		word = "\x1b[" + code + "m" + word + "\x1b[0m"
	}
	return "virga: " + word + " "
}

func (h *lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var b strings.Builder
	b.WriteString(h.attrs)
	for _, a := range attrs {
		appendAttr(&b, h.group, a)
	}
	c := *h
	c.attrs = b.String()
	return &c
}

func (h *lineHandler) WithGroup(name string) slog.Handler {
	c := *h
	c.group += name + "."
	return &c
}

func appendAttr(b *strings.Builder, group string, a slog.Attr) {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		for _, m := range v.Group() {
			appendAttr(b, group+a.Key+".", m)
		}
		return
	}
	s := v.String()
	if s == "" || strings.ContainsAny(s, " \t\n\"") {
		s = strconv.Quote(s)
	}
	b.WriteString(" " + group + a.Key + "=" + s)
}

// teeHandler gives every record to all of its handlers.
type teeHandler []slog.Handler

func (t teeHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return slices.ContainsFunc(t, func(h slog.Handler) bool { return h.Enabled(ctx, l) })
}

func (t teeHandler) Handle(ctx context.Context, r slog.Record) error {
	var first error
	for _, h := range t {
		if h.Enabled(ctx, r.Level) {
			if err := h.Handle(ctx, r.Clone()); err != nil && first == nil {
				first = err
			}
		}
	}
	return first
}

func (t teeHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	out := make(teeHandler, len(t))
	for i, h := range t {
		out[i] = h.WithAttrs(attrs)
	}
	return out
}

func (t teeHandler) WithGroup(name string) slog.Handler {
	out := make(teeHandler, len(t))
	for i, h := range t {
		out[i] = h.WithGroup(name)
	}
	return out
}

// openLog sets up the display, and points env.log at it and, if one is named,
// at the log file. That gets what a display of lines shows, whatever is shown
// on standard error, and what commands print.
func (env *environment) openLog() error {
	level := logLevel(env.globals.verbosity)
	env.show = env.newDisplay()
	console := env.show.logHandler(env, level, env.getenv("CH_LOG_FESTOON") != "")
	env.log = slog.New(console)
	if env.show.plain {
		env.show.sinks = append(env.show.sinks, env.lines(slog.New(console), env.stderr))
	}
	name := env.globals.logFile
	for _, key := range []string{"VIRGA_LOG_FILE", "CH_LOG_FILE"} {
		if name == "" {
			name = env.getenv(key)
		}
	}
	if name == "" {
		return nil
	}
	f, err := os.OpenFile(env.abs(name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return fmt.Errorf("open log file: %w", err)
	}
	env.logFile = f
	file := newLineHandler(f, level, true)
	env.log = slog.New(teeHandler{console, file})
	env.fileLog = slog.New(file)
	env.show.sinks = append(env.show.sinks, env.lines(env.fileLog, nil))
	return nil
}

// lines is a display of lines in a log.
func (env *environment) lines(log *slog.Logger, commands io.Writer) *progress.Lines {
	return &progress.Lines{Line: func(s string) { log.Info(s) }, Detail: func(s string) { log.Debug(s) }, Commands: commands}
}

func (env *environment) closeLog() {
	if env.logFile == nil {
		return
	}
	if err := env.logFile.Close(); err != nil {
		fmt.Fprintf(env.stderr, "virga: warning: close log file: %v\n", err)
	}
	env.logFile, env.fileLog = nil, nil
}
