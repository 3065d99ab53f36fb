package progress

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// Clean makes text from outside fit for one line of a terminal or a log:
// control characters, invisible ones and bytes that are no text are written as
// Go escapes; a tab is a space. Letters of every script stay.
func Clean(s string) string {
	clean := true
	for i := 0; i < len(s) && clean; i++ {
		clean = s[i] >= ' ' && s[i] < 0x7f
	}
	if clean {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case r == '\t':
			b.WriteByte(' ')
		case unicode.IsPrint(r), unicode.Is(unicode.Zs, r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		}
		s = s[n:]
	}
	return b.String()
}

// CleanLines is Clean for text that may have several lines.
func CleanLines(s string) string {
	if !strings.Contains(s, "\n") {
		return Clean(s)
	}
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = Clean(l)
	}
	return strings.Join(lines, "\n")
}

// Shown is the line that a terminal would show after s was printed on it:
// without the colours and cursor movements of ECMA-48, and after a carriage
// return only what followed it.
func Shown(s string) string {
	s = strings.TrimRight(s, "\r")
	if i := strings.LastIndexByte(s, '\r'); i >= 0 {
		s = s[i+1:]
	}
	return Clean(withoutEscapes(s))
}

// withoutEscapes leaves out escape sequences: CSI (ESC [ ... final byte), OSC
// and other strings (ESC ] ... BEL or ESC \), and those of two characters.
func withoutEscapes(s string) string {
	if strings.IndexByte(s, 0x1b) < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] != 0x1b {
			b.WriteByte(s[i])
			i++
			continue
		}
		i += escapeLen(s[i:])
	}
	return b.String()
}

// escapeLen is the length of the escape sequence that s begins with.
func escapeLen(s string) int {
	if len(s) < 2 {
		return len(s)
	}
	switch s[1] {
	case '[':
		for i := 2; i < len(s); i++ {
			if s[i] >= 0x40 && s[i] <= 0x7e {
				return i + 1
			}
		}
		return len(s)
	case ']', 'P', '_', '^', 'X':
		for i := 2; i < len(s); i++ {
			if s[i] == 7 {
				return i + 1
			}
			if s[i] == 0x1b && i+1 < len(s) && s[i+1] == '\\' {
				return i + 2
			}
		}
		return len(s)
	case '(', ')', '*', '+', '#', '%':
		return min(3, len(s))
	}
	return 2
}

// maxLine is how much of a line without end is kept.
const maxLine = 64 << 10

// lineWriter calls line for each line written to it, without its end.
type lineWriter struct {
	mu   sync.Mutex
	rest []byte
	line func(string)
}

// Write takes p; it never fails.
func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			break
		}
		w.line(string(append(w.rest, p[:i]...)))
		w.rest, p = w.rest[:0], p[i+1:]
	}
	w.rest = append(w.rest, p...)
	if len(w.rest) > maxLine {
		w.flushLocked()
	}
	return n, nil
}

// flush ends a line that has no end.
func (w *lineWriter) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flushLocked()
}

func (w *lineWriter) flushLocked() {
	if len(w.rest) > 0 {
		w.line(string(w.rest))
		w.rest = w.rest[:0]
	}
}

// Bytes writes a number of bytes with three digits and a decimal unit, as
// docker does.
func Bytes(n int64) string {
	size, units := float64(n), []string{"B", "kB", "MB", "GB", "TB", "PB"}
	i := 0
	for size >= 999.5 && i < len(units)-1 {
		size /= 1000
		i++
	}
	return fmt.Sprintf("%.3g%s", size, units[i])
}

// Duration writes how long something took: 0.3s, 12.5s, 3m07s, 2h05m.
func Duration(d time.Duration) string {
	switch {
	case d < 100*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < 100*time.Minute:
		s := int(d.Seconds())
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	}
	m := int(d.Minutes())
	return fmt.Sprintf("%dh%02dm", m/60, m%60)
}

// rate is bytes per second, "" if the time is too short to tell.
func rate(n int64, d time.Duration) string {
	if d < 50*time.Millisecond || n <= 0 {
		return ""
	}
	return Bytes(int64(float64(n)/d.Seconds())) + "/s"
}

// stepMark is ch-image's: the line, '*' for a hit, '.' for a miss.
func stepMark(name string, line int, cache string) string {
	if name != "" {
		name = Clean(name) + " "
	}
	return fmt.Sprintf("%s%3d%s", name, line, flag(cache))
}

func flag(cache string) string {
	switch cache {
	case Hit:
		return "*"
	case Miss:
		return "."
	}
	return " "
}

// shortDigest is the first twelve digits of a digest.
func shortDigest(d string) string {
	if _, hex, ok := strings.Cut(d, ":"); ok {
		d = hex
	}
	return Clean(d[:min(12, len(d))])
}
