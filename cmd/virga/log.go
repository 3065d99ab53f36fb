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
	attrs   string
	group   string
}

func newLineHandler(w io.Writer, level slog.Level, festoon bool) *lineHandler {
	return &lineHandler{mu: new(sync.Mutex), w: w, level: level, festoon: festoon}
}

func (h *lineHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	if h.festoon {
		fmt.Fprintf(&b, "%s %d ", r.Time.Format(time.RFC3339), os.Getpid())
	}
	switch {
	case r.Level >= slog.LevelError:
		b.WriteString("virga: error: ")
	case r.Level >= slog.LevelWarn:
		b.WriteString("virga: warning: ")
	case r.Level < slog.LevelInfo:
		b.WriteString("virga: debug: ")
	}
	b.WriteString(r.Message)
	b.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		appendAttr(&b, h.group, a)
		return true
	})
	b.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.w, b.String())
	return err
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

// openLog points env.log at standard error and, if one is named, the log file.
func (env *environment) openLog() error {
	level := logLevel(env.globals.verbosity)
	festoon := env.getenv("CH_LOG_FESTOON") != ""
	console := newLineHandler(env.stderr, level, festoon)
	env.log = slog.New(console)
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
	env.log = slog.New(teeHandler{console, newLineHandler(f, level, true)})
	return nil
}

func (env *environment) closeLog() {
	if env.logFile == nil {
		return
	}
	if err := env.logFile.Close(); err != nil {
		fmt.Fprintf(env.stderr, "virga: warning: close log file: %v\n", err)
	}
	env.logFile = nil
}
