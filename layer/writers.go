package layer

import (
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// writerCount is the number of goroutines that create files. More than two
	// gained nothing where it was measured.
	writerCount = 2
	// queued bounds the files waiting for a writer, and so their memory.
	queued = 32
	// smallFile is the largest file that is handed to a writer; the reader of the
	// archive writes larger ones itself.
	smallFile = 512 << 10
	// tinyFile is the largest file that uses a buffer of the small kind.
	tinyFile = 32 << 10
)

// job is a file to create, whole.
type job struct {
	dir  *handle
	base string
	m    *member
	mode uint32
	data []byte
	buf  *[]byte // where data lives, given back when done
	src  *handle // if not nil, the directory that holds the content under the name from
	from string
}

// writers create files in the background. All methods are for one goroutine.
type writers struct {
	create func(job) error
	jobs   chan job
	gone   sync.WaitGroup
	flight sync.WaitGroup
	bufs   *buffers

	mu  sync.Mutex
	err error
}

func startWriters(create func(job) error) *writers {
	w := &writers{
		create: create,
		jobs:   make(chan job, queued),
		bufs:   newBuffers(),
	}
	w.gone.Add(writerCount)
	for range writerCount {
		go w.run()
	}
	return w
}

func (w *writers) run() {
	defer w.gone.Done()
	for j := range w.jobs {
		if w.failure() == nil {
			err := w.create(j)
			if err == unix.EEXIST {
				err = errOneName // nothing was there of exactly this name
			}
			if err != nil {
				w.fail(failed("create", join(j.dir.path, j.base), err))
			}
		}
		j.dir.drop()
		if j.src != nil {
			j.src.drop()
		}
		w.bufs.put(j.buf)
		w.flight.Done()
	}
}

func (w *writers) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

// failure is the first error of any writer so far.
func (w *writers) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// submit hands over a file and a reference to its directory.
func (w *writers) submit(j job) {
	w.flight.Add(1)
	w.jobs <- j
}

// wait returns when everything submitted is done.
func (w *writers) wait() error {
	w.flight.Wait()
	return w.failure()
}

func (w *writers) close() {
	close(w.jobs)
	w.gone.Wait()
}

// buffers lends buffers of two sizes.
type buffers struct{ tiny, small sync.Pool }

func newBuffers() *buffers {
	return &buffers{
		tiny:  sync.Pool{New: func() any { b := make([]byte, tinyFile); return &b }},
		small: sync.Pool{New: func() any { b := make([]byte, smallFile); return &b }},
	}
}

// get returns a buffer for n bytes, at most smallFile.
func (b *buffers) get(n int64) *[]byte {
	if n <= tinyFile {
		return b.tiny.Get().(*[]byte)
	}
	return b.small.Get().(*[]byte)
}

func (b *buffers) put(p *[]byte) {
	switch {
	case p == nil:
	case len(*p) == tinyFile:
		b.tiny.Put(p)
	default:
		b.small.Put(p)
	}
}
