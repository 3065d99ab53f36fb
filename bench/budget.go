package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// budget is one line of the file budgets.
type budget struct {
	name   string   // case
	tool   string   // what has to keep it
	metric string   // wall, cpu or memory
	peers  []string // the best of them is compared with; none: limit is absolute
	limit  float64  // ratio, seconds or bytes
	line   int
}

// readBudgets parses the lines "CASE TOOL METRIC PEER[,PEER]... LIMIT"; # begins
// a comment, PEER "-" makes the limit one with a unit: ms, s, MB.
func readBudgets(file string) ([]budget, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var out []budget
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(f) != 5 {
			return nil, fmt.Errorf("%s:%d: %d fields, not 5", file, n, len(f))
		}
		b := budget{name: f[0], tool: f[1], metric: f[2], line: n}
		if b.metric != "wall" && b.metric != "cpu" && b.metric != "memory" {
			return nil, fmt.Errorf("%s:%d: unknown metric %q", file, n, b.metric)
		}
		number, unit := f[4], 1.0
		if f[3] != "-" {
			b.peers = strings.Split(f[3], ",")
		} else if number, unit = splitUnit(f[4]); unit == 0 {
			return nil, fmt.Errorf("%s:%d: %q has no unit: ms, s or MB", file, n, f[4])
		}
		v, err := strconv.ParseFloat(number, 64)
		if err != nil || v <= 0 {
			return nil, fmt.Errorf("%s:%d: %q is no limit", file, n, f[4])
		}
		b.limit = v * unit
		out = append(out, b)
	}
	return out, nil
}

func splitUnit(s string) (number string, unit float64) {
	for _, u := range []struct {
		name string
		unit float64
	}{{"ms", 1e-3}, {"s", 1}, {"MB", 1e6}} {
		if number, ok := strings.CutSuffix(s, u.name); ok {
			return number, u.unit
		}
	}
	return s, 0
}

// verdict is what became of a budget.
type verdict int

const (
	kept    verdict = iota
	noise           // missed, but the interval reaches the limit
	missed          // missed by more than the noise
	unknown         // not measured
)

// judge compares results with a budget, and says in words what it found.
func (b *budget) judge(r *results) (verdict, string) {
	for i := range r.Cases {
		c := &r.Cases[i]
		if c.Name != b.name {
			continue
		}
		t := c.tool(b.tool)
		switch {
		case c.Quick:
			return unknown, "measured with small images only"
		case t == nil:
			return unknown, "no tool " + b.tool
		case t.Error != "":
			return missed, b.tool + ": " + t.Error
		}
		if b.peers == nil {
			return b.absolute(t.values(b.metric))
		}
		return b.relative(c, t.values(b.metric))
	}
	return unknown, "not measured"
}

// absolute compares with a limit in seconds or bytes. The noise is what the
// rounds differ by: the best of them may keep it.
func (b *budget) absolute(v []float64) (verdict, string) {
	unit := duration
	if b.metric == "memory" {
		unit = size
	}
	m := median(v)
	least, most := extent(v)
	words := fmt.Sprintf("%s (%s - %s), at most %s", unit(m), unit(least), unit(most), unit(b.limit))
	return b.verdict(m, least), words
}

// relative compares with the best of the peers that could do it.
func (b *budget) relative(c *caseResult, v []float64) (verdict, string) {
	var best *toolResult
	for _, p := range b.peers {
		t := c.tool(p)
		if t != nil && t.Error == "" && (best == nil || median(t.values(b.metric)) < median(best.values(b.metric))) {
			best = t
		}
	}
	if best == nil {
		return unknown, "no peer could do it"
	}
	r := ratioOf(v, best.values(b.metric))
	return b.verdict(r.Value, r.Low), fmt.Sprintf("%v of %s, at most %s", r, best.Name, digits(b.limit))
}

func (b *budget) verdict(value, low float64) verdict {
	switch {
	case value <= b.limit:
		return kept
	case low <= b.limit:
		return noise
	}
	return missed
}

// check prints the fate of every budget and reports whether none is missed. A
// budget without a measurement is told but does not fail.
func check(w io.Writer, r *results, budgets []budget) bool {
	ok := true
	words := []string{"kept", "noise", "MISSED", "unknown"}
	for i := range budgets {
		b := &budgets[i]
		v, text := b.judge(r)
		fmt.Fprintf(w, "%-8s %-22s %-7s %s\n", words[v], b.name, b.metric, text)
		ok = ok && v != missed
	}
	return ok
}
