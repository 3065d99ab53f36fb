package main

import (
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Two kinds of picture are wanted, bars and curves, both with logarithmic axes:
// little enough to write by hand, and no module more in go.mod.

// colours of the tools, the same in all pictures; they differ in lightness too.
var colours = map[string]string{
	"virga": "#0b5cad", "buildah": "#d97706", "podman": "#b45309", "skopeo+umoci": "#6b7280", "skopeo": "#6b7280",
	"ch-image": "#15803d", "ch-run": "#15803d", "tar": "#9ca3af", "bare": "#374151",
}

func colour(tool string) string {
	if c, ok := colours[tool]; ok {
		return c
	}
	return "#9ca3af"
}

// svg collects the elements of a picture.
type svg struct {
	strings.Builder
	width, height float64
}

func (s *svg) add(format string, args ...any) { fmt.Fprintf(s, format+"\n", args...) }

func (s *svg) text(x, y float64, anchor, class, text string) {
	s.add(`<text x="%.1f" y="%.1f" text-anchor="%s" class="%s">%s</text>`, x, y, anchor, class, html.EscapeString(text))
}

// document is the whole file. It has a background, as viewers may be dark.
func (s *svg) document(title string) string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img">
<title>%s</title>
<style>text{font:12px sans-serif;fill:#1f2937}.title{font-size:15px;font-weight:bold}.small{font-size:11px;fill:#4b5563}.group{font-weight:bold}</style>
<rect width="100%%" height="100%%" fill="#ffffff"/>
%s</svg>
`, s.width, s.height, s.width, s.height, html.EscapeString(title), s.String())
}

// bar is one line of a bar chart.
type bar struct {
	label string // of the case, on its first bar
	tool  string
	ratio ratio
}

// barChart shows how many times virga's time others take. The line at 1 is virga.
func barChart(title string, bars []bar) string {
	const left, right, top, step = 230.0, 110.0, 64.0, 20.0
	s := &svg{width: 860}
	least, most := 1.0, 1.0
	y := top
	for _, b := range bars {
		least, most = min(least, b.ratio.Value), max(most, b.ratio.Value)
		if b.label != "" {
			y += 8
		}
		y += step
	}
	s.height = y + 30
	low, high := math.Floor(math.Log10(least)), math.Ceil(math.Log10(most))
	if high == low {
		high++
	}
	at := func(v float64) float64 {
		return left + (math.Log10(v)-low)/(high-low)*(s.width-left-right)
	}
	s.text(16, 26, "start", "title", title)
	s.text(16, 46, "start", "small", "times virga's wall-clock time (logarithmic; the black line is virga, more is slower than virga, thin lines are 95 % intervals)")
	for d := low; d <= high; d++ {
		x := at(math.Pow(10, d))
		s.add(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#e5e7eb"/>`, x, top-4, x, y+4)
		s.text(x, y+20, "middle", "small", times(math.Pow(10, d)))
	}
	one := at(1)
	end := y
	y = top
	for _, b := range bars {
		if b.label != "" {
			y += 8
			s.text(16, y+13, "start", "group", b.label)
		}
		x := at(b.ratio.Value)
		s.text(left-8, y+13, "end", "", b.tool)
		s.add(`<rect x="%.1f" y="%.1f" width="%.1f" height="14" fill="%s"/>`, min(x, one), y+2, max(math.Abs(x-one), 0.5), colour(b.tool))
		s.add(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#111827"/>`, at(b.ratio.Low), y+9, at(b.ratio.High), y+9)
		s.text(max(x, one, at(b.ratio.High))+6, y+13, "start", "", times(b.ratio.Value))
		y += step
	}
	s.add(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#111827" stroke-width="2"/>`, one, top-4, one, end+4)
	return s.document(title)
}

func times(v float64) string {
	switch {
	case v >= 10:
		return fmt.Sprintf("%.0fx", v)
	case v >= 1:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") + "x"
	}
	return fmt.Sprintf("%.3gx", v)
}

// point is one measurement of a curve.
type point struct{ x, y float64 }

// curveChart shows time against size, both logarithmic: proportional is a line
// with the slope of the dashed one.
func curveChart(title, unit string, curves map[string][]point) string {
	const left, right, top, bottom = 70.0, 130.0, 56.0, 50.0
	s := &svg{width: 640, height: 400}
	xl, xh, yl, yh := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, c := range curves {
		for _, p := range c {
			xl, xh, yl, yh = min(xl, p.x), max(xh, p.x), min(yl, p.y), max(yh, p.y)
		}
	}
	xl, xh, yl, yh = math.Log10(xl), math.Log10(xh), math.Floor(math.Log10(yl)), math.Ceil(math.Log10(yh))
	if xh == xl || yh == yl {
		xh, yh = xl+1, yl+1
	}
	px := func(v float64) float64 { return left + (math.Log10(v)-xl)/(xh-xl)*(s.width-left-right) }
	py := func(v float64) float64 { return s.height - bottom - (math.Log10(v)-yl)/(yh-yl)*(s.height-top-bottom) }
	s.text(16, 26, "start", "title", title)
	s.text(16, 44, "start", "small", "wall-clock time, median; dashed: proportional to the size")
	for d := yl; d <= yh; d++ {
		y := py(math.Pow(10, d))
		s.add(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#e5e7eb"/>`, left, y, s.width-right, y)
		s.text(left-8, y+4, "end", "small", map[bool]string{true: fmt.Sprintf("%g s", math.Pow(10, d)), false: fmt.Sprintf("%g ms", math.Pow(10, d+3))}[d >= 0])
	}
	for d := math.Ceil(xl); d <= xh; d++ {
		x := px(math.Pow(10, d))
		s.add(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#e5e7eb"/>`, x, top, x, s.height-bottom)
		s.text(x, s.height-bottom+18, "middle", "small", fmt.Sprintf("%.0f", math.Pow(10, d)))
	}
	s.text((left+s.width-right)/2, s.height-12, "middle", "", unit)
	var labels []float64
	for _, tool := range byLastValue(curves) {
		c := curves[tool]
		var line strings.Builder
		for _, p := range c {
			fmt.Fprintf(&line, "%.1f,%.1f ", px(p.x), py(p.y))
			s.add(`<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`, px(p.x), py(p.y), colour(tool))
		}
		s.add(`<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`, strings.TrimSpace(line.String()), colour(tool))
		last := c[len(c)-1]
		y := py(last.y) + 4
		if n := len(labels); n > 0 && y < labels[n-1]+15 { // below the one before
			y = labels[n-1] + 15
		}
		labels = append(labels, y)
		s.text(px(last.x)+8, y, "start", "", tool)
		if tool == "virga" {
			first := point{last.x * math.Pow(10, max(yl-math.Log10(last.y), xl-math.Log10(last.x))), 0}
			first.y = last.y * first.x / last.x
			s.add(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-dasharray="4 4"/>`, px(first.x), py(first.y), px(last.x), py(last.y), colour(tool))
		}
	}
	return s.document(title)
}

// byLastValue orders tools from the slowest to the quickest, as labels stand
// from the top down.
func byLastValue(curves map[string][]point) []string {
	var tools []string
	for t := range curves {
		tools = append(tools, t)
	}
	slices.SortFunc(tools, func(a, b string) int {
		ya, yb := curves[a][len(curves[a])-1].y, curves[b][len(curves[b])-1].y
		if ya != yb {
			return map[bool]int{true: -1, false: 1}[ya > yb]
		}
		return strings.Compare(a, b)
	})
	return tools
}

// pictures are the bar charts: each a file, a title, and the cases in it, in
// order.
var pictures = []struct {
	file, title string
	cases       []string
}{
	{"bench-build", "Building", []string{"build20/cold", "build20/warm", "build20/changed", "science/cold", "science/warm", "copy/cold", "copy/unchanged", "copy/one", "stages/four", "many/builds"}},
	{"bench-move", "Moving images", []string{"pull/base", "pull/cold", "pull/again", "push/base", "push/cold", "push/unchanged", "push/one", "push/packed", "files/save", "files/load", "unpack/gzip", "unpack/zstd"}},
	{"bench-run", "Starting and running", []string{"start/version", "start/list", "run/true"}},
	{"bench-emulation", "Root emulation", []string{"emulation/install", "emulation/compile"}},
}

// plotNewest draws the newest results of dir into files of out.
func plotNewest(dir, out string) error {
	file, err := newest(dir)
	if err != nil {
		return err
	}
	r, err := load(file)
	if err != nil {
		return err
	}
	for _, p := range pictures {
		if bars := r.bars(p.cases); len(bars) > 0 {
			if err := os.WriteFile(filepath.Join(out, p.file+".svg"), []byte(barChart(p.title, bars)), 0o644); err != nil {
				return err
			}
		}
	}
	for name, curves := range r.curves() {
		verb, unit, _ := strings.Cut(name, ", ")
		title := strings.ToUpper(verb[:1]) + verb[1:] + ": time against " + unit
		file := filepath.Join(out, "bench-scale-"+unit+".svg")
		if err := os.WriteFile(file, []byte(curveChart(title, unit, curves)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// bars are those of the named cases that were measured.
func (r *results) bars(names []string) []bar {
	var out []bar
	for _, name := range names {
		for i := range r.Cases {
			c := &r.Cases[i]
			v := c.subject()
			if c.Name != name || v == nil {
				continue
			}
			label := name
			for j := range c.Tools {
				if t := &c.Tools[j]; t != v && t.Error == "" {
					out = append(out, bar{label, t.Name, ratioOf(t.Wall, v.Wall)})
					label = ""
				}
			}
		}
	}
	return out
}

// curves are the points of each curve by tool.
func (r *results) curves() map[string]map[string][]point {
	out := map[string]map[string][]point{}
	for _, c := range r.Cases {
		if c.Curve == "" {
			continue
		}
		if out[c.Curve] == nil {
			out[c.Curve] = map[string][]point{}
		}
		for _, t := range c.Tools {
			if t.Error == "" {
				out[c.Curve][t.Name] = append(out[c.Curve][t.Name], point{c.X, median(t.Wall)})
			}
		}
	}
	for _, tools := range out {
		for _, points := range tools {
			slices.SortFunc(points, func(a, b point) int { return int(a.x - b.x) })
		}
	}
	return out
}
