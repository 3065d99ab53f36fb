package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/opencontainers/go-digest"
)

func TestPutBlob(t *testing.T) {
	s := newTest(t)
	ctx := context.Background()
	data := bytes.Repeat([]byte("0123456789abcdef"), 40000)
	d, n := digest.FromBytes(data), int64(len(data))
	flipped := bytes.Clone(data)
	flipped[n/2] ^= 1
	broken := errors.New("connection reset")
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	tests := []struct {
		name string
		ctx  context.Context
		size int64
		r    io.Reader
		want error
	}{
		{"short", ctx, n, bytes.NewReader(data[:n-1]), ErrCorrupt},
		{"short, size unknown", ctx, -1, bytes.NewReader(data[:n-1]), ErrCorrupt},
		{"long", ctx, n, bytes.NewReader(append(bytes.Clone(data), 'x')), ErrCorrupt},
		{"one bit", ctx, n, bytes.NewReader(flipped), ErrCorrupt},
		{"empty", ctx, n, strings.NewReader(""), ErrCorrupt},
		{"broken off", ctx, n, io.MultiReader(bytes.NewReader(data[:1000]), iotest.ErrReader(broken)), broken},
		{"cancelled", cancelled, n, bytes.NewReader(data), context.Canceled},
		{"whole", ctx, n, iotest.HalfReader(bytes.NewReader(data)), nil},
		{"again", ctx, n, iotest.ErrReader(errors.New("read although it is there")), nil},
	}
	for _, test := range tests {
		err := s.PutBlob(test.ctx, d, test.size, test.r)
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		size, err := s.StatBlob(d)
		if test.want != nil && !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: a blob is left, %d bytes, %v", test.name, size, err)
		}
		if test.want == nil && size != n {
			t.Errorf("%s: %d bytes, %v", test.name, size, err)
		}
		if left := must(os.ReadDir(s.ses.dir))(t); len(left) != 1 {
			t.Errorf("%s: temporary files are left: %v", test.name, left)
		}
	}
	if got := must(s.ReadBlob(d))(t); !bytes.Equal(got, data) {
		t.Error("read back differently")
	}
	for _, bad := range []digest.Digest{"", "sha256:../../x", "sha512:" + digest.Digest(strings.Repeat("0", 128)), "sha256:00"} {
		if err := s.PutBlob(ctx, bad, 1, strings.NewReader("x")); err == nil {
			t.Errorf("digest %q accepted", bad)
		}
	}
}

func TestDamagedBlobIsDropped(t *testing.T) {
	s := newTest(t)
	d := must(s.AddBlob(context.Background(), []byte("{}")))(t)
	path := s.blobPath(d)
	os.Chmod(path, 0o600)
	if err := os.WriteFile(path, []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if p := must(s.Check(context.Background(), CheckOptions{}))(t); len(p) != 1 || !strings.Contains(p[0].String(), d.String()) {
		t.Errorf("check: %v", p)
	}
	if _, err := s.ReadBlob(d); !errors.Is(err, ErrCorrupt) {
		t.Errorf("read: %v", err)
	}
	if _, err := s.ReadBlob(d); !errors.Is(err, ErrNotFound) {
		t.Errorf("read again: %v", err)
	}
}

func TestConcurrentWritersOfOneBlob(t *testing.T) {
	s := newTest(t)
	data := bytes.Repeat([]byte{7}, 1<<20)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := s.PutBlob(context.Background(), digest.FromBytes(data), -1, iotest.HalfReader(bytes.NewReader(data))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	checkClean(t, s)
}

func TestReadWhileWriting(t *testing.T) {
	s := newTest(t)
	data := bytes.Repeat([]byte("layer"), 100000)
	w := must(s.NewBlob(context.Background(), digest.FromBytes(data), int64(len(data)), BlobOptions{}))(t)
	defer w.Close()
	var wg sync.WaitGroup
	early := make(chan struct{})
	for range 3 {
		r := must(w.Reader())(t)
		wg.Go(func() {
			defer r.Close()
			first := make([]byte, 10)
			if _, err := io.ReadFull(r, first); err != nil {
				t.Error(err)
			}
			early <- struct{}{} // before the end is written
			rest, err := io.ReadAll(r)
			if got := append(first, rest...); err != nil || !bytes.Equal(got, data) {
				t.Errorf("read %d bytes, %v", len(got), err)
			}
		})
	}
	w.Write(data[:1000])
	for range 3 {
		<-early
	}
	for chunk := data[1000:]; len(chunk) > 0; chunk = chunk[min(len(chunk), 7777):] {
		w.Write(chunk[:min(len(chunk), 7777)])
	}
	if _, err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	late := must(w.Reader())(t)
	defer late.Close()
	if got := must(io.ReadAll(late))(t); !bytes.Equal(got, data) {
		t.Error("a reader after Commit reads something else")
	}
}

// TestReadersLearnOfFailure: what cannot be verified must not end in io.EOF.
// A reader that comes just when the blob gets its name finds it all the same.
func TestReaderMeetsCommit(t *testing.T) {
	s := newTest(t)
	for i := range 300 {
		data := fmt.Appendf(nil, "blob %d", i)
		w := must(s.NewBlob(t.Context(), digest.FromBytes(data), int64(len(data)), BlobOptions{}))(t)
		must(w.Write(data))(t)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := w.Commit(); err != nil {
				t.Error(err)
			}
		})
		for range 3 {
			r, err := w.Reader()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("read %q, %v", got, err)
			}
			r.Close()
		}
		wg.Wait()
	}
}

func TestReadersLearnOfFailure(t *testing.T) {
	s := newTest(t)
	boom := errors.New("boom")
	tests := []struct {
		name string
		end  func(w *BlobWriter)
		want error
	}{
		{"failed", func(w *BlobWriter) { w.Fail(boom) }, boom},
		{"closed", func(w *BlobWriter) { w.Close() }, context.Canceled},
		{"wrong digest", func(w *BlobWriter) { w.Write([]byte("abc")); w.Commit() }, ErrCorrupt},
	}
	for _, test := range tests {
		w := must(s.NewBlob(context.Background(), digest.FromString("other"), -1, BlobOptions{}))(t)
		r := must(w.Reader())(t)
		go func() {
			time.Sleep(5 * time.Millisecond)
			test.end(w)
		}()
		if _, err := io.ReadAll(r); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		r.Close()
		if _, err := w.Reader(); !errors.Is(err, test.want) {
			t.Errorf("%s, new reader: %v, want %v", test.name, err, test.want)
		}
	}
}

func TestUnknownDigest(t *testing.T) {
	s := newTest(t)
	w := must(s.NewBlob(context.Background(), "", -1, BlobOptions{Verified: true}))(t)
	defer w.Close()
	io.WriteString(w, "packed")
	if d := must(w.Commit())(t); d != digest.FromString("packed") {
		t.Errorf("got %s", d)
	}
	checkClean(t, s)
}
