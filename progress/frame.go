package progress

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/mattn/go-runewidth"
)

// tailLines is how many of a step's last lines are shown at most.
const tailLines = 5

// Colours of ECMA-48, as the eight that every terminal has.
const (
	dim    = "2"
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
	blue   = "34"
)

// cells measures and cuts text; ambiguous letters are narrow, as terminals
// outside of East Asia have them.
var cells = &runewidth.Condition{}

// wrapped is how many rows a line takes on a terminal of cols columns. A wide
// letter that does not fit at the end of a row begins the next.
func wrapped(s string, cols int) int {
	rows, col := 1, 0
	for _, r := range s {
		w := cells.RuneWidth(r)
		if col+w > cols {
			rows, col = rows+1, 0
		}
		col += w
	}
	return rows
}

func (s *Screen) colour(code, text string) string {
	if !s.opts.Colour || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// ellipsis is what stands for text that was cut off.
func (s *Screen) ellipsis() string {
	if s.opts.Unicode {
		return "…"
	}
	return "..."
}

// cut makes text fit into n columns.
func (s *Screen) cut(text string, n int) string {
	if cells.StringWidth(text) <= n {
		return text
	}
	e := s.ellipsis()
	if n <= len(e) {
		e = ""
	}
	return cells.Truncate(text, n, e)
}

// row is one line: a mark, text that is cut if need be, and something at the
// right edge, which is left out if there is no room for it. One column stays
// free, because terminals disagree about what the last one does.
func (s *Screen) row(mark, markColour, text, right string) string {
	cols, _ := s.size()
	room := max(1, cols-1)
	mark = s.cut(mark, room)
	room -= cells.StringWidth(mark)
	if room <= 1 {
		return s.colour(markColour, mark)
	}
	room--
	if w := cells.StringWidth(right); w > 0 && room-w-1 >= 8 {
		text = s.cut(text, room-w-1)
		gap := room - w - cells.StringWidth(text)
		return s.colour(markColour, mark) + " " + text + strings.Repeat(" ", gap) + s.colour(dim, right)
	}
	return s.colour(markColour, mark) + " " + s.cut(text, room)
}

// stepDone is the line of a finished step.
func (s *Screen) stepDone(e Event) string {
	took := Duration(time.Duration(e.Seconds * float64(time.Second)))
	mark := stepMark(e.Name, e.Line, e.Cache)
	switch {
	case e.Error != "":
		return s.row(strings.TrimRight(mark, " .*")+"!", red, Clean(e.Text), took)
	case e.Cache == Hit:
		return s.row(mark, green, Clean(e.Text), "cached")
	case e.Cache == Miss:
		return s.row(mark, yellow, Clean(e.Text), took)
	case e.Seconds >= 0.1:
		return s.row(mark, dim, Clean(e.Text), took)
	}
	return s.row(mark, dim, Clean(e.Text), "")
}

func (s *Screen) blobDone(e Event) string {
	took := time.Duration(e.Seconds * float64(time.Second))
	right := Duration(took)
	if r := rate(e.Bytes, took); r != "" {
		right = r + " " + right
	}
	return s.row("   +", green, shortDigest(e.Digest)+" "+Bytes(e.Bytes), right)
}

// frame is the live lines.
func (s *Screen) frame() []string {
	if len(s.live) == 0 {
		return nil
	}
	_, rows := s.size()
	room := max(1, rows-2) // one for the summary, one for the cursor
	now := time.Now()
	shown := s.live
	if len(shown) > room {
		shown = shown[len(shown)-room:]
	}
	printing := 0
	for _, r := range shown {
		if r.tail != nil && r.tail.any() {
			printing++
		}
	}
	var out []string
	spare := room - len(shown)
	for _, r := range shown {
		if r.tail == nil {
			out = append(out, s.blobLine(r, now))
			continue
		}
		out = append(out, s.row(stepMark(r.Name, r.Line, r.Cache), blue, Clean(r.Text), Duration(now.Sub(r.since))))
		if n := min(tailLines, spare/max(1, printing)); n > 0 {
			for _, l := range r.tail.last(n) {
				out = append(out, s.tailLine(l))
			}
		}
	}
	return append(out, s.summary(now, len(s.live)-len(shown)))
}

func (s *Screen) tailLine(text string) string {
	cols, _ := s.size()
	bar := "|"
	if s.opts.Unicode {
		bar = "│"
	}
	return s.colour(dim, s.cut("   "+bar+" "+text, cols-1))
}

// summary is the last line: the time, what is done, what runs.
func (s *Screen) summary(now time.Time, hidden int) string {
	cols, _ := s.size()
	running := 0
	for _, r := range s.live {
		if r.tail != nil {
			running++
		}
	}
	text := Duration(now.Sub(s.start))
	if s.done > 0 || running > 0 {
		text += fmt.Sprintf("  %d done, %d running", s.done, running)
	}
	if hidden > 0 {
		text += fmt.Sprintf(", %d not shown", hidden)
	}
	return s.colour(bold, s.cut(text, cols-1))
}

// blobLine shows how far a transfer is: a bar if there is room for it.
func (s *Screen) blobLine(r *liveRow, now time.Time) string {
	cols, _ := s.size()
	right := Bytes(r.Bytes)
	if r.Size > 0 {
		right += " / " + Bytes(r.Size)
	}
	if speed := rate(r.Bytes, now.Sub(r.since)); speed != "" {
		right += "  " + speed
	}
	name := shortDigest(r.Digest)
	n := min(40, cols-1-5-len(name)-2-len(right)-1)
	if n < 8 || r.Size <= 0 {
		return s.row("    ", "", name, right)
	}
	full := int(min(r.Bytes, r.Size) * int64(n) / r.Size)
	on, off := "=", "-"
	if s.opts.Unicode {
		on, off = "━", "─"
	}
	bar := s.colour(green, strings.Repeat(on, full)) + s.colour(dim, strings.Repeat(off, n-full))
	gap := max(1, cols-1-5-len(name)-1-n-len(right))
	return "     " + name + " " + bar + strings.Repeat(" ", gap) + s.colour(dim, right)
}

// tail keeps the last lines written to it, as a terminal would show them.
type tail struct {
	mu    sync.Mutex
	lines []string
	w     lineWriter
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.w.line = func(l string) {
		if l = strings.TrimSpace(Shown(l)); l == "" {
			return
		}
		t.lines = append(t.lines, l)
		if n := len(t.lines) - tailLines; n > 0 {
			t.lines = append(t.lines[:0], t.lines[n:]...)
		}
	}
	return t.w.Write(p)
}

func (t *tail) any() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.lines) > 0 || len(t.w.rest) > 0
}

// last returns the last n lines, one that has no end yet included.
func (t *tail) last(n int) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := append([]string(nil), t.lines...)
	if l := strings.TrimSpace(Shown(string(t.w.rest))); l != "" {
		out = append(out, l)
	}
	return out[max(0, len(out)-n):]
}
