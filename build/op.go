package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"virga/fakeroot"
	"virga/image"
	"virga/storage"
)

// op is one change of a stage's file system.
type op struct {
	step *Step
	// what identifies the change and all it reads, besides the state it
	// starts from; marshalled to JSON for the key.
	what func(ctx context.Context) (any, error)
	// alias identifies the change by where its inputs come from instead of
	// what they are: cheap to find out, and enough for a hit if nothing at all
	// has changed. nil if there is nothing cheaper than what.
	alias any
	// do makes the change in the snapshot and returns the records of the
	// paths it placed; nil if the snapshot's own records are complete.
	do    func(ctx context.Context, snap *snapshot) (fakeroot.Table, error)
	stubs bool   // do needs mount points for /proc and the like
	text  string // the line of the image's history
}

// keyVersion changes when the meaning of a key does.
const keyVersion = 1

// stateKey derives the key of a state from the one before it.
func stateKey(parent string, what any) (string, error) {
	b, err := json.Marshal(struct {
		V      int
		Parent string
		What   any
	}{keyVersion, parent, what})
	if err != nil {
		return "", fmt.Errorf("BUG: cache key: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// dated adds to what identifies a change the time that bounds those of its
// files: with another one it is another change.
func (b *builder) dated(what any) any {
	if what == nil || b.Epoch == nil {
		return what
	}
	return struct {
		What  any
		Epoch int64
	}{what, b.Epoch.Unix()}
}

// baseKey is the key of an image's file system.
func baseKey(c *image.Config, real bool) string {
	key, _ := stateKey("image", struct {
		DiffIDs any
		Real    bool
	}{c.RootFS.DiffIDs, real}) // plain strings: cannot fail
	return key
}

// apply takes the state after o from the cache, or makes it.
func (s *stage) apply(ctx context.Context, o op) error {
	b := s.b
	o.step.Flag = '.'
	if s.missed {
		b.started(o.step)
		s.history(o.text, false)
		return nil
	}
	o.alias = b.dated(o.alias)
	if o.alias != nil && b.Cache == CacheUse {
		if st := b.aliased(ctx, s.key, o.alias); st != nil {
			return s.hit(st, o)
		}
	}
	what, err := o.what(ctx)
	if err != nil {
		return err
	}
	key, err := stateKey(s.key, b.dated(what))
	if err != nil {
		return err
	}
	var st *storage.State
	if b.Cache == CacheUse {
		if st, err = b.cached(ctx, key); err != nil {
			return err
		}
	}
	if st != nil {
		b.putAlias(ctx, s.key, o.alias, st)
		return s.hit(st, o)
	}
	if b.DryRun {
		s.missed = true
		return s.apply(ctx, o)
	}
	release, err := b.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	unlock, err := b.alone(ctx, key, o.step)
	if err != nil {
		return err
	}
	defer unlock()
	if b.Cache == CacheUse { // another process may have been at it
		if st, err = b.cached(ctx, key); err != nil {
			return err
		}
		if st != nil {
			b.putAlias(ctx, s.key, o.alias, st)
			return s.hit(st, o)
		}
	}
	b.started(o.step)
	if st, err = s.compute(ctx, key, o); err != nil {
		return err
	}
	b.putAlias(ctx, s.key, o.alias, st)
	s.advance(st, o.text)
	return nil
}

// Waiting for another build that is at the same step: quietly for a moment,
// and not for ever, because its RUN may be.
const (
	quietWait = 300 * time.Millisecond
	mostWait  = 15 * time.Minute
)

// alone lets one build, of this process or another, of this machine or
// another, compute the state of a key; the others wait for it and then find
// it, or take over if it died. It is called with the right to work (acquire)
// and before anything else is locked: whoever holds this lock waits for no
// other build but for cache directories, whose holders never wait for it.
func (b *builder) alone(ctx context.Context, key string, step *Step) (unlock func(), err error) {
	if b.Cache != CacheUse {
		return func() {}, nil
	}
	for i, most := range []time.Duration{quietWait, mostWait} {
		wait, cancel := context.WithTimeout(ctx, most)
		unlock, err = b.store.KeyLock(wait, "state-"+key)
		cancel()
		if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return unlock, err
		}
		if i == 0 {
			b.log.Info("waiting for another build that is at the same step: " + step.Text)
		}
	}
	b.log.Warn("the other build has not finished its step: doing the same here", "step", step.Text)
	return func() {}, nil
}

func (s *stage) hit(st *storage.State, o op) error {
	o.step.Flag = '*'
	s.plain = nil
	s.b.started(o.step)
	s.advance(st, o.text)
	return nil
}

// compute runs the operation in a fresh snapshot and stores what it changed.
func (s *stage) compute(ctx context.Context, key string, o op) (_ *storage.State, err error) {
	b := s.b
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	var snap *snapshot
	if b.overlayWorks(ctx) {
		if snap, err = b.mount(ctx, s.chain, s.owners, o.stubs); err != nil {
			os.Remove(b.store.NotePath(strategyNote)) // to be tried again
		}
	} else {
		snap, err = s.mountPlain(ctx)
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, snap.close(ctx)) }()
	placed, err := o.do(ctx, snap)
	if err != nil {
		return nil, err
	}
	st := &storage.State{Key: key, Parent: s.key, Stage: s.ast.Name(), Instruction: o.text, Created: b.now()}
	if st.Chain, err = snap.commit(ctx, placed); err != nil {
		return nil, err
	}
	if b.Cache != CacheOff {
		if err := b.store.PutState(ctx, *st); err != nil {
			return nil, err
		}
	}
	return st, nil
}

func (b *builder) now() time.Time {
	if b.Epoch != nil {
		return *b.Epoch
	}
	return time.Now().UTC().Truncate(time.Second)
}

// advance makes st the stage's state. A state's chain holds what it adds: one
// tree, or none if nothing changed.
func (s *stage) advance(st *storage.State, text string) {
	s.key, s.when = st.Key, st.Created
	s.chain = append(slices.Clip(s.chain), st.Chain...)
	s.states = append(slices.Clip(s.states), *st)
	s.history(text, len(st.Chain) == 0)
}

// ready sees to it that the files of the stage and their records are here.
func (s *stage) ready(ctx context.Context) error {
	if err := s.b.fetch(ctx, s.chain); err != nil {
		return err
	}
	tables := []fakeroot.Table{s.owners}
	for _, id := range s.chain[s.merged:] {
		t, err := s.b.store.Owners(id)
		if err != nil {
			return err
		}
		tables = append(tables, t)
	}
	if len(tables) > 1 {
		s.owners = fakeroot.Merge(tables...)
	}
	s.merged = len(s.chain)
	return nil
}

// chainOwners merges the records of a chain of trees.
func (b *builder) chainOwners(chain []storage.TreeID) (fakeroot.Table, error) {
	return Owners(b.store, chain)
}

// Owners are the records in force for a chain of trees.
func Owners(store *storage.Store, chain []storage.TreeID) (fakeroot.Table, error) {
	tables := make([]fakeroot.Table, len(chain))
	for i, id := range chain {
		var err error
		if tables[i], err = store.Owners(id); err != nil {
			return nil, err
		}
	}
	return fakeroot.Merge(tables...), nil
}
