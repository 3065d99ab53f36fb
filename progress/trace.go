package progress

import (
	"io"
	"sort"
	"sync"
	"time"
)

// Trace remembers when what happened, to be drawn.
type Trace struct {
	mu    sync.Mutex
	title string
	tool  string
	start time.Time
	end   time.Time
	cpu   float64
	spans map[int]*span
	blobs map[string]*span
	all   []*span
}

// span is one step or transfer.
type span struct {
	Event
	begun, started, ended time.Time
	blob                  bool
}

// NewTrace returns an empty Trace, a Sink.
func NewTrace() *Trace { return &Trace{spans: map[int]*span{}, blobs: map[string]*span{}} }

// Event remembers e.
func (t *Trace) Event(e Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.start.IsZero() || e.Time.Before(t.start) {
		t.start = e.Time
	}
	if e.Time.After(t.end) {
		t.end = e.Time
	}
	switch e.Kind {
	case Begin:
		t.title, t.tool = e.Text, e.Tool
	case StepBegin:
		s := &span{Event: e, begun: e.Time, started: e.Time}
		t.spans[e.ID] = s
		t.all = append(t.all, s)
	case StepStart:
		if s := t.spans[e.ID]; s != nil {
			s.started, s.Cache = e.Time, e.Cache
		}
	case StepEnd:
		if s := t.spans[e.ID]; s != nil {
			s.ended, s.Error, s.Seconds = e.Time, e.Error, e.Seconds
			delete(t.spans, e.ID)
		}
	case BlobStart:
		s := &span{Event: e, begun: e.Time, started: e.Time, blob: true}
		t.blobs[e.Digest] = s
		t.all = append(t.all, s)
	case BlobEnd:
		if s := t.blobs[e.Digest]; s != nil {
			s.ended, s.Error, s.Bytes, s.Seconds = e.Time, e.Error, e.Bytes, e.Seconds
			delete(t.blobs, e.Digest)
		}
	case End:
		t.cpu = e.CPU
	}
}

// Output takes nothing: what commands print is not drawn.
func (t *Trace) Output(int) io.Writer { return nil }

// lane is what is drawn below one heading: a stage, or the transfers.
type lane struct {
	name  string
	spans []*span
}

// lanes sorts the spans: transfers first, then the stages by number. What was
// still going on when the work ended, ends there.
func (t *Trace) lanes() []lane {
	stages := map[int]*lane{}
	transfers := lane{name: "transfers"}
	var order []int
	for _, s := range t.all {
		if s.ended.IsZero() {
			s.ended = t.end
		}
		if s.blob {
			transfers.spans = append(transfers.spans, s)
			continue
		}
		l := stages[s.Stage]
		if l == nil {
			l = &lane{name: s.Name}
			stages[s.Stage] = l
			order = append(order, s.Stage)
		}
		l.spans = append(l.spans, s)
	}
	var out []lane
	if len(transfers.spans) > 0 {
		out = append(out, transfers)
	}
	sort.Ints(order)
	for _, n := range order {
		l := stages[n]
		if l.name == "" {
			l.name = "stage " + itoa(n)
		}
		out = append(out, *l)
	}
	return out
}
