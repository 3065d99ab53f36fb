package parser

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func mustParse(t *testing.T, src string) *File {
	t.Helper()
	f, err := Parse("Dockerfile", []byte(src))
	if err != nil {
		t.Fatalf("parse %q: %v", src, err)
	}
	return f
}

// first is the first instruction after the first FROM.
func first(t *testing.T, src string) Instruction {
	t.Helper()
	return mustParse(t, "FROM a\n"+src).Stages[0].Instructions[0]
}

func TestPlaces(t *testing.T) {
	f := mustParse(t, "# c\nFROM a\n  RUN x \\\n # c\n  y\nCOPY <<E b /c\nz\nE\n\nUSER u\r\n")
	want := []struct {
		pos    Pos
		end    int
		source string
	}{
		{Pos{3, 3}, 5, "RUN x \\\n # c\n  y"},
		{Pos{6, 1}, 8, "COPY <<E b /c\nz\nE"},
		{Pos{10, 1}, 10, "USER u"},
	}
	for i, in := range f.Stages[0].Instructions {
		w := want[i]
		if in.Pos() != w.pos || in.EndLine() != w.end || in.Source() != w.source {
			t.Errorf("%s: %v to line %d, source %q; want %v", in.Keyword(), in.Pos(), in.EndLine(), in.Source(), w)
		}
	}
	c := f.Stages[0].Instructions[1].(*Copy)
	if c.Sources[0].Pos != (Pos{6, 10}) || c.Dest.Pos != (Pos{6, 12}) || c.Files[0].Pos != (Pos{6, 6}) {
		t.Errorf("COPY: words at %v, %v, heredoc at %v", c.Sources[0].Pos, c.Dest.Pos, c.Files[0].Pos)
	}
	r := first(t, "RUN --mount=target=/x \\\n   --mount=type=cache,target=/y z").(*Run)
	if r.Mounts[0].Pos != (Pos{2, 13}) || r.Mounts[1].Pos != (Pos{3, 12}) {
		t.Errorf("mounts at %v and %v", r.Mounts[0].Pos, r.Mounts[1].Pos)
	}
	w := first(t, `COPY ["a\"b", "c\\", "d"]`).(*Copy)
	if w.Sources[1].Pos != (Pos{2, 15}) || w.Dest.Pos != (Pos{2, 22}) {
		t.Errorf("JSON words at %v and %v", w.Sources[1].Pos, w.Dest.Pos)
	}
}

func TestErrorList(t *testing.T) {
	_, err := Parse("d/Dockerfile", []byte("FROM a\nRNU\nCOPY a\n"))
	var list ErrorList
	var one *Error
	if !errors.As(err, &list) || len(list) != 2 || !errors.As(err, &one) || one != list[0] {
		t.Fatalf("error %v", err)
	}
	if got, want := err.Error(), `d/Dockerfile:2:1: unknown instruction "RNU" (and 1 more)`; got != want {
		t.Errorf("got %q; want %q", got, want)
	}
	if list[0].Kind != Malformed || list[0].Kind.String() != "malformed" || Unsupported.String() != "unsupported" {
		t.Errorf("kind %v", list[0].Kind)
	}
}

func TestSnippet(t *testing.T) {
	for _, c := range []struct {
		e    Error
		want string
	}{
		{Error{Pos: Pos{3, 5}, SourceLine: "ab c d"}, "    3 | ab c d\n      |     ^"},
		{Error{Pos: Pos{3, 3}, SourceLine: "\té x"}, "    3 | \té x\n      | \t ^"},
		{Error{Pos: Pos{12345, 9}, SourceLine: "a"}, "12345 | a\n      |  ^"},
		{Error{Pos: Pos{1, 1}, SourceLine: "a\x1b[1m\x00"}, "    1 | a\uFFFD[1m\uFFFD\n      | ^"},
	} {
		if got := c.e.Snippet(); got != c.want {
			t.Errorf("got\n%q; want\n%q", got, c.want)
		}
	}
	long := Error{Pos: Pos{1, 500}, SourceLine: strings.Repeat("x", 499) + "Y" + strings.Repeat("z", 500)}
	lines := strings.Split(long.Snippet(), "\n")
	if caret := strings.IndexByte(lines[1], '^'); len(lines[0]) > 140 || lines[0][caret] != 'Y' {
		t.Errorf("a long line is shown as\n%s", long.Snippet())
	}
}

func TestParseInstruction(t *testing.T) {
	for text, want := range map[string]string{
		"run  a \\\n b":                       "RUN a  b",
		"COPY --link a b":                     "COPY --link a b",
		"RUN <<EOF\nx\nEOF":                   "RUN <<EOF\nx\nEOF",
		"# escape=`\n# comment\nWORKDIR /x\n": "WORKDIR /x",
	} {
		in, err := ParseInstruction("ONBUILD of a", text, '\\')
		if err != nil || in.String() != want {
			t.Errorf("%q: %v, %v; want %q", text, in, err, want)
		}
	}
	if in, err := ParseInstruction("x", "RUN a `\n b", '`'); err != nil || in.String() != "RUN a  b" {
		t.Errorf("%v, %v", in, err)
	}
	for text, want := range map[string]string{
		"":             "x:1:1: no instruction found",
		"RUN a\nRUN b": "x:2:1: one instruction expected, and here is another",
		"RNU a":        `x:1:1: unknown instruction "RNU"`,
		"RUN \x00":     "x:1:5: the instruction holds a NUL byte",
	} {
		if _, err := ParseInstruction("x", text, '\\'); err == nil || err.Error() != want {
			t.Errorf("%q: error %v; want %q", text, err, want)
		}
	}
}

// TestOnbuildText: a trigger as an image stores it is read back as the trigger that was written.
func TestOnbuildText(t *testing.T) {
	for _, text := range []string{"RUN a", "COPY <<A <<-'B' /x\na\nA\n\tb\nB", `CMD ["a"]`} {
		o := first(t, "ONBUILD "+text+"\n").(*Onbuild)
		in, err := ParseInstruction("x", o.Text, '\\')
		if err != nil || in.String() != o.Trigger.String() {
			t.Errorf("%q: stored as %q, read as %v, %v; want %v", text, o.Text, in, err, o.Trigger)
		}
		if o.Trigger.Source() != text {
			t.Errorf("trigger's source %q; want %q", o.Trigger.Source(), text)
		}
	}
}

func TestScript(t *testing.T) {
	for src, want := range map[string]string{
		"RUN a  b":                        "a  b",
		"RUN":                             "",
		"RUN <<E\na\nE":                   "a\n",
		"RUN <<-E\n\ta\n\t\tb\nE":         "a\nb\n",
		"RUN <<E\n#!/bin/x\na\nE":         "file: #!/bin/x\na\n",
		"RUN <<-E\n\t#!/bin/x\nE":         "file: #!/bin/x\n",
		"RUN x <<E\n#!/bin/x\nE":          "x <<E\n#!/bin/x\nE",
		"RUN x <<-A 3<<'B'\n\ta\nA\nb\nB": "x <<-A 3<<'B'\n\ta\nA\nb\nB",
		"RUN <<E && y\na\nE":              "<<E && y\na\nE",
	} {
		text, file := first(t, src).(*Run).Script()
		if file {
			text = "file: " + text
		}
		if text != want {
			t.Errorf("%q: %q; want %q", src, text, want)
		}
	}
}

func TestHealthcheckTest(t *testing.T) {
	for src, want := range map[string][]string{
		"HEALTHCHECK NONE": {"NONE"}, "HEALTHCHECK CMD a b": {"CMD-SHELL", "a b"}, `HEALTHCHECK CMD ["a", "b"]`: {"CMD", "a", "b"},
	} {
		if got := first(t, src).(*Healthcheck).Test(); !slices.Equal(got, want) {
			t.Errorf("%q: %q; want %q", src, got, want)
		}
	}
}

func TestParsePort(t *testing.T) {
	for word, want := range map[string]string{
		"80": "80/tcp", "53/UDP": "53/udp", "1-3/sctp": "1/sctp 2/sctp 3/sctp", "80/": "80/tcp", "0": "0/tcp",
		"127.0.0.1:8080:80": "80/tcp", "[::1]::80/udp": "80/udp", "8080:80": "80/tcp", "1-9:80": "80/tcp", "5-5": "5/tcp",
	} {
		if got, err := ParsePort(word); err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %q, %v; want %q", word, got, err, want)
		}
	}
	for _, word := range []string{"", "x", "-1", "65536", "3-1", "1-", "80/x", "a:80", "1.2.3:80:80", "1-2:80-82", "80/tcp/x", "+1"} {
		if got, err := ParsePort(word); err == nil {
			t.Errorf("%q: %q, no error", word, got)
		}
	}
}

// TestMountDefaults: what is read-only by default, and what the options mean.
func TestMountDefaults(t *testing.T) {
	for opts, want := range map[string]bool{
		"target=/x": true, "target=/x,rw": false, "target=/x,ro=0": false, "target=/x,readwrite=false": true,
		"type=cache,target=/x": false, "type=cache,target=/x,readonly": true, "type=tmpfs,target=/x": false,
		"type=secret,id=x": true, "type=ssh": true,
	} {
		m := first(t, "RUN --mount="+opts+" a").(*Run).Mounts[0]
		if !m.Resolved || m.ReadOnly != want {
			t.Errorf("%s: resolved %v, read-only %v", opts, m.Resolved, m.ReadOnly)
		}
	}
	for size, want := range map[string]int64{
		"10": 10, "1b": 1, "1k": 1024, "2MB": 2 << 20, "1.5GiB": 3 << 29, "1 m": 1 << 20, "1T": 1 << 40, ".5k": 512,
	} {
		if m := first(t, `RUN --mount=type=tmpfs,target=/x,size="`+size+`" a`).(*Run).Mounts[0]; m.Size != want {
			t.Errorf("size=%s: %d; want %d", size, m.Size, want)
		}
	}
	m := first(t, "RUN --mount=type=secret,id=x,mode=0440,uid=7,gid=8,env=E a").(*Run).Mounts[0]
	if *m.Mode != 0o440 || *m.UID != 7 || *m.GID != 8 || *m.Env != "E" || m.Required {
		t.Errorf("mount %+v", m)
	}
}

func TestMarshalJSON(t *testing.T) {
	files, err := filepath.Glob("testdata/*/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Parse(file, src)
		if err != nil {
			continue
		}
		b, err := json.Marshal(f)
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		var tree struct {
			Name   string
			Stages []struct{ Instructions []struct{ Line, EndLine int } }
		}
		if err := json.Unmarshal(b, &tree); err != nil || tree.Name != file || len(tree.Stages) != len(f.Stages) {
			t.Errorf("%s: %v, %+v", file, err, tree)
			continue
		}
		for i, s := range f.Stages {
			if got := tree.Stages[i].Instructions; len(got) != len(s.Instructions)+1 || got[0].Line != s.From.Pos().Line {
				t.Errorf("%s: stage %d is %+v", file, i, got)
			}
		}
	}
}
