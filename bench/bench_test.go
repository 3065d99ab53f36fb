package main

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want float64
	}{
		{[]float64{3}, 3},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		in := slices.Clone(c.in)
		if got := median(c.in); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.in, got, c.want)
		}
		if !slices.Equal(in, c.in) {
			t.Errorf("median changed %v to %v", in, c.in)
		}
	}
	if !math.IsNaN(median(nil)) {
		t.Error("the median of nothing is a number")
	}
}

func TestRatioInterval(t *testing.T) {
	// Twice as long in every round, whatever the machine did meanwhile: rounds
	// are paired, so the interval is a point.
	a, b := []float64{2, 4, 20, 6, 8}, []float64{1, 2, 10, 3, 4}
	if r := ratioOf(a, b); r != (ratio{2, 2, 2}) {
		t.Errorf("ratio of pairs = %+v", r)
	}
	// Unpaired noise widens it, and it holds the value.
	r := ratioOf([]float64{1, 1.1, 0.9, 1.2, 1}, []float64{2, 1.8, 2.4, 2})
	if !(r.Low < r.Value && r.Value < r.High) || r.Value != 0.5 {
		t.Errorf("ratio = %+v", r)
	}
	if r := ratioOf(nil, b); !math.IsNaN(r.Value) || !math.IsNaN(r.Low) {
		t.Errorf("ratio of nothing = %+v", r)
	}
}

func TestOrderAlternates(t *testing.T) {
	first, after := map[int]bool{}, map[[2]int]bool{}
	for round := range 8 {
		o := order(4, round)
		if got := slices.Sorted(slices.Values(o)); !slices.Equal(got, []int{0, 1, 2, 3}) {
			t.Fatalf("round %d: %v is not every tool once", round, o)
		}
		first[o[0]] = true
		for i := range 3 {
			after[[2]int{o[i], o[i+1]}] = true
		}
	}
	if len(first) != 4 {
		t.Errorf("only %d tools were ever first", len(first))
	}
	if !after[[2]int{0, 1}] || !after[[2]int{1, 0}] {
		t.Error("tool 1 always runs on the same side of tool 0")
	}
}

// measured is a result with two tools in the given relation.
func measured(wall ...float64) *results {
	peer := make([]float64, len(wall))
	for i := range peer {
		peer[i] = 1
	}
	return &results{Cases: []caseResult{{Name: "a/b", Tools: []toolResult{
		{Name: "virga", Wall: wall, CPU: wall, Mem: peer},
		{Name: "slow", Wall: []float64{5, 5, 5, 5, 5}},
		{Name: "peer", Wall: peer, CPU: peer},
		{Name: "broken", Error: "exit status 1"},
	}}}}
}

func TestBudgets(t *testing.T) {
	for _, c := range []struct {
		line string
		wall []float64
		want verdict
	}{
		{"a/b virga wall peer 0.5", []float64{0.4, 0.4, 0.4, 0.4, 0.4}, kept},
		{"a/b virga wall peer 0.5", []float64{0.4, 0.4, 0.6, 0.6, 0.6}, noise},
		{"a/b virga wall peer 0.5", []float64{0.6, 0.6, 0.7, 0.6, 0.6}, missed},
		{"a/b virga wall slow,peer,broken 0.5", []float64{0.6, 0.6, 0.7, 0.6, 0.6}, missed}, // the best counts
		{"a/b virga wall slow 0.5", []float64{0.6, 0.6, 0.7, 0.6, 0.6}, kept},
		{"a/b virga wall broken 0.5", []float64{0.4}, unknown},
		{"a/b broken wall peer 0.5", []float64{0.4}, missed},
		{"a/b virga cpu peer 0.5", []float64{0.6, 0.6, 0.7, 0.6, 0.6}, missed},
		{"a/b virga wall - 10ms", []float64{0.009, 0.009, 0.02}, kept},
		{"a/b virga wall - 10ms", []float64{0.009, 0.011, 0.02}, noise},
		{"a/b virga wall - 10ms", []float64{0.011, 0.011, 0.02}, missed},
		{"a/b virga memory - 200MB", []float64{0.4}, kept},
		{"a/c virga wall peer 0.5", []float64{0.4}, unknown},
	} {
		file := filepath.Join(t.TempDir(), "budgets")
		if err := os.WriteFile(file, []byte("# comment\n\n"+c.line+" # why\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := readBudgets(file)
		if err != nil || len(b) != 1 {
			t.Fatalf("%s: %v, %v", c.line, b, err)
		}
		var out strings.Builder
		ok := check(&out, measured(c.wall...), b)
		if got, text := b[0].judge(measured(c.wall...)); got != c.want || ok != (c.want != missed) {
			t.Errorf("%s with %v: verdict %d (%s), want %d; check %v", c.line, c.wall, got, text, c.want, ok)
		}
	}
}

func TestBudgetsOfQuickRunsAreUnknown(t *testing.T) {
	r := measured(9, 9, 9)
	r.Cases[0].Quick = true
	b := budget{name: "a/b", tool: "virga", metric: "wall", peers: []string{"peer"}, limit: 0.5}
	if v, _ := b.judge(r); v != unknown {
		t.Errorf("verdict %d of a quick run", v)
	}
}

func TestBadBudgets(t *testing.T) {
	for _, line := range []string{"a/b virga wall peer", "a/b virga time peer 1", "a/b virga wall - 10", "a/b virga wall peer x", "a/b virga wall peer -1"} {
		file := filepath.Join(t.TempDir(), "budgets")
		if err := os.WriteFile(file, []byte("\n"+line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readBudgets(file); err == nil || !strings.Contains(err.Error(), "budgets:2: ") {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// Each committed budget is of a case, a tool and peers that exist.
func TestBudgetsNameCases(t *testing.T) {
	budgets, err := readBudgets("budgets")
	if err != nil || len(budgets) == 0 {
		t.Fatal(budgets, err)
	}
	cases := map[string]map[string]bool{}
	for _, c := range allCases() {
		if cases[c.name] != nil {
			t.Errorf("two cases %s", c.name)
		}
		tools := map[string]bool{}
		for _, tool := range c.tools {
			if tools[tool.name] || tool.run == "" {
				t.Errorf("%s: tool %q twice, or without a command", c.name, tool.name)
			}
			tools[tool.name] = true
		}
		if c.tools[0].name != "virga" {
			t.Errorf("%s: the first tool is %s", c.name, c.tools[0].name)
		}
		cases[c.name] = tools
	}
	for _, b := range budgets {
		for _, tool := range append(b.peers, b.tool) {
			if !cases[b.name][tool] {
				t.Errorf("budgets:%d: no tool %q in a case %q", b.line, tool, b.name)
			}
		}
	}
	for _, p := range pictures {
		for _, name := range p.cases {
			if cases[name] == nil {
				t.Errorf("picture %s: no case %q", p.file, name)
			}
		}
	}
}

func TestSelected(t *testing.T) {
	c := benchCase{name: "pull/cold"}
	for pattern, want := range map[string]bool{"": true, "pull": true, "pull/": true, "*/cold": true, "push,pull/c": true, "push": false, "pull/again": false} {
		if c.selected(pattern) != want {
			t.Errorf("selected by %q is not %v", pattern, want)
		}
	}
}

func TestNeeds(t *testing.T) {
	for pattern, want := range map[string]string{
		"start": "", "build20": "base", "science/cold": "science", "emulation": "debs compile", "unpack": "layer", "push/packed": "layer", "scale-files": "",
	} {
		if got := strings.Join(images(choose(pattern, false)), " "); got != want {
			t.Errorf("%s needs %q, want %q", pattern, got, want)
		}
	}
}

// A page and the pictures of results, broken tools and single points included.
func TestReport(t *testing.T) {
	r := measured(0.4, 0.5, 0.6)
	r.Cases[0].Curve, r.Cases[0].X = "pull, files", 1000
	dir := t.TempDir()
	if err := r.save(dir, "2001-02-03"); err != nil {
		t.Fatal(err)
	}
	file, err := newest(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := load(file)
	if err != nil || len(again.Cases) != 1 {
		t.Fatal(again, err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "2001-02-03.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"## a/b", "| virga | 500 ms |", "| 0.50 (0.40 - 0.60) |", "cannot: exit status 1"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	bars := again.bars([]string{"a/b"})
	if len(bars) != 2 || bars[0].label != "a/b" || bars[1].label != "" || bars[1].ratio.Value != 2 {
		t.Errorf("bars: %+v", bars)
	}
	for _, picture := range []string{barChart("<title>", bars), curveChart("t", "files", again.curves()["pull, files"])} {
		if strings.Contains(picture, "NaN") || strings.Contains(picture, "Inf") || !strings.HasSuffix(picture, "</svg>\n") {
			t.Errorf("a broken picture:\n%s", picture)
		}
	}
}

// The harness's own measurement, of a program that computes and one that waits.
func TestMeasurement(t *testing.T) {
	w := &workspace{dir: t.TempDir(), vars: map[string]string{"PATH": toolPath, "WHAT": "0.05"}}
	s, err := w.time(t.Context(), "sleep $WHAT", 1)
	if err != nil || s.Wall < 0.05 || s.CPU > s.Wall || s.Mem <= 0 {
		t.Errorf("sleep: %+v, %v", s, err)
	}
	s, err = w.time(t.Context(), "head -c 30000000 /dev/zero | md5sum", 1)
	if err != nil || s.CPU <= 0.005 {
		t.Errorf("md5sum: %+v, %v", s, err)
	}
	if _, err = w.time(t.Context(), "echo one >&2; echo two >&2; exit 3", 1); err == nil || !strings.Contains(err.Error(), "two") || strings.Contains(err.Error(), "one") {
		t.Errorf("a failure is told as %v", err)
	}
}

// A tool that fails is out and says why; the others go on.
func TestFailureOfOneTool(t *testing.T) {
	w := &workspace{dir: t.TempDir(), vars: map[string]string{"PATH": toolPath}}
	var log strings.Builder
	s := &session{w: w, rounds: 2, log: &log}
	c := s.measure(t.Context(), &benchCase{name: "x", tools: []tool{
		{name: "good", prepare: "echo $ROUND >>rounds", run: "true"},
		{name: "bad", run: "echo no such thing >&2; false"},
		{name: "unprepared", prepare: "exit 4", run: "true"},
		{name: "wrong", run: "true", check: "false"},
	}})
	if n := len(c.Tools[0].Wall); n != 2 {
		t.Errorf("%d rounds count", n)
	}
	for i, want := range []string{"", "no such thing", "prepare: exit status 4", "exit status 1"} {
		if got := c.Tools[i].Error; !strings.Contains(got, want) || (got == "") != (want == "") || want != "" && c.Tools[i].Wall != nil {
			t.Errorf("tool %s: error %q, want %q", c.Tools[i].Name, got, want)
		}
	}
	text, err := os.ReadFile(filepath.Join(w.dir, "rounds"))
	if err != nil {
		t.Fatal(err)
	}
	numbers := strings.Fields(string(text))
	slices.Sort(numbers)
	if len(slices.Compact(numbers)) != 3 {
		t.Errorf("rounds are numbered %q", numbers)
	}
}

// What is made is the same each time, and skopeo reads it.
func TestGenerate(t *testing.T) {
	dir := t.TempDir()
	if err := makeTree(dir+"/tree", 501, 50100); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(dir + "/tree/d0001/file500")
	if err != nil || fi.Size() != 100 {
		t.Errorf("file500: %v, %v", fi, err)
	}
	for _, name := range []string{"/a", "/b"} {
		if err := makeImage(dir+name, 10, 1000, 3); err != nil {
			t.Fatal(err)
		}
	}
	a, err := os.ReadFile(dir + "/a/index.json")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(dir + "/b/index.json"); err != nil || string(a) != string(b) {
		t.Errorf("not the same image: %s, %s, %v", a, b, err)
	}
}
