package build

import (
	"fmt"
	"strconv"
	"strings"

	"virga/parser"
)

// graph is the stages of a Dockerfile and which of them each one needs.
type graph struct {
	stages []*parser.Stage
	target int
	needs  [][]int // by stage, ascending, without duplicates
}

// newGraph finds the dependencies: FROM, COPY --from, RUN --mount from=. from
// holds the stages' expanded base names; named tells which names are
// --build-contexts and so hide stages. target is a stage name or number, ""
// for the last one.
func newGraph(f *parser.File, from []string, named func(string) bool, target string) (*graph, error) {
	g := &graph{stages: f.Stages, needs: make([][]int, len(f.Stages)), target: len(f.Stages) - 1}
	for i, s := range f.Stages {
		if n, ok := g.byName(from[i], i, false); ok && !named(from[i]) {
			g.need(i, n)
		}
		for _, in := range s.Instructions {
			for _, ref := range references(in) {
				if n, ok := g.byName(ref, i, true); ok && !named(ref) {
					g.need(i, n)
				}
			}
		}
	}
	if target == "" {
		return g, nil
	}
	n, ok := g.byName(target, len(f.Stages), true)
	if !ok {
		return nil, fmt.Errorf("target %q: no such stage in %s", target, f.Name)
	}
	g.target = n
	return g, nil
}

// references are the stages that an instruction names.
func references(in parser.Instruction) []string {
	switch in := in.(type) {
	case *parser.Copy:
		if in.From.Text != "" {
			return []string{in.From.Text}
		}
	case *parser.Run:
		var out []string
		for _, m := range in.Mounts {
			if m.From != "" {
				out = append(out, m.From)
			}
		}
		return out
	case *parser.Onbuild:
		return nil
	}
	return nil
}

// byName finds the last stage before stage before that has the name, in any
// case, or if numbers is set the number. FROM takes no numbers.
func (g *graph) byName(name string, before int, numbers bool) (int, bool) {
	for i := before - 1; i >= 0; i-- {
		if n := g.stages[i].Name(); n != "" && n == strings.ToLower(name) {
			return i, true
		}
	}
	if n, err := strconv.Atoi(name); err == nil && numbers && n >= 0 && n < before {
		return n, true
	}
	return 0, false
}

func (g *graph) need(stage, other int) {
	for _, n := range g.needs[stage] {
		if n == other {
			return
		}
	}
	g.needs[stage] = append(g.needs[stage], other)
}

// wanted marks the target and everything it needs.
func (g *graph) wanted() []bool {
	out := make([]bool, len(g.stages))
	var mark func(int)
	mark = func(i int) {
		if out[i] {
			return
		}
		out[i] = true
		for _, n := range g.needs[i] {
			mark(n)
		}
	}
	mark(g.target)
	return out
}
