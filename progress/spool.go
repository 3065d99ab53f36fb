package progress

import (
	"io"
	"os"
	"sync"
)

// spoolMemory is how much output is kept in memory; the rest goes to a file
// that has no name any more.
const spoolMemory = 1 << 20

// spool keeps all that is written to it. If there is no room for a file, it
// keeps the beginning.
type spool struct {
	mu   sync.Mutex
	mem  []byte
	file *os.File
	full bool
}

func (s *spool) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full {
		return len(p), nil
	}
	if s.file == nil && len(s.mem)+len(p) <= spoolMemory {
		s.mem = append(s.mem, p...)
		return len(p), nil
	}
	if s.file == nil {
		f, err := os.CreateTemp("", "virga-output-*")
		if err != nil {
			s.full = true
			return len(p), nil
		}
		os.Remove(f.Name())
		s.file = f
	}
	if _, err := s.file.Write(p); err != nil {
		s.full = true
	}
	return len(p), nil
}

// copyTo writes everything to w, and an end of line if there was none.
func (s *spool) copyTo(w io.Writer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := &lastByte{w: w, last: '\n'}
	if _, err := end.Write(s.mem); err != nil {
		return err
	}
	if s.file != nil {
		if _, err := s.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.Copy(end, s.file); err != nil {
			return err
		}
	}
	if end.last != '\n' {
		_, err := io.WriteString(w, "\n")
		return err
	}
	return nil
}

func (s *spool) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil {
		s.file.Close()
	}
	s.mem, s.file, s.full = nil, nil, true
}

// lastByte remembers the last byte written.
type lastByte struct {
	w    io.Writer
	last byte
}

func (l *lastByte) Write(p []byte) (int, error) {
	if len(p) > 0 {
		l.last = p[len(p)-1]
	}
	return l.w.Write(p)
}

// Silent shows nothing but, of a step that fails, all that its commands
// printed.
type Silent struct {
	W io.Writer

	mu    sync.Mutex
	steps map[int]*spool
}

// Event waits for failures.
func (q *Silent) Event(e Event) {
	if e.Kind != StepEnd {
		return
	}
	q.mu.Lock()
	s := q.steps[e.ID]
	delete(q.steps, e.ID)
	q.mu.Unlock()
	if s == nil {
		return
	}
	if e.Error != "" && e.Error != Canceled {
		_ = s.copyTo(q.W) // to standard error: nothing to do if it fails
	}
	s.close()
}

// Output keeps what the step prints.
func (q *Silent) Output(step int) io.Writer {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.steps == nil {
		q.steps = map[int]*spool{}
	}
	if q.steps[step] == nil {
		q.steps[step] = &spool{}
	}
	return q.steps[step]
}
