package main

import (
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/opencontainers/go-digest"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// transfers shows blobs on their way: bars on a terminal, a line for each
// elsewhere. It implements registry.Progress.
type transfers struct {
	env  *environment
	bars *mpb.Progress // nil: lines

	mu   sync.Mutex
	blob map[digest.Digest]*mpb.Bar
}

func (env *environment) newTransfers() *transfers {
	t := &transfers{env: env, blob: map[digest.Digest]*mpb.Bar{}}
	if env.live() {
		t.bars = mpb.New(mpb.WithOutput(env.stderr), mpb.WithWidth(40))
	}
	return t
}

// live reports whether long work is drawn on a terminal.
func (env *environment) live() bool {
	switch env.globals.progress {
	case "tty":
		return true
	case "auto":
		return env.globals.verbosity == 0 && env.getenv("TERM") != "dumb" && isTerminal(env.stderr)
	}
	return false
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Start announces a blob.
func (t *transfers) Start(d digest.Digest, size int64) {
	if t.bars == nil {
		if t.env.globals.progress != "none" {
			t.env.log.Info(fmt.Sprintf("%s: transferring %s", shortID(d), humanSize(size)))
		}
		return
	}
	bar := t.bars.AddBar(size, mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(shortID(d)+" ")),
		mpb.AppendDecorators(decor.CountersKiloByte("% .1f / % .1f "), decor.AverageSpeed(decor.SizeB1000(0), "% .1f")))
	t.mu.Lock()
	t.blob[d] = bar
	t.mu.Unlock()
}

// Advance reports bytes; a negative number starts over.
func (t *transfers) Advance(d digest.Digest, n int64) {
	if bar := t.bar(d); bar != nil {
		bar.IncrInt64(n)
	}
}

// Finish ends what Start began.
func (t *transfers) Finish(d digest.Digest, err error) {
	bar := t.bar(d)
	switch {
	case bar == nil:
	case err != nil:
		bar.Abort(true)
	default:
		bar.SetTotal(-1, true)
	}
}

func (t *transfers) bar(d digest.Digest) *mpb.Bar {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.blob[d]
}

// close leaves the terminal clean.
func (t *transfers) close() {
	if t.bars == nil {
		return
	}
	t.mu.Lock()
	for _, bar := range t.blob {
		bar.Abort(true)
	}
	t.mu.Unlock()
	t.bars.Wait()
}
