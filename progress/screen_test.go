package progress

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// terminal shows what a Screen draws: lines of cols columns, the cursor, and
// the three movements that a Screen uses.
type terminal struct {
	t     *testing.T
	cols  int
	lines []string
	row   int
}

func (m *terminal) Write(p []byte) (int, error) {
	s := string(p)
	for len(s) > 0 {
		switch {
		case s[0] == '\n':
			m.row++
			s = s[1:]
		case s[0] == '\r':
			s = s[1:]
		case strings.HasPrefix(s, "\x1b["):
			n := escapeLen(s)
			var up int
			switch {
			case s[:n] == "\x1b[J":
				m.lines = m.lines[:min(m.row, len(m.lines))]
			case s[n-1] == 'A':
				if _, err := fmt.Sscanf(s, "\x1b[%dA", &up); err != nil || up > m.row {
					m.t.Errorf("moves up %d from row %d", up, m.row)
				}
				m.row -= up
			case s[n-1] == 'm':
			default:
				m.t.Errorf("unexpected sequence %q", s[:n])
			}
			s = s[n:]
		default:
			end := strings.IndexAny(s, "\n\r\x1b")
			if end < 0 {
				end = len(s)
			}
			for len(m.lines) <= m.row {
				m.lines = append(m.lines, "")
			}
			m.lines[m.row] += s[:end]
			if w := cells.StringWidth(m.lines[m.row]); w >= m.cols {
				m.t.Errorf("line of %d columns on a terminal of %d: %q", w, m.cols, m.lines[m.row])
			}
			s = s[end:]
		}
	}
	return len(p), nil
}

func newScreen(t *testing.T, cols, rows int) (*Screen, *terminal) {
	m := &terminal{t: t, cols: cols}
	s := NewScreen(m, ScreenOptions{Size: func() (int, int) { return cols, rows }, Colour: true, Unicode: true})
	t.Cleanup(s.Close)
	return s, m
}

// tick draws the live lines now.
func (s *Screen) tickNow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draw(nil)
}

// On terminals of every width and height nothing wraps, nothing is left behind,
// and what is finished stays.
func TestScreenFits(t *testing.T) {
	for cols := 20; cols < 100; cols += 7 {
		for rows := 2; rows < 30; rows += 5 {
			s, m := newScreen(t, cols, rows)
			now := time.Now()
			for i := 1; i <= 6; i++ {
				s.Event(Event{Kind: StepBegin, Time: now, ID: i, Line: i, Name: "stage", Text: "RUN echo 漢字漢字漢字漢字漢字漢字 wörld \x1b[2J " + strings.Repeat("x", 20*i)})
				s.Event(Event{Kind: StepStart, Time: now, ID: i, Cache: Miss})
				fmt.Fprintf(s.Output(i), "one\n\x1b[31m漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字 %d\x1b[0m\nhalf", i)
			}
			s.Event(Event{Kind: BlobStart, Time: now.Add(-time.Second), Digest: "sha256:" + strings.Repeat("ab", 32), Size: 5e8})
			s.Event(Event{Kind: BlobProgress, Digest: "sha256:" + strings.Repeat("ab", 32), Bytes: 123456789, Size: 5e8})
			for range 3 {
				s.tickNow()
				if len(m.lines) > rows {
					t.Fatalf("%dx%d: %d lines:\n%s", cols, rows, len(m.lines), strings.Join(m.lines, "\n"))
				}
			}
			for i := 1; i <= 6; i++ {
				s.Event(Event{Kind: StepEnd, ID: i, Line: i, Name: "stage", Cache: Miss, Text: "RUN x", Seconds: 1})
			}
			s.Event(Event{Kind: BlobEnd, Digest: "sha256:" + strings.Repeat("ab", 32), Bytes: 5e8, Seconds: 2})
			s.Close()
			if len(m.lines) != 7 || !strings.Contains(m.lines[0], "stage   1.") {
				t.Fatalf("%dx%d: left\n%s", cols, rows, strings.Join(m.lines, "\n"))
			}
		}
	}
}

// All that a failed command printed is shown, as it is; of others nothing.
func TestScreenShowsFailures(t *testing.T) {
	var b bytes.Buffer
	s := NewScreen(&b, ScreenOptions{})
	s.Pause()                                                 // live lines show output as well
	all := strings.Repeat("a line that is output\n", 100_000) // more than is kept in memory
	for i := 1; i <= 3; i++ {
		s.Event(Event{Kind: StepBegin, ID: i, Line: i, Text: "RUN x"})
	}
	fmt.Fprint(s.Output(1), "fine\n")
	fmt.Fprint(s.Output(2), all+"end")
	fmt.Fprint(s.Output(3), "given up\n")
	s.Event(Event{Kind: StepEnd, ID: 1, Line: 1, Text: "RUN x"})
	s.Event(Event{Kind: StepEnd, ID: 2, Line: 2, Text: "RUN x", Error: "status 1"})
	s.Event(Event{Kind: StepEnd, ID: 3, Line: 3, Text: "RUN x", Error: Canceled})
	s.Close()
	out := b.String()
	if !strings.Contains(out, all+"end\n") || strings.Contains(out, "fine") || strings.Contains(out, "given up") {
		t.Errorf("%d bytes, all: %v", len(out), strings.Contains(out, all))
	}
}

// While a question is asked nothing is drawn.
func TestScreenPauses(t *testing.T) {
	s, m := newScreen(t, 80, 24)
	s.Event(Event{Kind: StepBegin, Time: time.Now(), ID: 1, Line: 1, Text: "RUN x"})
	s.tickNow()
	s.Pause()
	s.tickNow()
	if len(m.lines) != 0 {
		t.Errorf("paused: %q", m.lines)
	}
	s.Resume()
	s.tickNow()
	if len(m.lines) != 2 {
		t.Errorf("resumed: %q", m.lines)
	}
}

// A terminal that has become narrower has wrapped the live lines; all of them
// are taken away.
func TestScreenNarrowed(t *testing.T) {
	cols := 80
	var b bytes.Buffer
	s := NewScreen(&b, ScreenOptions{Size: func() (int, int) { return cols, 24 }})
	defer s.Close()
	s.Event(Event{Kind: StepBegin, Time: time.Now(), ID: 1, Line: 1, Text: "RUN " + strings.Repeat("x", 200)})
	s.tickNow()
	b.Reset()
	cols = 40
	s.tickNow()
	if want := "\r\x1b[3A\x1b[J"; !strings.HasPrefix(b.String(), want) { // 79 columns on two rows, the summary on one
		t.Errorf("begins %q, want %q", b.String()[:20], want)
	}
}

func TestWrapped(t *testing.T) {
	for _, tc := range []struct {
		text string
		cols int
		want int
	}{{"", 20, 1}, {strings.Repeat("x", 20), 20, 1}, {strings.Repeat("x", 21), 20, 2}, {"xx漢漢", 3, 3}} {
		if got := wrapped(tc.text, tc.cols); got != tc.want {
			t.Errorf("%q on %d: %d rows, want %d", tc.text, tc.cols, got, tc.want)
		}
	}
}
