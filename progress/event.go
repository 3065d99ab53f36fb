// Package progress shows how long work goes on: as live lines on a terminal
// (Screen), as one line for each event (Lines), or as a stream of JSON objects
// (JSON). Trace remembers the same events and draws where the time went.
//
// What happens is told as Events to a Sink. A sink takes calls from several
// goroutines. Nothing here knows what a build or a registry is.
//
//	s := progress.NewScreen(os.Stderr, progress.ScreenOptions{Size: size})
//	defer s.Close()
//	s.Event(progress.Event{Kind: progress.StepBegin, ID: 1, Line: 3, Text: "RUN make"})
package progress

import (
	"io"
	"time"
)

// Version is the version of the event stream. It changes when a member goes
// or changes its meaning; new members and kinds may come without.
const Version = 1

// Kind says what happened.
type Kind string

// The kinds of events.
const (
	Begin        Kind = "begin"         // Text: the command; Tool: program and version
	StepBegin    Kind = "step-begin"    // an instruction is looked at: ID, Stage, Name, Line, Text
	StepStart    Kind = "step-start"    // its Cache is known
	StepOutput   Kind = "step-output"   // its commands printed Text, without the end of line
	StepEnd      Kind = "step-end"      // Seconds; Error if it failed
	BlobStart    Kind = "blob-start"    // Digest, Size
	BlobProgress Kind = "blob-progress" // Digest, Bytes, Size
	BlobEnd      Kind = "blob-end"      // Digest, Bytes, Seconds; Error
	Log          Kind = "log"           // Level, Text
	Failure      Kind = "error"         // Text; Hint, File, Line, Output, Status, State if known
	End          Kind = "end"           // Seconds, CPU; Status is the exit status
)

// Canceled is the error of a step that was given up because another failed.
const Canceled = "canceled"

// What became of a step.
const (
	Hit  = "hit"  // taken from the cache
	Miss = "miss" // computed
	None = "none" // nothing to compute
)

// Event is one thing that happened. Members without a meaning for its kind are
// zero, and left out of JSON; docs/progress.md is the reference.
type Event struct {
	Version int       `json:"v"`
	Time    time.Time `json:"time"`
	Kind    Kind      `json:"event"`
	Tool    string    `json:"tool,omitempty"`
	ID      int       `json:"id,omitempty"`    // of a step, from 1
	Stage   int       `json:"stage,omitempty"` // number, from 0
	Name    string    `json:"name,omitempty"`  // of the stage
	File    string    `json:"file,omitempty"`
	Line    int       `json:"line,omitempty"` // in the Dockerfile, from 1
	Cache   string    `json:"cache,omitempty"`
	Digest  string    `json:"digest,omitempty"`
	Bytes   int64     `json:"bytes,omitempty"` // done
	Size    int64     `json:"size,omitempty"`  // of all
	Level   string    `json:"level,omitempty"`
	Text    string    `json:"text,omitempty"`
	Hint    string    `json:"hint,omitempty"`
	Output  string    `json:"output,omitempty"`
	State   string    `json:"state,omitempty"`
	Status  int       `json:"status,omitempty"`
	Seconds float64   `json:"seconds,omitempty"`
	CPU     float64   `json:"cpu,omitempty"` // seconds
	Error   string    `json:"error,omitempty"`
}

// Sink takes events. Events of one step or blob come in order.
type Sink interface {
	Event(Event)
	// Output is where the commands of a step print to. It is asked for between
	// the step's begin and end; nil is nowhere.
	Output(step int) io.Writer
}

// Sinks gives everything to each of its members.
type Sinks []Sink

// Event passes e on, with version and time.
func (s Sinks) Event(e Event) {
	e.Version = Version
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	for _, one := range s {
		one.Event(e)
	}
}

// Output joins the outputs of the members. It is a member's own writer if it
// is the only one.
func (s Sinks) Output(step int) io.Writer {
	var all []io.Writer
	for _, one := range s {
		if w := one.Output(step); w != nil {
			all = append(all, w)
		}
	}
	switch len(all) {
	case 0:
		return io.Discard
	case 1:
		return all[0]
	}
	return io.MultiWriter(all...)
}
