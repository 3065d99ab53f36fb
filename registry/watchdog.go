package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// errStalled is the cause of a context that a watchdog ended.
var errStalled = errors.New("no progress")

// watchdog cancels a context when nothing feeds it for a while.
type watchdog struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limit  atomic.Int64 // of the wait that runs, for the message
}

// newWatchdog starts with limit; the returned watchdog's ctx is to be used for
// the work, and stop called when it is over.
func newWatchdog(ctx context.Context, limit time.Duration) *watchdog {
	w := &watchdog{}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.limit.Store(int64(limit))
	w.timer = time.AfterFunc(limit, func() {
		w.cancel(fmt.Errorf("%w for %v", errStalled, time.Duration(w.limit.Load())))
	})
	return w
}

// feed grants another limit.
func (w *watchdog) feed(limit time.Duration) {
	w.limit.Store(int64(limit))
	w.timer.Reset(limit)
}

// pause suspends the watch, for time that is not the network's.
func (w *watchdog) pause() { w.timer.Stop() }

func (w *watchdog) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// explain replaces the error of work that the watchdog ended by its reason.
func (w *watchdog) explain(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	if cause := context.Cause(w.ctx); errors.Is(cause, errStalled) {
		return cause
	}
	return err
}

// watchedBody is a response body. The clock runs only while the network is
// waited for, not while the reader's owner thinks.
type watchedBody struct {
	body  io.ReadCloser
	dog   *watchdog
	limit time.Duration
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.dog.feed(b.limit)
	n, err := b.body.Read(p)
	b.dog.pause()
	return n, b.dog.explain(err)
}

// bounded ends the reading of a small answer after limit, however steadily
// its bytes drip in. done ends the bound.
func bounded(body io.ReadCloser, limit time.Duration) (done func()) {
	b, ok := body.(*watchedBody)
	if !ok {
		return func() {}
	}
	t := time.AfterFunc(limit, func() { b.dog.cancel(fmt.Errorf("%w worth the name for %v", errStalled, limit)) })
	return func() { t.Stop() }
}

func (b *watchedBody) Close() error {
	err := b.body.Close()
	b.dog.stop()
	return err
}

// watchedUpload is a request body: each read by the transport shows that the
// previous bytes went out. After the last one the registry may take long to
// digest what it got.
type watchedUpload struct {
	body          io.ReadCloser
	dog           *watchdog
	stall, finish time.Duration
	moved         func(int64)
}

func (u *watchedUpload) Read(p []byte) (int, error) {
	u.dog.pause()
	n, err := u.body.Read(p)
	if err != nil {
		u.dog.feed(u.finish)
	} else {
		u.dog.feed(u.stall)
	}
	if n > 0 && u.moved != nil {
		u.moved(int64(n))
	}
	return n, err
}

func (u *watchedUpload) Close() error { return u.body.Close() }
