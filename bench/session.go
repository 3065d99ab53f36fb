package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// results are what is kept in results/DATE.json: a session's, or those of
// several of one day, the later for the same case.
type results struct {
	Machine  machine
	Versions []string
	Cases    []caseResult
}

// caseResult is one case as measured.
type caseResult struct {
	Name, Title string
	Curve       string  `json:",omitempty"`
	X           float64 `json:",omitempty"`
	Quick       bool    `json:",omitempty"`
	Commit      string  // of virga
	Time        time.Time
	Tools       []toolResult
}

// toolResult is one tool's part.
type toolResult struct {
	Name    string
	Note    string    `json:",omitempty"`
	Command string    // as timed
	Error   string    `json:",omitempty"` // why there are no samples
	Wall    []float64 `json:",omitempty"`
	CPU     []float64 `json:",omitempty"`
	Mem     []float64 `json:",omitempty"`
}

// values are the samples of a metric: wall, cpu or memory.
func (t *toolResult) values(metric string) []float64 {
	switch metric {
	case "cpu":
		return t.CPU
	case "memory":
		return t.Mem
	}
	return t.Wall
}

func (c *caseResult) tool(name string) *toolResult {
	for i := range c.Tools {
		if c.Tools[i].Name == name {
			return &c.Tools[i]
		}
	}
	return nil
}

// session measures cases.
type session struct {
	w      *workspace
	rounds int
	quick  bool
	commit string
	log    io.Writer
}

// measure runs a case: the setups, one round that is not counted, then rounds
// that are. A tool that fails once is out, with its error.
func (s *session) measure(ctx context.Context, c *benchCase) caseResult {
	res := caseResult{Name: c.name, Title: os.Expand(c.title, s.w.variable), Curve: c.curve, X: c.x, Quick: s.quick, Commit: s.commit, Time: time.Now().UTC().Truncate(time.Second)}
	for _, t := range c.tools {
		r := toolResult{Name: t.name, Note: t.note, Command: shorten(t.run)}
		if err := s.w.do(ctx, t.setup, 0); err != nil {
			r.Error = "setup: " + err.Error()
		}
		res.Tools = append(res.Tools, r)
	}
	for round := 0; round <= s.rounds; round++ {
		for _, i := range order(len(c.tools), round) {
			if r := &res.Tools[i]; r.Error == "" {
				s.once(ctx, &c.tools[i], r, round)
			}
		}
	}
	for i, t := range c.tools {
		if err := s.w.do(ctx, t.cleanup, 0); err != nil && res.Tools[i].Error == "" {
			fmt.Fprintf(s.log, "%s: %s: cleanup: %v\n", c.name, t.name, err)
		}
	}
	for _, t := range res.Tools {
		if t.Error != "" {
			fmt.Fprintf(s.log, "%-24s %-16s %s\n", c.name, t.Name, t.Error)
			continue
		}
		fmt.Fprintf(s.log, "%-24s %-16s %10s wall %10s cpu %10s memory\n", c.name, t.Name, duration(median(t.Wall)), duration(median(t.CPU)), size(median(t.Mem)))
	}
	return res
}

// once is one run of one tool. Every round has a number that no other session
// has, so that what a tool remembers of the last one is not taken for a hit.
func (s *session) once(ctx context.Context, t *tool, r *toolResult, round int) {
	number := int(time.Now().UnixMilli())
	fail := func(what string, err error) {
		r.Error = what + err.Error()
		r.Wall, r.CPU, r.Mem = nil, nil, nil
	}
	if t.prepare != "" {
		if err := s.w.do(ctx, t.prepare, number); err != nil {
			fail("prepare: ", err)
			return
		}
		syscall.Sync() // what was prepared is not paid for by what follows
	}
	sample, err := s.w.time(ctx, t.run, number)
	if err == nil {
		err = s.w.do(ctx, t.check, number)
	}
	switch {
	case err != nil:
		fail("", err)
	case round > 0:
		r.Wall, r.CPU, r.Mem = append(r.Wall, sample.Wall), append(r.CPU, sample.CPU), append(r.Mem, sample.Mem)
	}
}

// order is that of n tools in a round: every second round is the one before
// backwards, and every second time another is first.
func order(n, round int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = (i + round/2) % n
	}
	if round%2 == 1 {
		slices.Reverse(out)
	}
	return out
}

// load reads results; a file that is not there holds none.
func load(file string) (*results, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return &results{}, nil
	}
	if err != nil {
		return nil, err
	}
	var r results
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &r, nil
}

// newest is the last results file in dir.
func newest(dir string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return "", err
	}
	if len(files) == 0 {
		return "", fmt.Errorf("%s: no results: make bench", dir)
	}
	return slices.Max(files), nil
}

// put adds a case, in place of an older one of its name.
func (r *results) put(c caseResult) {
	for i := range r.Cases {
		if r.Cases[i].Name == c.Name {
			r.Cases[i] = c
			return
		}
	}
	r.Cases = append(r.Cases, c)
}

// save writes the results as JSON and as a page.
func (r *results) save(dir, name string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, name+".json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".md"), []byte(r.page(name)), 0o644)
}
