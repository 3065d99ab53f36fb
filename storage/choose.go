package storage

import (
	"os"
	"slices"
	"time"
)

// victims are the states, by path, and the cache directories, by name, to
// give up.
type victims struct{ states, mounts map[string]bool }

// choose finds what the policy gives up.
func (s *Store) choose(c *contents, p Policy) *victims {
	v := &victims{states: map[string]bool{}, mounts: map[string]bool{}}
	r := s.fixedRefs(c)
	used := c.lastUses()
	for path, st := range c.states {
		old := p.Until.IsZero() || used[path].Before(p.Until)
		switch {
		case st.bad, p.ResetCache, !c.have(st.chain):
			v.states[path] = true
		case p.aged() && old && !r.all(st.chain) && p.concerns(st.chain):
			v.states[path] = true
		}
	}
	for name, m := range c.mounts {
		old := p.Until.IsZero() || m.used.Before(p.Until)
		if !c.pins["m-"+name] && (p.Mounts || p.aged() && old && p.Of == nil) {
			v.mounts[name] = true
		}
	}
	if p.KeepStorage > 0 {
		c.bound(v, r, used, p.KeepStorage)
	}
	return v
}

// aged reports whether states go by their age.
func (p *Policy) aged() bool { return p.All || !p.Until.IsZero() }

// concerns reports whether a state with these trees may go by its age.
func (p *Policy) concerns(chain []TreeID) bool {
	return p.Of == nil || slices.ContainsFunc(chain, func(id TreeID) bool { return p.Of[id] })
}

// lastUses tells when each state, by path, was used the last time. A state is
// used with those that were made from it, so that it never looks older.
func (c *contents) lastUses() map[string]time.Time {
	byKey := make(map[string]string, len(c.states))
	for path, st := range c.states {
		if st.key != "" {
			byKey[st.key] = path
		}
	}
	used := make(map[string]time.Time, len(c.states))
	for path, st := range c.states {
		at := st.used
		for range c.states { // a damaged record may name itself as its parent
			if !at.After(used[path]) {
				break
			}
			used[path] = at
			if path = byKey[c.states[path].parent]; path == "" {
				break
			}
			at = at.Add(time.Nanosecond) // of one time, what was made last goes first
		}
	}
	return used
}

// bound adds what was used longest ago to the victims until the rest needs no
// more than keep bytes beyond what r, images and pins, needs anyway.
func (c *contents) bound(v *victims, r *refs, used map[string]time.Time, keep int64) {
	type candidate struct {
		name  string
		state *stateInfo // nil: a cache directory
		used  time.Time
	}
	var all []candidate
	fixed := r.bytes
	for path, st := range c.states {
		if !v.states[path] && !r.all(st.chain) {
			all = append(all, candidate{path, st, used[path]})
		}
	}
	for _, a := range all {
		r.addState(a.state, 1)
	}
	for name, m := range c.mounts {
		if !v.mounts[name] && !c.pins["m-"+name] {
			r.bytes += m.bytes
			all = append(all, candidate{name, nil, m.used})
		}
	}
	slices.SortFunc(all, func(a, b candidate) int { return a.used.Compare(b.used) })
	for _, a := range all {
		if r.bytes-fixed <= keep {
			return
		}
		if a.state == nil {
			r.bytes -= c.mounts[a.name].bytes
			v.mounts[a.name] = true
			continue
		}
		r.addState(a.state, -1)
		v.states[a.name] = true
	}
}

// spare drops the victims that are gone or were used meanwhile.
func (v *victims) spare(s *Store, p Policy, before, now *contents) {
	for path := range v.states {
		was, is := before.states[path], now.states[path]
		if is == nil || !p.ResetCache && !is.used.Equal(was.used) {
			delete(v.states, path)
		}
	}
	for name := range v.mounts {
		info, err := os.Lstat(s.path(mountsDir, name))
		if err != nil || now.pins["m-"+name] || !p.Mounts && !info.ModTime().Equal(before.mounts[name].used) {
			delete(v.mounts, name)
		}
	}
}
