package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"virga/build"
	"virga/progress"
)

// display is how long work is shown: it makes events of what builds and
// transfers report. It implements build.Reporter and registry.Progress.
type display struct {
	sinks  progress.Sinks
	screen *progress.Screen // nil: no live lines
	json   bool             // standard error is a stream of JSON objects
	plain  bool             // lines; what commands print goes by
	colour bool

	mu     sync.Mutex
	steps  map[int]*shownStep
	stages map[int]bool
	last   string // what the failed step printed at the end
	blobs  map[digest.Digest]*shownBlob
	begun  time.Time       // zero: no work has been announced
	trace  *progress.Trace // nil: not wanted
}

type shownStep struct {
	begun time.Time
	tail  tailWriter
}

type shownBlob struct {
	start      time.Time
	done, size int64
}

// lastOutput is how much of a command's output is kept for the error message.
const lastOutput = 16 << 10

// newDisplay chooses the sinks by --progress, verbosity and the terminal.
func (env *environment) newDisplay() *display {
	d := &display{steps: map[int]*shownStep{}, stages: map[int]bool{}, blobs: map[digest.Digest]*shownBlob{}, colour: env.coloured()}
	switch how := env.progressMode(); how {
	case "json":
		d.json = true
		d.sinks = append(d.sinks, progress.NewJSON(env.stderr))
	case "tty":
		d.screen = progress.NewScreen(env.stderr, progress.ScreenOptions{Size: env.terminalSize, Colour: d.colour, Unicode: env.unicode()})
		d.sinks = append(d.sinks, d.screen)
	case "plain":
		d.plain = true
	default:
		d.sinks = append(d.sinks, &progress.Silent{W: env.stderr})
	}
	return d
}

// progressMode is --progress with auto resolved: live lines on a terminal that
// can show them, unless the verbosity asks for more lines or for silence.
func (env *environment) progressMode() string {
	how, v := env.globals.progress, env.globals.verbosity
	switch {
	case how != "auto" && how != "plain" && how != "":
		return how
	case v < 0:
		return "none"
	case how == "auto" && v == 0 && env.getenv("TERM") != "dumb" && isTerminal(env.stderr):
		return "tty"
	}
	return "plain"
}

// coloured reports whether standard error shows colours and its reader wants
// them (no-color.org).
func (env *environment) coloured() bool {
	return env.getenv("NO_COLOR") == "" && env.getenv("TERM") != "dumb" && env.getenv("TERM") != "" && isTerminal(env.stderr)
}

// unicode reports whether the locale has more than ASCII (locale(7)).
func (env *environment) unicode() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := env.getenv(name); v != "" {
			v = strings.ToLower(strings.ReplaceAll(v, "-", ""))
			return strings.Contains(v, "utf8")
		}
	}
	return false
}

// terminalSize is that of standard error, 0 if it is no terminal.
func (env *environment) terminalSize() (cols, rows int) {
	if f, ok := env.stderr.(*os.File); ok {
		cols, rows, _ = term.GetSize(int(f.Fd()))
	}
	return cols, rows
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// begin announces work; text is what is done. With trace, what happens from now
// on is remembered to be drawn.
func (d *display) begin(text string, trace bool) {
	d.begun = time.Now()
	if trace {
		d.trace = progress.NewTrace()
		d.sinks = append(d.sinks, d.trace)
	}
	d.sinks.Event(progress.Event{Kind: progress.Begin, Tool: "virga " + programVersion(), Text: text})
}

// end tells how the work ended and takes the live lines away.
func (d *display) end(code int) {
	if !d.begun.IsZero() {
		d.sinks.Event(progress.Event{Kind: progress.End, Status: code, Seconds: time.Since(d.begun).Seconds(), CPU: cpuTime().Seconds()})
	}
	d.clear()
}

// clear takes the live lines away.
func (d *display) clear() {
	if d.screen != nil {
		d.screen.Close()
	}
}

// pause takes the live lines away for a question.
func (d *display) pause() (resume func()) {
	if d == nil || d.screen == nil {
		return func() {}
	}
	d.screen.Pause()
	return d.screen.Resume
}

// cpuTime is what this process and its children that have ended have used.
func cpuTime() time.Duration {
	var sum time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if unix.Getrusage(who, &u) == nil {
			sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	return sum
}

func stepEvent(kind progress.Kind, st build.Step) progress.Event {
	e := progress.Event{Kind: kind, ID: st.ID, Stage: st.Stage, Name: st.Name, Line: st.Line, Text: st.Text, Time: time.Now()}
	if kind != progress.StepBegin {
		e.Cache = map[byte]string{'*': progress.Hit, '.': progress.Miss}[st.Flag]
		if e.Cache == "" {
			e.Cache = progress.None
		}
	}
	return e
}

// Begun passes on that an instruction is looked at.
func (d *display) Begun(st build.Step) {
	e := stepEvent(progress.StepBegin, st)
	d.mu.Lock()
	d.steps[st.ID] = &shownStep{begun: e.Time, tail: tailWriter{limit: lastOutput}}
	d.stages[st.Stage] = true
	d.mu.Unlock()
	d.sinks.Event(e)
}

// Started passes on what becomes of it.
func (d *display) Started(st build.Step) { d.sinks.Event(stepEvent(progress.StepStart, st)) }

// Done passes on how it ended.
func (d *display) Done(st build.Step, err error) {
	e := stepEvent(progress.StepEnd, st)
	d.mu.Lock()
	s := d.steps[st.ID]
	delete(d.steps, st.ID)
	d.mu.Unlock()
	if s == nil {
		return
	}
	e.Seconds = e.Time.Sub(s.begun).Seconds()
	var elsewhere *build.InstructionError
	switch {
	case err == nil:
	case errors.Is(err, context.Canceled), errors.As(err, &elsewhere):
		e.Error = progress.Canceled
	default:
		e.Error = err.Error()
		d.mu.Lock()
		d.last = s.tail.String()
		d.mu.Unlock()
	}
	d.sinks.Event(e)
}

// output is where a step's commands print to.
func (d *display) output(st build.Step) io.Writer {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.sinks.Output(st.ID)
	if s := d.steps[st.ID]; s != nil {
		return io.MultiWriter(w, &s.tail)
	}
	return w
}

// Start announces a blob.
func (d *display) Start(blob digest.Digest, size int64) {
	now := time.Now()
	d.mu.Lock()
	d.blobs[blob] = &shownBlob{start: now, size: size}
	d.mu.Unlock()
	d.sinks.Event(progress.Event{Kind: progress.BlobStart, Time: now, Digest: blob.String(), Size: size})
}

// Advance reports bytes; a negative number starts over.
func (d *display) Advance(blob digest.Digest, n int64) {
	d.mu.Lock()
	b := d.blobs[blob]
	if b == nil {
		d.mu.Unlock()
		return
	}
	b.done += n
	done, size := b.done, b.size
	d.mu.Unlock()
	d.sinks.Event(progress.Event{Kind: progress.BlobProgress, Digest: blob.String(), Bytes: done, Size: size})
}

// Finish ends what Start began.
func (d *display) Finish(blob digest.Digest, err error) {
	now := time.Now()
	d.mu.Lock()
	b := d.blobs[blob]
	delete(d.blobs, blob)
	d.mu.Unlock()
	if b == nil {
		return
	}
	e := progress.Event{Kind: progress.BlobEnd, Time: now, Digest: blob.String(), Bytes: b.done, Size: b.size, Seconds: now.Sub(b.start).Seconds()}
	if err != nil {
		e.Error = err.Error()
	}
	d.sinks.Event(e)
}

// logHandler shows records where and as the display has it.
func (d *display) logHandler(env *environment, level slog.Level, festoon bool) slog.Handler {
	h := newLineHandler(env.stderr, level, festoon)
	switch {
	case d.json:
		h.emit = func(l slog.Level, text string) {
			d.sinks.Event(progress.Event{Kind: progress.Log, Level: strings.ToLower(l.String()), Text: text})
		}
	case d.screen != nil:
		h.w = d.screen
	}
	h.colour = d.colour
	return h
}
