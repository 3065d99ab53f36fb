package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// block is one fenced block of a page. The conventions are:
//
//   - "sh" blocks are commands. They run in order in one shell for each page.
//   - A "text" block is some of what the "sh" block before it prints: its lines
//     in order, others between them, "..." for any text. Numbers that differ
//     from run to run (digests, times, sizes) are not compared.
//   - <!-- not run: REASON --> before a "sh" block keeps it from running, and
//     <!-- fails --> says that it ends with an error.
//   - <!-- run: the last column --> before a table makes a "sh" block of the code
//     in that column.
//   - Other languages (dockerfile, toml, ...), and blocks without one, are no
//     commands.
type block struct {
	line   int // of the fence, from 1
	lang   string
	text   string
	notRun string // the reason
	fails  bool
}

var (
	fence    = regexp.MustCompile("^( *)```([a-z]*)$")
	notRun   = regexp.MustCompile(`^ *<!-- not run: (.+) -->$`)
	column   = regexp.MustCompile(`^ *<!-- run: the last column -->$`)
	code     = regexp.MustCompile("`([^`]+)`")
	fails    = regexp.MustCompile(`^ *<!-- fails -->$`)
	inline   = regexp.MustCompile("`(virga [^`]+)`")
	commands = regexp.MustCompile(`(?m)^(\$|#)? *(virga|sudo|make|apt-get|docker|podman) `)
)

// blocks takes a page apart.
func blocks(text string) ([]block, error) {
	var out []block
	var open *block
	indent, before, inTable := "", "", false
	for i, line := range strings.Split(text, "\n") {
		m := fence.FindStringSubmatch(line)
		switch {
		case open == nil && m != nil:
			open, indent = &block{line: i + 1, lang: m[2]}, m[1]
			if r := notRun.FindStringSubmatch(before); r != nil {
				open.notRun = r[1]
			}
			open.fails = fails.MatchString(before)
		case open == nil && strings.HasPrefix(strings.TrimSpace(line), "```"):
			return nil, fmt.Errorf("line %d: a fence is three backquotes and one word at most: %s", i+1, line)
		case open == nil && strings.HasPrefix(line, "|") && column.MatchString(before):
			if !inTable {
				out, inTable = append(out, block{line: i + 1, lang: "sh"}), true
			}
			out[len(out)-1].text += lastCell(line)
		case open == nil:
			before, inTable = line, false
		case strings.TrimPrefix(line, indent) == "```":
			out = append(out, *open)
			open, before = nil, ""
		default:
			open.text += strings.TrimPrefix(line, indent) + "\n"
		}
	}
	if open != nil {
		return nil, fmt.Errorf("line %d: this block has no end", open.line)
	}
	return out, nil
}

// lastCell is the code in the last cell of a table's row, a line for each piece.
func lastCell(row string) string {
	const bar = "\x00"
	cells := strings.Split(strings.TrimSuffix(strings.ReplaceAll(strings.TrimSpace(row), `\|`, bar), "|"), "|")
	text := ""
	for _, m := range code.FindAllStringSubmatch(cells[len(cells)-1], -1) {
		text += strings.ReplaceAll(m[1], bar, "|") + "\n"
	}
	return text
}

// top is the directory that holds README.md and docs.
func top() string {
	if dir := os.Getenv("VIRGA_TEST_TOP"); dir != "" {
		return dir
	}
	return filepath.Join("..", "..")
}

// pages are README.md and everything below docs, by name, with the text.
func pages(t *testing.T) map[string]string {
	t.Helper()
	out := make(map[string]string)
	read := func(name string) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		rel, err := filepath.Rel(top(), name)
		if err != nil {
			t.Fatal(err)
		}
		out[rel] = string(b)
	}
	read(filepath.Join(top(), "README.md"))
	err := filepath.WalkDir(filepath.Join(top(), "docs"), func(name string, _ os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(name, ".md") {
			read(name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Whatever looks like a command is in a block that runs, or that says why not.
func TestCommandsAreInBlocksThatRun(t *testing.T) {
	for name, text := range pages(t) {
		list, err := blocks(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		last := ""
		for _, b := range list {
			where := fmt.Sprintf("%s:%d", name, b.line)
			switch {
			case slices.Contains([]string{"console", "bash", "shell"}, b.lang):
				t.Errorf("%s: commands are in a block of the language sh, and what they print in one of text", where)
			case b.lang == "text" && last != "sh" && b.notRun == "":
				t.Errorf("%s: a text block is what the sh block before it prints", where)
			case b.lang == "" && commands.MatchString(b.text):
				t.Errorf("%s: there are commands in a block that does not run", where)
			case b.lang != "sh" && b.fails:
				t.Errorf("%s: only commands fail", where)
			}
			last = b.lang
		}
	}
}

// Pages that are linked exist, and so do the headings.
func TestLinks(t *testing.T) {
	all := pages(t)
	link := regexp.MustCompile(`\]\(([^)#:]*)(#[^)]*)?\)`)
	heading := regexp.MustCompile(`(?m)^#+ (.*)$`)
	drop := regexp.MustCompile(`[^a-z0-9 _-]`)
	for name, text := range all {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target := name
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(name), m[1])
			}
			if _, err := os.Stat(filepath.Join(top(), target)); err != nil {
				t.Errorf("%s: link to %s: %v", name, m[1], err)
				continue
			}
			if m[2] == "" {
				continue
			}
			var anchors []string
			for _, h := range heading.FindAllStringSubmatch(all[target], -1) {
				anchors = append(anchors, "#"+strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-"))
			}
			if !slices.Contains(anchors, m[2]) {
				t.Errorf("%s: %s has no heading %s", name, target, m[2])
			}
		}
	}
}

func TestBlocks(t *testing.T) {
	got, err := blocks("a\n```sh\nx\n```\n<!-- not run: it needs root -->\n```sh\ny\n```\n<!-- fails -->\n  ```sh\n  z\n    zz\n  ```\n```\nd\n```\n" +
		"<!-- run: the last column -->\n| `no` | x |\n|---|---|\n| `p` | `q \\| r` or `s` |\n\n| `t` |\n")
	want := []block{{2, "sh", "x\n", "", false}, {6, "sh", "y\n", "it needs root", false}, {10, "sh", "z\n  zz\n", "", true}, {14, "", "d\n", "", false},
		{18, "sh", "q | r\ns\n", "", false}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v\nwant %v", got, err, want)
	}
	for _, text := range []string{"```sh\nx\n", "```sh title=\"x\"\n```\n"} {
		if got, err := blocks(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}
