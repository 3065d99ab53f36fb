package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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
		if st, key := b.aliased(ctx, s.key, o.alias); st != nil {
			return s.hit(key, st, o)
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
		return s.hit(key, st, o)
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
	b.started(o.step)
	if st, err = s.compute(ctx, key, o); err != nil {
		return err
	}
	b.putAlias(ctx, s.key, o.alias, st)
	return s.advance(key, st, o.text)
}

func (s *stage) hit(key string, st *storage.State, o op) error {
	o.step.Flag = '*'
	s.plain = nil
	s.b.started(o.step)
	return s.advance(key, st, o.text)
}

// aliased finds the state that an alias stood for the last time. Any trouble
// means that there is none.
func (b *builder) aliased(ctx context.Context, parent string, alias any) (*storage.State, string) {
	key, err := stateKey(parent, alias)
	if err != nil {
		return nil, ""
	}
	rec, err := b.store.GetState(key)
	if err != nil || rec.Alias == "" {
		return nil, ""
	}
	st, err := b.cached(ctx, rec.Alias)
	if err != nil || st == nil {
		return nil, ""
	}
	return st, rec.Alias
}

// putAlias remembers what alias stands for. Losing it costs time only.
func (b *builder) putAlias(ctx context.Context, parent string, alias any, st *storage.State) {
	if alias == nil || b.Cache == CacheOff {
		return
	}
	key, err := stateKey(parent, alias)
	if err == nil {
		err = b.store.PutState(ctx, storage.State{Key: key, Parent: parent, Chain: st.Chain, Alias: st.Key, Instruction: st.Instruction, Created: st.Created})
	}
	if err != nil {
		b.log.Warn("remember where a result came from", "error", err)
	}
}

// cached finds a state whose trees are there, and holds on to them. A record
// that cannot be used is no error: it costs the work again.
func (b *builder) cached(ctx context.Context, key string) (*storage.State, error) {
	st, err := b.store.GetState(key)
	if err == nil {
		err = b.store.Pin(ctx, st.Chain...)
	}
	switch {
	case err == nil:
		return st, nil
	case errors.Is(err, storage.ErrNotFound), errors.Is(err, storage.ErrCorrupt):
		return nil, nil
	}
	return nil, err
}

// compute runs the operation in a fresh snapshot and stores what it changed.
func (s *stage) compute(ctx context.Context, key string, o op) (_ *storage.State, err error) {
	b := s.b
	var snap *snapshot
	if b.overlayWorks(ctx) {
		snap, err = b.mount(ctx, s.chain, s.owners, o.stubs)
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
func (s *stage) advance(key string, st *storage.State, text string) error {
	s.key, s.when = key, st.Created
	for _, id := range st.Chain {
		delta, err := s.b.store.Owners(id)
		if err != nil {
			return err
		}
		s.chain, s.owners = append(slices.Clip(s.chain), id), mergeOwners(s.owners, delta)
	}
	s.history(text, len(st.Chain) == 0)
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
	return mergeOwners(tables...), nil
}

// mergeOwners is the records in force for a chain. Those that stand for
// deleted files are of no use any more.
func mergeOwners(tables ...fakeroot.Table) fakeroot.Table {
	out := fakeroot.Merge(tables...)
	maps.DeleteFunc(out, func(_ string, r fakeroot.Record) bool { return r.Equal(whiteoutRecord) })
	return out
}
