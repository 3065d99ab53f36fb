package main

import (
	"fmt"
	"math"
	"strings"
)

// page is the results as Markdown.
func (r *results) page(name string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Measurements of %s\n\n", name)
	m := r.Machine
	fmt.Fprintf(&b, "%d x %s, %s of memory, Linux %s, %s, %s.\n", m.Cores, m.CPU, size(float64(m.Memory)), m.Kernel, m.System, m.Files)
	fmt.Fprintf(&b, "Tools: %s.\n\n", strings.Join(r.Versions, ", "))
	b.WriteString("Medians of the rounds after one that is not counted; all tools run in each round, in changing order. CPU is user and\n" +
		"system time of all processes; memory the resident set of the largest one (the harness's own, some 10 MB, is the least\n" +
		"that can be seen). The ratio is virga's median divided by the tool's, with the interval that holds it with 95 %\n" +
		"confidence (bootstrap over rounds).\n")
	for i := range r.Cases {
		r.Cases[i].section(&b)
	}
	return b.String()
}

func (c *caseResult) section(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %s\n\n%s.", c.Name, c.Title)
	virga := c.subject()
	if virga != nil {
		fmt.Fprintf(b, " %d rounds, virga %s.", len(virga.Wall), c.Commit)
	}
	if c.Quick {
		b.WriteString(" Small images: the figures say nothing.")
	}
	b.WriteString("\n\n| tool | wall | min - max | CPU | memory | wall ratio | CPU ratio |\n|---|---|---|---|---|---|---|\n")
	var notes []string
	for i := range c.Tools {
		t := &c.Tools[i]
		if t.Note != "" {
			notes = append(notes, fmt.Sprintf("%s: %s", t.Name, t.Note))
		}
		if t.Error != "" {
			fmt.Fprintf(b, "| %s | cannot: %s | | | | | |\n", t.Name, strings.ReplaceAll(t.Error, "|", `\|`))
			continue
		}
		wall, cpu := "", ""
		if virga != nil && t != virga {
			wall, cpu = ratioOf(virga.Wall, t.Wall).String(), ratioOf(virga.CPU, t.CPU).String()
		}
		least, most := extent(t.Wall)
		fmt.Fprintf(b, "| %s | %s | %s - %s | %s | %s | %s | %s |\n", t.Name, duration(median(t.Wall)), duration(least), duration(most),
			duration(median(t.CPU)), size(median(t.Mem)), wall, cpu)
	}
	if len(notes) > 0 {
		fmt.Fprintf(b, "\n%s.\n", strings.Join(notes, "; "))
	}
}

// subject is the tool that the others are compared with: the first, which has
// to have worked.
func (c *caseResult) subject() *toolResult {
	if len(c.Tools) == 0 || c.Tools[0].Error != "" {
		return nil
	}
	return &c.Tools[0]
}

func (r ratio) String() string {
	if math.IsNaN(r.Value) || math.IsInf(r.Value, 0) {
		return "-"
	}
	return fmt.Sprintf("%s (%s - %s)", digits(r.Value), digits(r.Low), digits(r.High))
}

// digits writes a number with two or three digits that count.
func digits(v float64) string {
	switch {
	case v < 0.1:
		return fmt.Sprintf("%.3f", v)
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func duration(s float64) string {
	switch {
	case math.IsNaN(s):
		return "-"
	case s < 0.1:
		return fmt.Sprintf("%.1f ms", s*1e3)
	case s < 1:
		return fmt.Sprintf("%.0f ms", s*1e3)
	}
	return fmt.Sprintf("%.2f s", s)
}

func size(bytes float64) string {
	switch {
	case math.IsNaN(bytes):
		return "-"
	case bytes >= 1e9:
		return fmt.Sprintf("%.1f GB", bytes/1e9)
	}
	return fmt.Sprintf("%.0f MB", bytes/1e6)
}

func extent(v []float64) (least, most float64) {
	least, most = math.Inf(1), math.Inf(-1)
	for _, x := range v {
		least, most = min(least, x), max(most, x)
	}
	return least, most
}
