package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"virga/image"
	"virga/storage"
)

// KeptError is the failure of a RUN whose stage, as it was before, can be
// looked into under the id State.
type KeptError struct {
	State string
	Err   error
}

func (e *KeptError) Error() string { return e.Err.Error() }

func (e *KeptError) Unwrap() error { return e.Err }

// Kept is a stage as it was before a RUN that failed.
type Kept struct {
	Chain   []storage.TreeID // bottom first
	Run     image.RunConfig  // Env as the RUN saw it, WorkingDir, User, Shell
	Args    []string         // the command that failed
	Written string           // the instruction
}

// keptConfig is the Kept member of a kept state's record.
type keptConfig struct {
	Kept *image.RunConfig
	Args []string
}

// keptDigits is how much of a kept state's key is shown.
const keptDigits = 12

// keep records the stage as it is, so that failed can be found out about, and
// adds the record's id to it. The cache mode does not matter: what is recorded
// is no result. The same failure has the same record.
func (s *stage) keep(ctx context.Context, failed error, run runKey, text string) error {
	if len(s.chain) == 0 || ctx.Err() != nil {
		return failed
	}
	config := s.set.RunConfig
	config.Env = run.Env
	key, err := stateKey(s.key, struct{ Kept runKey }{run})
	if err == nil {
		var raw []byte
		if raw, err = json.Marshal(keptConfig{&config, run.Args}); err == nil {
			err = s.b.store.PutState(ctx, storage.State{Key: key, Parent: s.key, Chain: s.chain, Kept: raw, Instruction: text, Created: s.b.now()})
		}
	}
	if err != nil {
		s.b.log.Warn("keep the state before the failure", "error", err)
		return failed
	}
	return &KeptError{State: key[:keptDigits], Err: failed}
}

// FindKept finds a kept stage by its id, or the beginning of it.
func FindKept(ctx context.Context, store *storage.Store, id string) (*Kept, error) {
	found, err := store.FindStates(ctx, id)
	if err != nil {
		return nil, err
	}
	var out *Kept
	for _, st := range found {
		var c keptConfig
		if json.Unmarshal(st.Kept, &c) != nil || c.Kept == nil {
			continue
		}
		if out != nil {
			return nil, fmt.Errorf("state %q: several begin so", id)
		}
		out = &Kept{Chain: st.Chain, Run: *c.Kept, Args: c.Args, Written: st.Instruction}
	}
	if out == nil {
		return nil, &noStateError{id}
	}
	err = store.Pin(ctx, out.Chain...)
	if missing := (*storage.MissingError)(nil); errors.As(err, &missing) {
		return nil, &noStateError{id}
	}
	return out, err
}

// noStateError says that no such state is kept.
type noStateError struct{ id string }

func (e *noStateError) Error() string { return fmt.Sprintf("state %q: not kept", e.id) }

func (e *noStateError) Unwrap() error { return storage.ErrNotFound }

// Hint says where ids come from.
func (e *noStateError) Hint() string {
	return "a build whose RUN fails prints the id; what is not used is removed by prune in time"
}
