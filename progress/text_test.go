package progress

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                    "plain",
		"wörld 漢字 é́":              "wörld 漢字 é́",
		"a\x1b[2Jb\r\n":            `a\x1b[2Jb\r\n`,
		"a\tb":                     "a b",
		"bad \xff byte":            `bad \xff byte`,
		"right\u202eto left\u2066": `right\u202eto left\u2066`,
		"\u009b31m":                `\u009b31m`,
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestShown(t *testing.T) {
	for in, want := range map[string]string{
		"10%\r20%\r30%\r":                          "30%",
		"\x1b[1;31mred\x1b[0m":                     "red",
		"\x1b]0;title\x07text":                     "text",
		"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\": "link",
		"\x1bPq#0\x1b\\x\x1b(B\x1bM":               "x",
		"cut \x1b[3":                               "cut ",
		"bell \x07":                                `bell \a`,
	} {
		if got := Shown(in); got != want {
			t.Errorf("Shown(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\x1b[2Jb\xff\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		for _, got := range []string{Clean(s), Shown(s)} {
			if strings.ContainsAny(got, "\x1b\r\n\x00\u202e\u009b") || strings.ToValidUTF8(got, "") != got {
				t.Errorf("%q gives %q", s, got)
			}
			if Clean(got) != got {
				t.Errorf("%q is not stable", got)
			}
		}
	})
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.0s", 12345 * time.Millisecond: "12.3s", 187 * time.Second: "3m07s", 125 * time.Minute: "2h05m",
	} {
		if got := Duration(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

// events are a build of two stages, one of which fails.
func events(s Sinks) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	send := func(e Event) { e.Time = at; s.Event(e); at = at.Add(time.Second) }
	send(Event{Kind: Begin, Tool: "virga 1", Text: "build ."})
	send(Event{Kind: BlobStart, Digest: "sha256:0123456789abcdef", Size: 3e6})
	send(Event{Kind: BlobProgress, Digest: "sha256:0123456789abcdef", Bytes: 1e6, Size: 3e6})
	send(Event{Kind: BlobEnd, Digest: "sha256:0123456789abcdef", Bytes: 3e6, Size: 3e6, Seconds: 2})
	send(Event{Kind: StepBegin, ID: 1, Name: "a", Line: 1, Text: "FROM x"})
	send(Event{Kind: StepStart, ID: 1, Name: "a", Line: 1, Cache: None, Text: "FROM x"})
	send(Event{Kind: StepEnd, ID: 1, Name: "a", Line: 1, Cache: None, Text: "FROM x", Seconds: 1})
	send(Event{Kind: StepBegin, ID: 2, Stage: 1, Line: 7, Text: "RUN evil\x1b[2J"})
	send(Event{Kind: StepStart, ID: 2, Stage: 1, Line: 7, Cache: Miss, Text: "RUN evil\x1b[2J"})
	fmt.Fprint(s.Output(2), "\x1b[31mred\x1b[0m\nno end")
	send(Event{Kind: StepEnd, ID: 2, Stage: 1, Line: 7, Cache: Miss, Text: "RUN evil\x1b[2J", Seconds: 1.5, Error: "exit status 1"})
	send(Event{Kind: End, Status: 1, Seconds: 9, CPU: 1})
}

func TestLines(t *testing.T) {
	var log, commands bytes.Buffer
	line := func(s string) { log.WriteString(s + "\n") }
	events(Sinks{&Lines{Line: line}})
	want := `0123456789ab: transferring 3MB
0123456789ab: transferred 3MB in 2.0s (1.5MB/s)
a   1  FROM x
  7. RUN evil\x1b[2J
red
no end
`
	if log.String() != want {
		t.Errorf("got\n%swant\n%s", &log, want)
	}
	log.Reset()
	events(Sinks{&Lines{Line: line, Commands: &commands}})
	if got := commands.String(); got != "\x1b[31mred\x1b[0m\nno end" {
		t.Errorf("commands printed %q", got)
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	events(Sinks{NewJSON(&b)})
	var kinds []string
	for line := range strings.Lines(b.String()) {
		var e Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if e.Version != Version || e.Time.IsZero() {
			t.Errorf("%q lacks version or time", line)
		}
		kinds = append(kinds, string(e.Kind))
	}
	want := "begin blob-start blob-progress blob-end step-begin step-start step-end step-begin step-start step-output step-output step-end end"
	if got := strings.Join(kinds, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if want := `"event":"step-output","id":2,"text":"\u001b[31mred\u001b[0m"}`; !strings.Contains(b.String(), want) {
		t.Errorf("%s is not in\n%s", want, &b)
	}
}

func TestSilent(t *testing.T) {
	var b bytes.Buffer
	events(Sinks{&Silent{W: &b}})
	if want := "\x1b[31mred\x1b[0m\nno end\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}
