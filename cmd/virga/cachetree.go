package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"virga/storage"
)

// cacheNode is a state and those made from it.
type cacheNode struct {
	storage.StateUsage
	children []*cacheNode
}

// cacheRoot is what states stand on: images, scratch, or what is no longer in
// storage.
type cacheRoot struct {
	key      string
	names    []string
	children []*cacheNode
}

// cacheForest puts the states in order. bases names the keys that are not
// states.
func cacheForest(u *storage.Usage, bases map[string][]string) []*cacheRoot {
	nodes := map[string]*cacheNode{}
	for _, s := range u.ByState {
		nodes[s.Key] = &cacheNode{StateUsage: s}
	}
	roots := map[string]*cacheRoot{}
	for _, s := range u.ByState {
		n := nodes[s.Key]
		if p := nodes[s.Parent]; p != nil {
			p.children = append(p.children, n)
			continue
		}
		if roots[s.Parent] == nil {
			roots[s.Parent] = &cacheRoot{key: s.Parent, names: bases[s.Parent]}
		}
		roots[s.Parent].children = append(roots[s.Parent].children, n)
	}
	out := make([]*cacheRoot, 0, len(roots))
	for _, r := range roots {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *cacheRoot) int {
		return cmp.Or(cmp.Compare(len(b.names), len(a.names)), slices.Compare(a.names, b.names), cmp.Compare(a.key, b.key))
	})
	return out
}

// title is what a root is called.
func (r *cacheRoot) title() string {
	if len(r.names) == 0 {
		return "(a base image that is not in storage)"
	}
	return strings.Join(r.names, ", ")
}

// ends are the images that a node is the last instruction of.
func (n *cacheNode) ends() []string {
	var out []string
	for _, ref := range n.Images {
		if !slices.ContainsFunc(n.children, func(c *cacheNode) bool { return c.holds(ref) }) {
			out = append(out, ref)
		}
	}
	return out
}

// holds reports whether a node, or one without files of its own whose
// children do, is part of an image.
func (n *cacheNode) holds(ref string) bool {
	return slices.Contains(n.Images, ref) ||
		n.Bytes == 0 && slices.ContainsFunc(n.children, func(c *cacheNode) bool { return c.holds(ref) })
}

func (n *cacheNode) label(max int) string {
	text := instructionText(n.StateUsage, max)
	if n.Failed {
		text = "(failed) " + text
	}
	if n.Stage != "" {
		text = n.Stage + ": " + text
	}
	return text
}

// glyphs are the lines of a tree.
type glyphs struct{ fork, last, through string }

// glyphs are box drawings where the locale has them.
func (env *environment) glyphs() glyphs {
	locale := cmp.Or(env.getenv("LC_ALL"), env.getenv("LC_CTYPE"), env.getenv("LANG"))
	if l := strings.ToLower(locale); strings.Contains(l, "utf-8") || strings.Contains(l, "utf8") {
		return glyphs{"├─ ", "└─ ", "│  "}
	}
	return glyphs{"|- ", "`- ", "|  "}
}

// forestPrinter prints the trees. Instructions that follow each other stand
// below each other; only where ways part are they indented.
type forestPrinter struct {
	w   *bufio.Writer
	g   glyphs
	now time.Time
}

func printForest(w io.Writer, roots []*cacheRoot, g glyphs, now time.Time) error {
	p := forestPrinter{bufio.NewWriter(w), g, now}
	if len(roots) > 0 {
		p.line("SIZE", "LAST USED", "INSTRUCTION")
	}
	for _, r := range roots {
		p.line("", "", r.title())
		p.branch(r.children, "  ")
	}
	return p.w.Flush()
}

func (p *forestPrinter) line(size, used, text string) {
	fmt.Fprintf(p.w, "%7s  %-14s  %s\n", size, used, text)
}

// branch prints nodes of one parent.
func (p *forestPrinter) branch(nodes []*cacheNode, indent string) {
	if len(nodes) == 1 {
		p.chain(nodes[0], indent, indent)
		return
	}
	for i, n := range nodes {
		if i < len(nodes)-1 {
			p.chain(n, indent+p.g.fork, indent+p.g.through)
		} else {
			p.chain(n, indent+p.g.last, indent+"   ")
		}
	}
}

// chain prints a node and what follows it, the first line after first, the
// others after rest.
func (p *forestPrinter) chain(n *cacheNode, first, rest string) {
	for indent := first; ; indent = rest {
		text := indent + n.label(100)
		if ends := n.ends(); len(ends) > 0 {
			text += "  [" + strings.Join(ends, ", ") + "]"
		}
		p.line(humanSize(n.Bytes), humanAge(p.now.Sub(n.LastUsed)), text)
		if len(n.children) != 1 {
			break
		}
		n = n.children[0]
	}
	p.branch(n.children, rest)
}

// writeDot writes the forest in Graphviz' language: boxes are instructions,
// ellipses images.
func writeDot(w io.Writer, roots []*cacheRoot) error {
	b := bufio.NewWriter(w)
	fmt.Fprint(b, "digraph \"build cache\" {\n  node [fontname=\"sans-serif\"];\n")
	var walk func(from string, nodes []*cacheNode)
	walk = func(from string, nodes []*cacheNode) {
		for _, n := range nodes {
			fmt.Fprintf(b, "  %s [shape=box, label=%s];\n  %s -> %s;\n",
				dotQuote(n.Key), dotQuote(n.label(60)+"\n"+humanSize(n.Bytes)), dotQuote(from), dotQuote(n.Key))
			for _, ref := range n.ends() {
				fmt.Fprintf(b, "  %s [shape=ellipse, label=%s];\n  %s -> %s [style=dashed];\n",
					dotQuote("image "+ref), dotQuote(ref), dotQuote(n.Key), dotQuote("image "+ref))
			}
			walk(n.Key, n.children)
		}
	}
	for _, r := range roots {
		fmt.Fprintf(b, "  %s [shape=folder, label=%s];\n", dotQuote(r.key), dotQuote(r.title()))
		walk(r.key, r.children)
	}
	fmt.Fprintln(b, "}")
	return b.Flush()
}

// dotQuote is a quoted string of the DOT language, in which only the quote and
// the backslash are special, and \n is a new line of a label.
func dotQuote(s string) string {
	s = strings.Map(func(r rune) rune {
		if r != '\n' && !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}
