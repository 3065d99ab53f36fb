package unpriv

import (
	"io"
	"os"
	"sync"
)

// streams connects a program's standard streams to the caller's.
type streams struct {
	files [3]*os.File // what the program gets
	made  []*os.File  // those of them that are ours to close
	wg    sync.WaitGroup
	once  sync.Once
}

func newStreams(stdin *os.File, stdout, stderr io.Writer) (*streams, error) {
	s := &streams{}
	if stdin == nil {
		f, err := os.Open(os.DevNull)
		if err != nil {
			return nil, err
		}
		stdin, s.made = f, append(s.made, f)
	}
	s.files[0] = stdin
	for i, w := range []io.Writer{stdout, stderr} {
		var err error
		if i == 1 && sameWriter(stdout, stderr) {
			s.files[2] = s.files[1] // one pipe, so that lines stay in order
		} else if s.files[i+1], err = s.connect(w); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

// sameWriter compares, which panics for some types.
func sameWriter(a, b io.Writer) bool {
	defer func() { _ = recover() }()
	return a == b
}

// connect returns a file that leads to w.
func (s *streams) connect(w io.Writer) (*os.File, error) {
	switch w := w.(type) {
	case nil:
		f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err == nil {
			s.made = append(s.made, f)
		}
		return f, err
	case *os.File:
		return w, nil
	}
	r, f, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.made = append(s.made, f)
	s.wg.Go(func() {
		defer r.Close()
		if _, err := io.Copy(w, r); err != nil {
			io.Copy(io.Discard, r) // a writer that fails loses output and does not stop the program
		}
	})
	return f, nil
}

// close closes our copies of what the program has.
func (s *streams) close() {
	s.once.Do(func() {
		for _, f := range s.made {
			f.Close()
		}
	})
}

// wait returns when all that the program printed is with its writer.
func (s *streams) wait() { s.wg.Wait() }
