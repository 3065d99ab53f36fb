package build

import (
	"context"
	"errors"
	"fmt"

	"virga/fakeroot"
	"virga/storage"
)

// Cache is where other machines leave states and find them: registries and
// directories. Trouble with it costs time and is no error of the build.
type Cache interface {
	// Find returns the state of a key, nil if it is not known. Its tree may
	// still have to be fetched.
	Find(ctx context.Context, key string) *storage.State
	// Fetch brings the trees of states that Find returned into storage, bottom
	// first. below is the chain underneath and lower its records. After an error
	// Find no longer returns what cannot be fetched.
	Fetch(ctx context.Context, states []storage.State, below []storage.TreeID, lower fakeroot.Table) error
	// Store leaves states: those of the image and those of all stages built.
	Store(ctx context.Context, image, all []storage.State) error
}

// fetchError says that a state which was counted on could not be had.
type fetchError struct{ error }

// distant is the states of which some were found elsewhere and not fetched
// yet, by their tree.
type distant struct {
	state   storage.State
	aliases []storage.State // records that stand for it
}

// aliased finds the state that an alias stood for the last time. Any trouble
// means that there is none.
func (b *builder) aliased(ctx context.Context, parent string, alias any) *storage.State {
	key, err := stateKey(parent, alias)
	if err != nil {
		return nil
	}
	rec, err := b.store.GetState(key)
	here := err == nil
	if !here {
		if rec = b.find(ctx, key); rec == nil {
			return nil
		}
	}
	if rec.Alias == "" {
		return nil
	}
	st, err := b.cached(ctx, rec.Alias)
	if err != nil || st == nil {
		return nil
	}
	rec.Chain = st.Chain
	b.remember(ctx, st, *rec, !here)
	return st
}

// putAlias remembers what alias stands for. Losing it costs time only.
func (b *builder) putAlias(ctx context.Context, parent string, alias any, st *storage.State) {
	if alias == nil {
		return
	}
	key, err := stateKey(parent, alias)
	if err != nil {
		b.log.Warn("remember where a result came from", "error", err)
		return
	}
	rec := storage.State{Key: key, Parent: parent, Chain: st.Chain, Alias: st.Key, Instruction: st.Instruction, Created: st.Created}
	b.remember(ctx, st, rec, b.Cache != CacheOff)
}

// remember keeps the record of an alias for other machines and, if put is
// set, in storage, as soon as the tree is there.
func (b *builder) remember(ctx context.Context, st *storage.State, rec storage.State, put bool) {
	b.mu.Lock()
	b.aliases[st.Key] = append(b.aliases[st.Key], rec)
	if d := b.distant[treeOf(st)]; d != nil && put {
		d.aliases = append(d.aliases, rec)
		put = false
	}
	b.mu.Unlock()
	if !put {
		return
	}
	if err := b.store.PutState(ctx, rec); err != nil {
		b.log.Warn("remember where a result came from", "error", err)
	}
}

// treeOf is the tree that a state adds, or "".
func treeOf(st *storage.State) storage.TreeID {
	if len(st.Chain) == 0 {
		return ""
	}
	return st.Chain[len(st.Chain)-1]
}

// cached finds a state, and holds on to its trees if they are here. A record
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
		return b.elsewhere(ctx, key)
	}
	return nil, err
}

func (b *builder) find(ctx context.Context, key string) *storage.State {
	if b.Remote == nil {
		return nil
	}
	return b.Remote.Find(ctx, key)
}

// elsewhere looks for a state that is not here. Its files are fetched when
// they are needed, which for a stage that is only copied from may be never.
func (b *builder) elsewhere(ctx context.Context, key string) (*storage.State, error) {
	st := b.find(ctx, key)
	if st == nil {
		return nil, nil
	}
	if id := treeOf(st); id != "" {
		err := b.store.Pin(ctx, id)
		if errors.Is(err, storage.ErrNotFound) {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.distant[id] == nil {
				b.distant[id] = &distant{state: *st}
			}
			return st, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return st, b.store.PutState(ctx, *st)
}

// fetch brings the trees of a chain here that are still elsewhere.
func (b *builder) fetch(ctx context.Context, chain []storage.TreeID) error {
	b.fetching.Lock()
	defer b.fetching.Unlock()
	b.mu.Lock()
	var missing []*distant
	first := len(chain)
	for i, id := range chain {
		if d := b.distant[id]; d != nil {
			missing = append(missing, d)
			first = min(first, i)
		}
	}
	b.mu.Unlock()
	if len(missing) == 0 {
		return nil
	}
	lower, err := b.chainOwners(chain[:first])
	if err != nil {
		return err
	}
	states := make([]storage.State, len(missing))
	for i, d := range missing {
		states[i] = d.state
	}
	if err := b.Remote.Fetch(ctx, states, chain[:first], lower); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &fetchError{err}
	}
	b.mu.Lock()
	var records []storage.State
	for _, d := range missing {
		records = append(append(records, d.state), d.aliases...)
		delete(b.distant, treeOf(&d.state))
	}
	b.mu.Unlock()
	for _, rec := range records {
		if err := b.store.PutState(ctx, rec); err != nil {
			return fmt.Errorf("remember what was fetched: %w", err)
		}
	}
	return nil
}

// leave stores the states of the build where others look for them.
func (b *builder) leave(ctx context.Context, target *stage) error {
	if b.Remote == nil {
		return nil
	}
	var all []storage.State
	seen := map[string]bool{}
	add := func(states []storage.State) {
		for _, st := range states {
			for _, rec := range append([]storage.State{st}, b.aliases[st.Key]...) {
				if !seen[rec.Key] {
					seen[rec.Key] = true
					all = append(all, rec)
				}
			}
		}
	}
	add(target.states)
	n := len(all)
	for i, want := range b.graph.wanted() {
		if want {
			add(b.stages[i].states)
		}
	}
	return b.Remote.Store(ctx, all[:n:n], all)
}
