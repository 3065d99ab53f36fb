package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Lines shows each event as one line without control characters. What
// commands print stays as it is, or is cleaned too for a log.
type Lines struct {
	// Line prints a line.
	Line func(string)
	// Detail prints a line that only the curious want to see; nil: nobody.
	Detail func(string)
	// Commands is where the output of commands goes; nil: through Line, each
	// line cleaned.
	Commands io.Writer

	mu    sync.Mutex
	steps map[int]*lineStep
}

type lineStep struct {
	Event
	begun time.Time
	out   *lineWriter
}

// Event prints what e says.
func (l *Lines) Event(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.steps == nil {
		l.steps = map[int]*lineStep{}
	}
	switch e.Kind {
	case StepBegin:
		l.steps[e.ID] = &lineStep{Event: e, begun: e.Time}
	case StepStart:
		l.Line(stepMark(e.Name, e.Line, e.Cache) + " " + Clean(e.Text))
	case StepEnd:
		s := l.steps[e.ID]
		delete(l.steps, e.ID)
		if s == nil {
			return
		}
		if s.out != nil {
			s.out.flush()
		}
		if e.Error == "" && e.Cache == Miss && l.Detail != nil {
			l.Detail(fmt.Sprintf("line %d took %.3fs", e.Line, e.Seconds))
		}
	case BlobStart:
		l.Line(fmt.Sprintf("%s: transferring %s", shortDigest(e.Digest), size(e.Size)))
	case BlobEnd:
		if e.Error != "" {
			return // the error is told once, at the end
		}
		took := time.Duration(e.Seconds * float64(time.Second))
		text := fmt.Sprintf("%s: transferred %s in %s", shortDigest(e.Digest), Bytes(e.Bytes), Duration(took))
		if r := rate(e.Bytes, took); r != "" {
			text += " (" + r + ")"
		}
		l.Line(text)
	}
}

func size(n int64) string {
	if n <= 0 {
		return "an unknown number of bytes"
	}
	return Bytes(n)
}

// Output gives the lines of a step's commands.
func (l *Lines) Output(step int) io.Writer {
	if l.Commands != nil {
		return l.Commands
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.steps[step]
	if s == nil {
		return nil
	}
	if s.out == nil {
		s.out = &lineWriter{line: func(text string) { l.Line(strings.TrimRight(Shown(text), " ")) }}
	}
	return s.out
}
