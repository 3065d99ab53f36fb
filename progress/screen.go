package progress

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"
)

// ScreenOptions tune a Screen.
type ScreenOptions struct {
	// Size tells the columns and rows of the terminal; it is asked before each
	// drawing, so a resize needs no signal. nil or 0 is 80 by 24.
	Size    func() (cols, rows int)
	Colour  bool
	Unicode bool // the terminal shows more than ASCII
}

// Screen shows what goes on as live lines at the bottom of a terminal: a line
// for each running step with the time it takes, below it the last lines that
// its commands printed, a line with a bar for each blob, and a summary. What
// is finished becomes one ordinary line above. Of a step that fails, all that
// its commands printed is shown.
type Screen struct {
	w    io.Writer
	opts ScreenOptions

	mu     sync.Mutex
	start  time.Time
	live   []*liveRow
	done   int
	drawn  []string // the live lines on the terminal, without colours
	paused int
	tick   *time.Ticker
	stop   chan struct{}
}

// drawEvery is the time between two drawings. What is shorter than the first
// of them is never live, so that a build from the cache does not flicker.
const drawEvery = 100 * time.Millisecond

// liveRow is a step or blob that is worked on.
type liveRow struct {
	Event
	since time.Time

	tail *tail
	all  *spool
}

// NewScreen draws on w, a terminal. Close ends it.
func NewScreen(w io.Writer, o ScreenOptions) *Screen {
	return &Screen{w: w, opts: o, start: time.Now()}
}

// run starts the drawing; s.mu is held.
func (s *Screen) run() {
	if s.tick != nil {
		return
	}
	s.tick, s.stop = time.NewTicker(drawEvery), make(chan struct{})
	go func(tick *time.Ticker, stop chan struct{}) {
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				s.mu.Lock()
				s.draw(nil)
				s.mu.Unlock()
			}
		}
	}(s.tick, s.stop)
}

// Event takes an event.
func (s *Screen) Event(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e.Kind {
	case StepBegin:
		s.add(&liveRow{Event: e, since: e.Time, tail: &tail{}, all: &spool{}})
	case BlobStart:
		s.add(&liveRow{Event: e, since: e.Time})
	case StepStart:
		if r := s.step(e.ID); r != nil {
			r.Cache, r.Kind = e.Cache, StepStart
		}
	case BlobProgress:
		if r := s.blob(e.Digest); r != nil {
			r.Bytes = e.Bytes
		}
	case StepEnd:
		if r := s.step(e.ID); r != nil {
			s.finishStep(r, e)
		}
	case BlobEnd:
		if r := s.blob(e.Digest); r != nil {
			s.remove(r)
			if e.Error == "" {
				s.draw([]byte(s.blobDone(e) + "\n"))
			}
		}
	}
}

func (s *Screen) add(r *liveRow) {
	s.run()
	s.live = append(s.live, r)
}

func (s *Screen) step(id int) *liveRow {
	for _, r := range s.live {
		if r.tail != nil && r.ID == id {
			return r
		}
	}
	return nil
}

func (s *Screen) blob(digest string) *liveRow {
	for _, r := range s.live {
		if r.tail == nil && r.Digest == digest {
			return r
		}
	}
	return nil
}

func (s *Screen) remove(r *liveRow) {
	for i, o := range s.live {
		if o == r {
			s.live = append(s.live[:i], s.live[i+1:]...)
			return
		}
	}
}

// finishStep makes a running step an ordinary line.
func (s *Screen) finishStep(r *liveRow, e Event) {
	s.remove(r)
	defer r.all.close()
	if e.Error == "" {
		s.done++
		s.draw([]byte(s.stepDone(e) + "\n"))
		return
	}
	if e.Error == Canceled {
		return
	}
	s.draw([]byte(s.stepDone(e) + "\n"))
	var b bytes.Buffer
	s.erase(&b)
	s.write(b.Bytes())
	_ = r.all.copyTo(s.w) // to the terminal: nothing to do if it fails
	if s.opts.Colour {
		s.write([]byte("\x1b[0m")) // whatever colour the command left
	}
}

// Output keeps what a step's commands print: all of it for a failure, the last
// lines to be shown meanwhile.
func (s *Screen) Output(step int) io.Writer {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.step(step)
	if r == nil {
		return nil
	}
	return io.MultiWriter(r.all, r.tail)
}

// Write puts ordinary lines above the live ones.
func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draw(p)
	return len(p), nil
}

// Pause takes the live lines away until Resume is called, for a question.
func (s *Screen) Pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b bytes.Buffer
	s.erase(&b)
	s.write(b.Bytes())
	s.paused++
}

// Resume ends a Pause.
func (s *Screen) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused--
}

// Close takes the live lines away and ends the drawing.
func (s *Screen) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tick != nil {
		s.tick.Stop()
		close(s.stop)
		s.tick = nil
	}
	for _, r := range s.live {
		if r.all != nil {
			r.all.close()
		}
	}
	s.live = nil
	var b bytes.Buffer
	s.erase(&b)
	s.write(b.Bytes())
}

// draw writes ordinary lines, if there are any, and the live ones below them.
// Called with ordinary lines before the first tick, it draws no live ones. All
// is written at once, so that nothing half-drawn is seen.
func (s *Screen) draw(ordinary []byte) {
	if s.paused > 0 {
		s.write(ordinary)
		return
	}
	var b bytes.Buffer
	lines := []string(nil)
	if ordinary == nil || len(s.drawn) > 0 {
		lines = s.frame()
	}
	if ordinary == nil && len(lines) == 0 && len(s.drawn) == 0 {
		return
	}
	s.erase(&b)
	b.Write(ordinary)
	for _, l := range lines {
		b.WriteString(l + "\n")
		s.drawn = append(s.drawn, withoutEscapes(l))
	}
	s.write(b.Bytes())
}

// erase moves to the first live line and clears everything from there. A
// terminal that has become narrower has wrapped the lines.
func (s *Screen) erase(b *bytes.Buffer) {
	if len(s.drawn) == 0 {
		return
	}
	cols, _ := s.size()
	rows := 0
	for _, l := range s.drawn {
		rows += wrapped(l, cols)
	}
	fmt.Fprintf(b, "\r\x1b[%dA\x1b[J", rows)
	s.drawn = s.drawn[:0]
}

func (s *Screen) write(p []byte) {
	if len(p) > 0 {
		_, _ = s.w.Write(p) // to the terminal: nothing to do if it fails
	}
}

func (s *Screen) size() (cols, rows int) {
	if s.opts.Size != nil {
		cols, rows = s.opts.Size()
	}
	if cols <= 0 {
		cols = 80
	}
	if rows <= 0 {
		rows = 24
	}
	return cols, rows
}
